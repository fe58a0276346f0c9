"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.data.bundled import DIGITS
from bench.data.keras_datasets import MNIST
from bench.study.definition import BoundStudy, StudySettings
from studies.cli.loading import load_study
from studies.cli.names import STUDIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", [[], ["study"], ["report"], ["list"], ["ui"]], ids=lambda c: " ".join(c) or "all")
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_its_help(cli, command, flag):
    code, out, _ = cli(*command, flag)
    assert code == 0
    assert "Usage: reparam-bench" in out


def test_the_help_of_a_study_lists_every_setting(cli):
    _, out, _ = cli("study", "--help")
    for name in StudySettings.model_fields:
        option = {"reference_model": "no_reference_model", "train_images": "train_sizes"}.get(name, name)
        # A narrow terminal cuts the longest names short.
        written = f"--{option.replace('_', '-')}"
        assert written[:16] in out if len(written) > 16 else re.search(rf"{written}(?![\w-])", out)


SCRIPTS = {
    "none.py": "QUESTION = 'what?'\n",
    "text.py": "STUDY = 'vae_vs_glow'\n",
    "empty_range.py": "from bench.study.search_space import Integers\nINTEGERS = Integers(8, 2)\n",
}

BAD = {
    "unknown study, close": (
        ["study", "vae_v_glow"],
        r"no study is called 'vae_v_glow' \(did you mean vae_vs_glow\?\)",
    ),
    "unknown study": (["study", "x"], r"no study is called 'x': one of vae_vs_glow, .*path of a \.py file"),
    "missing script": (["study", "gone.py"], r"study script 'gone.py' does not exist"),
    "script without STUDY": (["study", "none.py"], r"'none.py' declares no study: it needs STUDY = Study"),
    "STUDY of another type": (["study", "text.py"], r"'text.py' declares no study"),
    "script with an empty range": (["study", "empty_range.py"], r"the range 8 … 2, whole is empty"),
    "unknown data": (["study", "vae_vs_glow", "--dataset", "digit"], r"no data set 'digit'.*Did you mean 'digits'\?"),
    "missing npz": (["study", "vae_vs_glow", "--dataset", "my.npz"], r"no data set 'my.npz'"),
    "broken npz": (["study", "vae_vs_glow", "--dataset", "broken.npz"], r"broken\.npz"),
    "grey levels of built-in data": (
        ["study", "vae_vs_glow", "--grey-levels", "2"],
        r"digits has 17 grey levels, not 2",
    ),
    "images of odd size": (["study", "flow_depth", "--dataset", "odd.npz"], r"glow cannot be trained on odd: .*7x7"),
    "two budgets": (["study", "vae_vs_glow", "--epochs", "2", "--images", "9"], r"epochs=2 or images=9, not both"),
    "no trials": (["study", "vae_vs_glow", "--trials", "0"], r"trials=0: .*greater than or equal to 1"),
    "no seeds": (["study", "vae_vs_glow", "--seeds", "0"], r"seeds=0: "),
    "unknown backend": (
        ["study", "vae_vs_glow", "--backend", "torch"],
        r"backend='torch' is unknown: one of tensorflow, jax",
    ),
    "unknown sampler": (["study", "vae_vs_glow", "--sampler", "grid"], r"sampler='grid': one of tpe, qmc, random"),
    "sampler that Optuna has not": (
        ["study", "vae_vs_glow", "--sampler", "NoSampler"],
        r"Optuna has no NoSampler: one",
    ),
    "unknown pruner": (["study", "vae_vs_glow", "--pruner", "MeanPruner"], r"Optuna has no MeanPruner: one of "),
    "promoted trial of another arm": (
        ["study", "vae_vs_glow", "--promote", "vea:3"],
        r"promote='vea:3': vae_vs_glow has the arms vae, glow",
    ),
    "promoted trial of an arm without trials": (
        ["study", "strong_arms", "--promote", "ladder_vae:0"],
        r"nothing of ladder_vae is swept, and it has no trials",
    ),
    "promoted trial of several studies": (
        ["study", "vae_vs_glow", "--promote", "vae:3", "--dataset", "digits", "mnist"],
        r"promote=vae:3 is of one study, and several are given: give its own",
    ),
    "no batch": (["study", "vae_vs_glow", "--batch-size", "0"], r"batch_size=0: "),
    "negative seed": (["study", "vae_vs_glow", "--seed", "-1"], r"seed=-1: .*greater than or equal to 0"),
    "no time": (["study", "vae_vs_glow", "--timeout", "0"], r"timeout=0\.0: .*greater than 0"),
    "one evaluation image": (["study", "vae_vs_glow", "--evaluation-images", "1"], r"evaluation_images=1: "),
    "report without runs": (["report"], r"mlflow\.db does not exist: run a study first, or give --output"),
    "list without runs": (["list"], r"mlflow\.db does not exist"),
    "ui without runs": (["ui"], r"mlflow\.db does not exist"),
    "report of another folder": (["report", "--output", "elsewhere"], r"elsewhere/mlflow\.db does not exist"),
    "unreachable server": (
        ["list", "--tracking-uri", "http://me:secret@127.0.0.1:1"],
        r"http://\*\*\*@127.0.0.1:1 cannot be reached",
    ),
}


