"""What a study ends by printing: commands that can be pasted as they stand."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bench.workflows.run
from bench.core.errors import TrackingError
from bench.study.definition import StudySettings
from bench.tracking import registry
from studies.cli.plan import next_steps, print_next_steps
from studies.cli.terminal import open_console

STUDY_ID = "small-digits-1a2b3c4d"


def outcome(**levels):
    results = SimpleNamespace(study_id=STUDY_ID, runs=pd.DataFrame({"role": ["search", "final"]}))
    page, log = Path("report.html"), Path("a.log")
    ranking = sorted((arm for arm, values in levels.items() if values), key=lambda arm: np.mean(levels[arm]))
    known = {"study_id": STUDY_ID, "headline": "A.", "unanswered": "", "ranking": ranking}
    return SimpleNamespace(page=page, log=log, results=results, **known)


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """The lines by their label, of a study whose models of these arms are registered."""

    def lines(found, registered=("vae", "glow"), **settings):
        names = [f"reparam-bench.{STUDY_ID}.{arm}" for arm in registered]
        monkeypatch.setattr(registry, "is_registered", lambda uri, name: name in names)
        settings = StudySettings.from_options({"output": tmp_path / "my runs", **settings})
        return {line[:10].strip(): line[10:] for line in next_steps("small", settings, found)}

    return lines


def test_the_best_arm_on_test_is_served_by_its_real_name_from_the_store_of_the_study(printed, tmp_path):
    lines = printed(outcome(vae=[2.0, 2.1], glow=[2.2, 1.7]))
    assert lines["serve"].endswith(
        f"MLFLOW_TRACKING_URI='sqlite:///{tmp_path}/my runs/mlflow.db' mlflow models serve --env-manager local "
        f"--port 5001 -m models:/reparam-bench.{STUDY_ID}.glow@champion"
    )
    assert lines["ask it"] == registry.sample_request()
    assert f".{STUDY_ID}.vae@" in printed(outcome(vae=[2.0], glow=[1.7]), registered=("vae",))["serve"]


def test_nothing_is_served_where_no_model_is_registered_or_no_final_run_was_measured(printed):
    for found, registered in ((outcome(vae=[2.0]), ()), (outcome(vae=[]), ("vae",))):
        assert not {"serve", "ask it"} & set(printed(found, registered))


def test_a_store_that_cannot_be_asked_leaves_the_other_lines(tmp_path, monkeypatch):
    def unreachable(uri, name):
        raise TrackingError("tracking store cannot be reached")

    monkeypatch.setattr(registry, "is_registered", unreachable)
    lines = list(next_steps("small", StudySettings.from_options({"output": tmp_path}), outcome(vae=[2.0])))
    assert "serve     not known: tracking store cannot be reached" in lines
    assert any(line.startswith("next      ") for line in lines)


@pytest.mark.parametrize("active", [True, False])
def test_the_command_finds_mlflow_whether_the_environment_is_active_or_not(printed, monkeypatch, active):
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin" if active else "/usr/bin:/bin")
    command = printed(outcome(vae=[2.0]))["serve"]
    assert command.startswith("MLFLOW_TRACKING_URI=" if active else f"PATH={programs}:$PATH MLFLOW_TRACKING_URI=")
    shell = command[: command.index("mlflow models")] + "bash -c 'type mlflow uvicorn'"
    found = subprocess.run([shutil.which("bash") or "bash", "-c", shell], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in found.stdout.splitlines()] == [f"{programs}/mlflow", f"{programs}/uvicorn"]


def test_commands_stay_on_one_line_of_a_narrow_terminal(printed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    found = outcome(vae=[2.0])
    lines = printed(found)
    print_next_steps("small", StudySettings.from_options({"output": tmp_path / "my runs"}), found, open_console())
    shown = capsys.readouterr().out.splitlines()
    assert f"serve     {lines['serve']}" in shown
    assert f"ask it    {lines['ask it']}" in shown


def test_credentials_of_a_tracking_server_are_not_printed(printed):
    assert "secret" not in printed(outcome(vae=[2.0]), tracking_uri="https://me:secret@mlflow.example.org")["serve"]


@pytest.mark.parametrize("name", ["my study.py", "vae_vs_glow"])
def test_the_printed_command_for_own_data_is_taken_as_it_stands(cli, printed, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my study.py").write_text(
        "from reparam_bench import Arm, Study, VAEConfig\nSTUDY = Study('other_name', 'What?', (Arm(VAEConfig()),))\n"
    )
    np.savez(tmp_path / "my.npz", images=np.zeros((30, 4, 4), np.uint8))
    steps = next_steps(name, StudySettings.from_options({"output": tmp_path / "runs"}), outcome(vae=[2.0]))
    monkeypatch.setattr(registry, "is_registered", lambda uri, name: False)
    (command,) = (line[10:] for line in steps if line.startswith("your data"))
    _, *arguments = shlex.split(command[command.index("reparam-bench") :].replace("path/to/your.npz", "my.npz"))
    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    assert "Nothing was run." in out


def test_a_study_of_a_text_asks_for_a_text(printed, monkeypatch):
    assert "--dataset path/to/your.txt --dry-run" in printed(outcome(vae=[2.0]), dataset="python_topics")["your data"]


def test_whoever_has_given_own_data_is_not_asked_for_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "is_registered", lambda uri, name: False)
    settings = StudySettings.from_options({"output": tmp_path, "dataset": "my.npz"})
    assert not any(line.startswith("your data") for line in next_steps("small", settings, outcome(vae=[2.0])))


def test_a_study_that_sweeps_nothing_continues_with_seeds(tmp_path):
    found, settings = outcome(vae=[2.0]), StudySettings.from_options({"output": tmp_path})
    assert "--trials 16 continues the search" in "\n".join(next_steps("small", settings, found))
    found.results.runs = found.results.runs.iloc[1:]
    assert "--seeds 6 adds final runs" in "\n".join(next_steps("small", settings, found))


@pytest.mark.parametrize("quiet", [False, True])
def test_the_answer_of_the_other_arms_is_printed_before_the_command_says_which_has_none(cli, monkeypatch, quiet):
    found = outcome(glow=[1.7])
    found.unanswered = "none of the 2 vae trials completed (2 diverged): sweep lower learning rates"
    monkeypatch.setattr(bench.workflows.run, "run", lambda *arguments, **settings: found)
    monkeypatch.setattr(registry, "is_registered", lambda uri, name: False)
    code, out, err = cli("study", "vae_vs_glow", *(["--quiet"] if quiet else []))
    assert (code, err) == (2, f"error: {found.unanswered}\n")
    assert out == "report.html\n" if quiet else "answer    A." in out
