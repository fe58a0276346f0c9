"""``reparam-bench study NAME --dataset a b c``: the same study on each, one after the other, and their comparison."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest
import typer

from bench.core.environment import ENDED_STUDIES_VARIABLE
from bench.core.errors import RestartRequiredError, StudyStoppedError, TrackingError, UnexpectedError
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from studies.cli.data_sets import run_each
from studies.cli.main import app
from tests.studies.small_study import DEADLINE, start_command

SCRIPT = """
from bench.study.definition import Arm, Study
from models.vae.config import VAEConfig

STUDY = Study(
    name="tiny",
    question="Is a wide one better?",
    arms=tuple(Arm(VAEConfig(hidden_sizes=(n,), latent_size=2), name=f"width-{n}") for n in (4, 16)),
)
"""
NAMES = ("bright", "dark", "mixed")
COMMAND = (
    *("--seeds", "1", "--images", "640", "--batch-size", "32", "--no-reference-model"),
    *("--selection-samples", "2", "--importance-samples", "4"),
)
STUDY = ("study", "tiny.py", "--dataset", *(f"{name}.npz" for name in NAMES), *COMMAND)
TWO = ("study", "tiny.py", "--dataset", *(f"{name}.npz" for name in NAMES[:2]), *COMMAND)


def write_data(folder):
    """Three small data sets, and the study's script."""
    (folder / "tiny.py").write_text(SCRIPT)
    for number, name in enumerate(NAMES):
        images = np.random.default_rng(number).integers(0, 4 + number, (80, 4, 4), np.uint8)
        np.savez(folder / f"{name}.npz", images=images, grey_levels=8)


def parsed(*arguments):
    """The study and the data sets that a command line names."""
    context = typer.main.get_command(app).commands["study"].make_context("study", list(arguments))
    return context.params["name"], list(context.params["dataset"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", ("x", [])),
        ("x --dataset a", ("x", ["a"])),
        ("--dataset a x", ("x", ["a"])),
        ("x --dataset a b c", ("x", ["a", "b", "c"])),
        ("--dataset a b c x", ("x", ["a", "b", "c"])),
        ("--dataset a b --smoke x", ("x", ["a", "b"])),
        ("x --dataset a b --smoke", ("x", ["a", "b"])),
        ("--smoke x --dataset a b --trials 3", ("x", ["a", "b"])),
        ("x --dataset a --dataset b", ("x", ["a", "b"])),
        ("x --dataset=a b --quiet --dataset c d", ("x", ["a", "b", "c", "d"])),
    ],
)
def test_the_option_takes_every_word_that_follows_it(line, expected):
    assert parsed(*line.split()) == expected


@pytest.mark.parametrize(
    "line", ["x y", "x y --dataset a", "x --dataset a --smoke b", "--dataset a", "x --dataset a -- b"]
)
def test_words_that_belong_to_no_option_are_a_usage_error(cli, line):
    code, out, err = cli("study", *line.split())
    assert (code, out) == (2, "")
    assert err.endswith("`reparam-bench study --help` shows what is accepted\n")


BAD = {
    "one is unknown": (["bright.npz", "nowhere", "mixed.npz"], r"there is no data set 'nowhere'"),
    "one does not fit": (["bright.npz", "dark.npz", "broken.npz"], r"broken\.npz"),
    "an arm cannot model one": (["bright.npz", "cifar10"], r"cifar10 has 256 grey levels, not 8"),
    "one is text": (
        ["digits", "python_topics"],
        r"digits is images, in bits/dim, and python_topics is text, in bits/character: no ranking",
    ),
    "the same name twice": (["digits", "mnist", "digits"], r"dataset='digits' holds the same images as 'digits'"),
    "the same images twice": (
        ["bright.npz", "dark.npz", "copy.npz"],
        r"dataset='copy\.npz' holds the same images as 'bright\.npz': give one of them",
    ),
}


@pytest.mark.parametrize(
    ("name", "dry"), [*((name, ()) for name in BAD), ("one does not fit", ("--dry-run",))], ids=str
)
def test_all_data_sets_are_checked_before_the_study_begins_on_the_first(refused, tmp_path, name, dry):
    names, message = BAD[name]
    write_data(tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    (tmp_path / "copy.npz").write_bytes((tmp_path / "bright.npz").read_bytes())
    levels = ("--grey-levels", "8") if "cifar10" in names else ()
    refused(message, "study", "tiny.py", "--dataset", *names, *levels, *COMMAND, *dry)


def test_the_dry_run_shows_each_plan_and_their_sum(cli, tmp_path):
    write_data(tmp_path)
    code, out, err = cli(*STUDY, "--seeds", "3", "--dry-run")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("data ")] == [f"{name}:" for name in NAMES]
    assert out.splitlines()[-1].startswith(
        "in all    3 data sets, one after the other, and a comparison over them: 18 runs, "
    )
    assert not (tmp_path / "runs").exists()