@pytest.mark.parametrize(
    ("name", "dry"), [(name, dry) for name in BAD for dry in (False, True) if not dry or BAD[name][0][0] == "study"]
)
def test_a_bad_command_line_is_refused_in_one_line_and_leaves_nothing_behind(cli, tmp_path, monkeypatch, name, dry):
    arguments, message = BAD[name]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for script, text in SCRIPTS.items():
        Path(script).write_text(text)
    Path("broken.npz").write_bytes(b"PK no archive")
    np.savez("odd.npz", x_train=np.zeros((60, 7, 7), np.uint8), grey_levels=4)
    before = sorted(tmp_path.iterdir())
    code, out, err = cli(*arguments, *(["--dry-run"] if dry else []))
    assert code == 2
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    assert re.search(message, err)
    assert "Traceback" not in out + err
    assert "secret" not in out + err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["stud"],
        ["study"],
        ["study", "vae_vs_glow", "--trials", "many"],
        ["study", "vae_vs_glow", "--epoch", "2"],
        ["ui", "--port", "0"],
    ],
    ids=" ".join,
)
def test_a_misspelt_command_line_is_a_usage_error(cli, tmp_path, arguments):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    command = " ".join(["reparam-bench", *(arguments[:1] if arguments[0] in ("study", "ui") else [])])
    assert re.fullmatch(rf"error: .*: `{command} --help` shows what is accepted\n", err)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_shows_data_space_sizes_and_time_and_runs_nothing(cli, tmp_path):
    code, out, _ = cli("study", "vae_vs_glow", "--dry-run", "--trials", "5", "--storage", "mysql://me:secret@host/db")
    assert code == 0
    for line in (
        "digits: 8x8x1, 17 grey levels",
        "1,259 train",
        "5 trials an arm (tpe), then 3 seeds",
        "mysql://***@host/db",
    ):
        assert line in out
    for line in (
        "latent_size: 4 … 64, whole, log",
        "preprocessing: marginal | logit",
        "--epochs 100; here",
        "reference PixelCNN of 47,936 parameters, no arm; 76,800 images, ",
        "Nothing was run.",
    ):
        assert line in out
    assert "secret" not in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_names_a_warm_up_that_takes_most_of_a_run(cli):
    said = "warm-up   vae: its weight of the KL rises over kl_warmup_steps=200, and a run takes 100 steps: give it"
    assert said in cli("study", "vae_vs_glow", "--dry-run", "--images", "6400")[1]
    assert "warm-up" not in cli("study", "vae_vs_glow", "--dry-run", "--images", "64000")[1]
    assert "warm-up" not in cli("study", "vae_vs_glow", "--dry-run", "--joules", "9")[1]


