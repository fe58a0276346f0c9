"""The gradient study on the command line: quick help, clear errors, and from its training to its report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from bench.data.bundled import load_digits
from tests.studies.small_study import ROOT, kill_during

COMMAND = ("gradients", "--smoke", "--quiet", "--backend", os.environ["KERAS_BACKEND"])
TRAINED = {"pathwise", "score_function_baseline", "doubly_reparameterised"}


def test_help_lists_every_option_and_imports_no_framework(cli):
    code, out, _ = cli("gradients", "--help")
    assert code == 0
    for option in ("--dataset", "--backend", "--output", "--images", "--seeds", "--workers", "--smoke"):
        assert option in out
    names = "import sys, studies.cli.gradient_estimators; print({'keras', 'tensorflow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "0"), r"seeds=0: .*greater than or equal to 1"),
        (("--draws", "3"), r"draws=3: .*greater than or equal to 128"),
        (("--dataset", "nowhere"), r"there is no data set 'nowhere'"),
    ],
)
def test_a_bad_option_is_one_line(refused, arguments, message):
    refused(message, "gradients", *arguments)


@pytest.fixture
def folder(tmp_path, keep_classifier):
    """An empty folder, but for the trained feature extractor that an earlier study would have left."""
    keep_classifier(load_digits().tuning, tmp_path / "runs")
    return tmp_path


def logged(folder):
    """The runs of the study's arms and its own run."""
    client = MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("reparam-bench/gradient_estimators")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.data.tags["reparam.role"] == "study")
    return client, parent, [run for run in runs if run is not parent]


def check_report(folder, page):
    text = page.read_text("utf-8")
    assert "comparisons with a closed form" in text or "with a closed form do" in text
    runs = pd.read_csv(page.parent / "runs.csv")
    assert set(runs["state"]) == {"complete"}
    assert set(runs["estimator"]) == TRAINED
    assert len(runs) == len(TRAINED)
    vae = pd.read_csv(page.parent / "encoder_gradients.csv")
    assert set(vae["estimator"]) == TRAINED | {"score_function", "sticking_the_landing"}
    assert not vae.duplicated(["estimator", "samples", "latent_size"]).any()
    assert (vae["variance"] > 0).all()
    client, parent, children = logged(folder)
    assert {run.data.params["gradient_estimator"] for run in children} == TRAINED
    assert {"report", "gradients"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    return children


@pytest.mark.usefixtures("undrawn_here")
def test_a_smoke_run_leaves_its_report_and_its_runs_and_a_second_one_measures_nothing_again(cli, folder, monkeypatch):
    from bench.workflows.gradients import study

    code, out, err = cli(*COMMAND)
    assert code == 0, err
    page = folder / out.strip()
    children = check_report(folder, page)
    assert len(children) == len(TRAINED)

    def again(*arguments, **options):
        raise AssertionError("it was measured already")

    monkeypatch.setattr(study, "measure", again)
    monkeypatch.setattr(study, "encoder_gradients", again)
    before = page.read_bytes()
    assert cli(*COMMAND)[0] == 0
    assert page.read_bytes() == before
    assert len(logged(folder)[2]) == len(TRAINED)


@pytest.mark.slow
@pytest.mark.backend
def test_a_study_that_is_killed_is_continued_by_the_same_command(cli, folder):
    ended = kill_during(folder, COMMAND, "reparam.arm", "score_function_baseline", signal.SIGKILL)
    assert ended.returncode == -signal.SIGKILL
    code, out, err = cli(*COMMAND)
    assert code == 0, err
    children = check_report(folder, folder / out.strip())
    ends = sorted((run.data.tags["reparam.arm"], run.data.tags["reparam.state"]) for run in children)
    assert ends == [
        ("doubly_reparameterised_k2", "complete"),
        ("pathwise", "complete"),
        ("score_function_baseline", "complete"),
        ("score_function_baseline", "interrupted"),
    ]