def test_what_goes_wrong_on_one_data_set_keeps_no_other_from_running(capsys):
    def run(name):
        if name == "b":
            raise StudyStoppedError("no run completed")
        if name == "d":
            raise UnexpectedError("its traceback is elsewhere")
        return f"s-{name}", ""

    assert run_each(["a", "b", "c", "d", "e"], run) == (2, ["s-a", "s-c", "s-e"])
    assert capsys.readouterr().err.splitlines() == ["error: no run completed", "error: its traceback is elsewhere"]
    assert run_each(["a", "d"], run) == (1, ["s-a"])
    assert run_each(["a", "c"], run) == (0, ["s-a", "s-c"])


def test_an_arm_without_an_answer_is_said_at_once_and_its_study_is_compared(capsys):
    def run(name):
        return f"s-{name}", "no trial of vae completed" if name == "f" else ""

    assert run_each(["a", "f"], run) == (2, ["s-a", "s-f"])
    assert capsys.readouterr().err == "error: no trial of vae completed\n"


def test_a_process_that_starts_again_takes_up_no_study_that_has_ended(monkeypatch):
    monkeypatch.delenv(ENDED_STUDIES_VARIABLE, raising=False)
    begun = []

    def run(name):
        begun.append(name)
        if name == "b":
            raise TrackingError("lost")
        if name == "c" and begun.count("c") == 1:
            raise RestartRequiredError("too large")
        return f"s-{name}", ""

    with pytest.raises(RestartRequiredError):
        run_each(["a", "b", "c", "d"], run)
    assert json.loads(os.environ[ENDED_STUDIES_VARIABLE]) == [[0, "s-a"], [2, ""]]
    assert run_each(["a", "b", "c", "d"], run) == (2, ["s-a", "s-c", "s-d"])
    assert begun == ["a", "b", "c", "c", "d"]
    assert ENDED_STUDIES_VARIABLE not in os.environ


def studies_begun(database):
    """The number of studies of which a run has begun."""
    query = (
        "SELECT COUNT(DISTINCT study.value) FROM tags AS study JOIN tags AS role USING (run_uuid) "
        "WHERE study.key = 'reparam.study_id' AND role.key = 'reparam.role' AND role.value = 'final'"
    )
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:  # not there yet, or just being made
        return 0


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Ctrl-C on the second data set; the same command again; the study of one data set alone, in another folder."""
    folder = tmp_path_factory.mktemp("data_sets")
    write_data(folder)
    process = start_command(folder, TWO)
    try:
        until = time.monotonic() + 2 * DEADLINE
        while studies_begun(folder / "runs" / "mlflow.db") < 2:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stopped = process.communicate(timeout=2 * DEADLINE)[0], process.returncode
    finally:
        process.kill()
    ended, results = [stopped], []
    alone = ("study", "tiny.py", "--dataset", "dark.npz", *COMMAND, "--output", "alone")
    for command, output in ((TWO, "runs"), (alone, "alone")):
        process = start_command(folder, command)
        ended.append((process.communicate(timeout=2 * DEADLINE)[0], process.returncode))
        uri = f"sqlite:///{folder / output / 'mlflow.db'}"
        results.append([load_results(uri, study_id) for study_id in sorted(list_studies(uri))])
    return {"folder": folder, "ended": ended, "together": results[0], "alone": results[1]}


@pytest.mark.slow
def test_a_stopped_command_continues_where_it_was(history):
    (stopped, code), (whole, after), _ = history["ended"]
    assert code == 130
    assert stopped.splitlines()[-1] == "stopped: finished runs are kept; the same command continues"
    assert stopped.count("answer    ") == 1
    assert after == 0, whole
    assert whole.count("answer    ") == 2
    studies = history["together"]
    assert [study.study_id.rpartition("-")[0] for study in studies] == [f"tiny-{name}" for name in NAMES[:2]]
    for study in studies:
        complete = study.runs[study.runs["state"] == "complete"]
        assert sorted(complete["arm"]) == ["width-16", "width-4"]


@pytest.mark.slow
def test_each_is_the_study_that_it_would_be_alone(history):
    output, code = history["ended"][2]
    assert code == 0, output
    (alone,) = history["alone"]
    together = history["together"][1]
    assert alone.study_id == together.study_id
    values = [
        study.measurements.query("split == 'test'").sort_values(["arm", "metric"])[["arm", "metric", "value"]]
        for study in (alone, together)
    ]
    # Bit by bit, though one was interrupted and ran in the process of another.
    assert values[0].to_numpy().tolist() == values[1].to_numpy().tolist()
    assert len(values[0]) >= 4


@pytest.mark.slow
def test_the_comparison_is_written_at_the_end(history):
    output, _ = history["ended"][1]
    page = output.splitlines()[-1]
    assert page.startswith("runs/reports/compare-2-data-sets-")
    assert page.endswith("/compare.html")
    text = (history["folder"] / page).with_suffix(".md").read_text("utf-8")
    assert "No test over 2 data sets can say which arm is better in general" in text
    for name, study in zip(NAMES, history["together"], strict=False):
        assert f"{name} (4 × 4 × 1, 8 grey levels)" in text
        assert (history["folder"] / "runs" / "reports" / study.study_id / "report.html").is_file()