def test_a_dry_run_of_a_time_says_how_it_is_spent_and_estimates_no_other(cli):
    code, out, _ = cli("study", "vae_vs_glow", "--dry-run", "--time", "20m")
    assert code == 0
    assert "up to 8 trials an arm" in out
    assert "estimate " not in out
    assert "a study begins by measuring its arms' speeds, and divides its 20 min by them" in out


@pytest.mark.parametrize(("seconds", "says"), [("60", "images a run"), ("0.000001", "by this estimate, seconds=1e-06")])
def test_a_dry_run_of_seconds_says_that_speeds_will_be_measured(cli, seconds, says):
    code, out, _ = cli("study", "vae_vs_glow", "--dry-run", "--seconds", seconds)
    assert code == 0
    assert says in out
    assert f"turns {float(seconds):g} s into images by them" in out


def test_a_dry_run_names_what_is_promoted_and_says_that_it_is_not_in_the_estimate(cli):
    code, out, _ = cli("study", "vae_vs_glow", "--dry-run", "--promote", "vae:3", "--promote", "glow:1")
    assert code == 0
    line = "promoted  vae:3, glow:1, to the whole budget: the run checks them (not in the estimate)"
    assert line in out.splitlines()


def test_a_study_without_a_reference_model_plans_none(cli):
    code, out, _ = cli("study", "vae_vs_glow", "--dry-run", "--no-reference-model")
    assert code == 0
    assert "PixelCNN" not in out


def test_a_dry_run_says_why_large_images_have_no_reference_model(cli, tmp_path):
    np.savez(tmp_path / "large.npz", images=np.zeros((60, 256, 256), np.uint8), grey_levels=256)
    code, out, err = cli("study", "vae_vs_glow", "--dataset", str(tmp_path / "large.npz"), "--dry-run")
    assert code == 0, err
    assert "reference model, no arm: not trained: on images of 256x256x1, the 5e+12 multiply-adds that it may" in out


@pytest.mark.parametrize("option", ["--tracking-uri", "--storage"])
def test_a_dry_run_refuses_a_database_that_the_run_would_refuse(cli, tmp_path, option):
    code, out, err = cli("study", "vae_vs_glow", "--dry-run", option, "sqlite:////no/such/folder/x.db")
    assert (code, out) == (2, "")
    assert "there is no folder /no/such/folder; create it, or give another" in err


SEQUENCES = {
    "text": {"image_shape": (1, 64, 1), "grey_levels": 27, "kind": "text", "encoding": "characters"},
    "speech": {"image_shape": (1, 256, 1), "grey_levels": 256, "kind": "audio", "encoding": "mu-law"},
}
"""What the studies of other data than images are for."""


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("info", [DIGITS, MNIST], ids=lambda info: info.name)
def test_every_bundled_study_asks_a_question_and_fits_small_and_usual_data(name, info):
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    if name in SEQUENCES:
        info = replace(info, **SEQUENCES[name])
    bound = BoundStudy(study, StudySettings(), info, "d")
    for arm in study.arms:
        assert bool(arm.sweep) == (name != "strong_arms")
        assert bound.configure(arm, bound.first_values(arm)) == bound.base(arm)


def test_the_dry_run_of_a_study_that_sweeps_nothing_plans_no_trials(cli):
    _, out, _ = cli("study", "strong_arms", "--dry-run", "--seeds", "2")
    assert "plan      2 seeds of each arm, as nothing is swept; backend tensorflow" in out
    assert "trial" not in out


def test_a_study_script_runs_as_a_program_with_the_options_of_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "studies" / "latent_size.py"), "--dry-run", "--trials", "3"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 trials an arm (qmc)" in done.stdout


def test_a_study_that_has_just_begun_has_its_report(cli, partial_store, tmp_path):
    output = shutil.copytree(partial_store, tmp_path / "runs")
    code, out, _ = cli("report")
    page = Path(out.strip())
    assert code == 0
    assert page == Path("runs/reports/partial-digits-00000000/report.html")
    text = (output / "reports" / "partial-digits-00000000" / "report.md").read_text(encoding="utf-8")
    assert "How far is it?" in text
    assert "running" in text


def test_the_list_names_the_studies_of_a_folder(cli, partial_store):
    line = r"partial-digits-00000000  20\d\d-\d\d-\d\d  not ended  How far is it\?\n"
    code, out, _ = cli("list", "--output", str(partial_store))
    assert code == 0
    assert re.fullmatch(line, out), out
    # MLflow itself says the same.
    assert cli("list", "--tracking-uri", f"sqlite:///{partial_store / 'mlflow.db'}") == (0, out, "")


def test_a_report_of_an_unknown_study_names_those_that_are_known(cli, partial_store):
    code, _, err = cli("report", "other", "--output", str(partial_store))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "no study 'other'" in err
    assert "it holds partial-digits-00000000" in err
    assert not (partial_store / "reports").exists()


LINE_AND_LOG = r"error: {}; the traceback is in (\S+\.log); .*\n"


def test_an_unexpected_error_of_a_study_is_one_line_and_its_traceback_is_in_the_output_folder(
    cli, tmp_path, monkeypatch
):
    def load(*arguments):
        raise RuntimeError("broken\ndisk at http://me:secret@host")

    monkeypatch.setattr("bench.workflows.run.select_backend", lambda name: None)
    monkeypatch.setattr("bench.workflows.run.load", load)
    code, out, err = cli("study", "vae_vs_glow", "--output", "mine")
    assert (code, out) == (1, "")
    line = re.fullmatch(LINE_AND_LOG.format(r"RuntimeError: broken disk at http://\*\*\*@host"), err)
    log = Path(line[1])
    assert log.parent == Path("mine/logs")
    assert log.name.endswith("-vae_vs_glow.log")
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert "in load" in text
    assert "secret" not in text


def test_the_log_goes_where_the_user_says(cli, monkeypatch):
    monkeypatch.setattr("bench.workflows.run.select_backend", lambda name: 1 / 0)
    code, _, err = cli("study", "vae_vs_glow", "--output", "mine", "--log-file", "a/b.log", "--quiet")
    assert code == 1
    assert re.fullmatch(LINE_AND_LOG.format("ZeroDivisionError: division by zero"), err)[1] == "a/b.log"
    assert "ZeroDivisionError" in Path("a/b.log").read_text()
    assert not Path("mine").exists()


def test_an_unexpected_error_of_a_command_without_a_log_gets_one_in_its_output_folder(cli, partial_store, monkeypatch):
    shutil.copytree(partial_store, "mine", ignore=shutil.ignore_patterns("logs"))
    monkeypatch.setattr("bench.tracking.reading.sqlite.peek_studies", lambda database: 1 / 0)
    code, _, err = cli("list", "--output", "mine")
    assert code == 1
    log = Path(re.fullmatch(LINE_AND_LOG.format("ZeroDivisionError: division by zero"), err)[1])
    assert log.parent == Path("mine/logs")
    assert not Path("runs").exists()
    assert "in list_" in log.read_text()


def test_a_log_file_that_cannot_be_written_is_a_user_s_error(cli, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = cli("study", "vae_vs_glow", "--log-file", "file/a.log")
    assert code == 2
    assert re.fullmatch(r"error: the log file 'file/a.log' cannot be written \(.*\): give another.*\n", err)
    assert not (tmp_path / "runs").exists()


def test_the_doctor_tells_a_ready_machine_from_one_that_is_not(cli, monkeypatch):
    from bench.checks.doctor import Finding, Status

    found = [Finding("packages", "python", Status.GOOD, "3.11"), Finding("extras", "jax", Status.MISSING, "no", "do")]
    monkeypatch.setattr("bench.checks.doctor.examine", lambda stores: found)
    code, out, _ = cli("doctor")
    assert code == 0
    assert "jax: do" in out
    assert out.splitlines()[-1] == "ready for the default study"
    found.append(Finding("stores", "tracking", Status.BROKEN, "http://[bold]gone", "start it"))
    code, out, _ = cli("doctor")
    assert code == 1
    assert "http://[bold]gone" in out
    assert "tracking: start it" in out
    code, out, _ = cli("doctor", "--json")
    found = json.loads(out)
    assert (code, found["ready"]) == (1, False)
    assert found["findings"][2] == {
        "group": "stores",
        "name": "tracking",
        "status": "broken",
        "detail": "http://[bold]gone",
        "remedy": "start it",
    }


def test_the_doctor_looks_at_this_very_machine(cli, partial_store):
    code, out, err = cli("doctor", "--json", "--output", str(partial_store))
    found = {each["name"]: each for each in json.loads(out)["findings"]}
    assert (code, err) == (0, ""), out
    assert "float32" in found["tensorflow"]["detail"]
    assert found["tracking"]["detail"].endswith("mlflow.db: 1 studies")


def answers(url, host=None):
    """The status with which a page answers, waiting until its server is there."""
    deadline = time.monotonic() + 120
    while True:
        try:
            request = urllib.request.Request(url, headers={"Host": host} if host else {})  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=30) as page:  # noqa: S310
                return page.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.5)


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=str)
def test_the_ui_serves_both_on_loopback_until_it_is_stopped(partial_store, tmp_path, free_port, sent):
    pytest.importorskip("optuna_dashboard")
    import optuna

    output = shutil.copytree(partial_store, tmp_path / "runs")
    backend = optuna.storages.journal.JournalFileBackend(str(output / "optuna.journal"))
    optuna.create_study(storage=optuna.storages.JournalStorage(backend))
    port, dashboard_port = free_port(), free_port()
    options = ["--output", str(output), "--port", str(port), "--dashboard-port", str(dashboard_port)]
    command = [sys.executable, "-c", "from studies.cli.main import main; main()", "ui", *options]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert answers(f"http://127.0.0.1:{port}/") == 200
        assert answers(f"http://127.0.0.1:{dashboard_port}/api/studies") == 200
        assert answers(f"http://127.0.0.1:{dashboard_port}/api/studies", host="elsewhere.example") == 403
        servers = psutil.Process(process.pid).children(recursive=True)
        listening = {
            connection.laddr
            for each in (psutil.Process(process.pid), *servers)
            for connection in each.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert {port, dashboard_port} <= {address.port for address in listening}
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"http://127.0.0.1:{port}/" in out
    assert f"http://127.0.0.1:{dashboard_port}/dashboard" in out
    assert "Traceback" not in err
    assert not [each for each in servers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_the_ui_says_how_to_get_the_dashboard_where_it_is_not_installed(monkeypatch, tmp_path):
    from studies.cli import ui

    monkeypatch.setattr(ui.importlib.util, "find_spec", lambda name: None)
    assert "pip install optuna-dashboard" in ui._start_dashboard(None, tmp_path, 8080)


def test_the_ui_says_where_no_search_is_stored(tmp_path):
    pytest.importorskip("optuna_dashboard")
    from studies.cli import ui

    assert ui._start_dashboard(None, tmp_path, 8080) == f"{tmp_path / 'optuna.journal'} does not exist: give --storage"


def test_a_storage_that_holds_no_search_is_reported_without_its_credentials(cli, partial_store, free_port):
    pytest.importorskip("optuna_dashboard")
    Path(partial_store / "empty.db").touch()
    for storage in (f"sqlite:///{partial_store / 'empty.db'}", "postgresql://me:secret@127.0.0.1:1/none"):
        code, out, err = cli("ui", "--output", str(partial_store), "--storage", storage, "--port", str(free_port()))
        assert code == 2
        assert len(err.splitlines()) == 1
        assert err.startswith("error: study storage ")
        assert "secret" not in out + err


def test_a_port_that_is_taken_is_reported_before_anything_is_served(cli, partial_store, free_port):
    pytest.importorskip("optuna_dashboard")
    import optuna

    optuna.create_study(storage=f"sqlite:///{partial_store / 'search.db'}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        storage = f"sqlite:///{partial_store / 'search.db'}"
        ports = ["--port", str(free_port()), "--dashboard-port", port]
        code, _, err = cli("ui", "--output", str(partial_store), "--storage", storage, *ports)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert f"dashboard_port={port} cannot be opened" in err
