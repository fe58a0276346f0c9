"""The study's script: quick help, clear errors, and a smoke run from data to report and MLflow."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.core.errors import SettingsError
from studies.cli import gradient_estimators

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "studies" / "gradient_estimators.py"


def script(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"},
    )


def test_help_tells_every_option_and_imports_no_framework():
    done = script("--help")
    assert done.returncode == 0
    for option in ("--dataset", "--backend", "--output", "--images", "--seeds", "--smoke"):
        assert option in done.stdout
    names = "import sys, studies.cli.gradient_estimators; print({'keras', 'tensorflow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_a_bad_option_is_one_line(tmp_path):
    done = script("--seeds", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: seeds=0: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
    with pytest.raises(SettingsError, match="seed=-1"):
        gradient_estimators.run({"seed": -1})


@pytest.mark.slow
@pytest.mark.backend
def test_a_smoke_run_leaves_its_report_and_its_runs(tmp_path):
    page = gradient_estimators.run({"smoke": True, "output": tmp_path, "backend": os.environ["KERAS_BACKEND"]})
    text = page.read_text("utf-8")
    assert "comparisons with a closed form" in text or "with a closed form do" in text
    runs = pd.read_csv(page.parent / "runs.csv")
    assert set(runs["state"]) == {"complete"}
    assert set(runs["estimator"]) == {"pathwise", "score_function_baseline", "doubly_reparameterised"}
    vae = pd.read_csv(page.parent / "encoder_gradients.csv")
    assert set(vae["estimator"]) == {
        "pathwise",
        "score_function",
        "score_function_baseline",
        "sticking_the_landing",
        "doubly_reparameterised",
    }
    assert (vae["variance"] > 0).all()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("reparam-bench/gradient_estimators")
    logged = client.search_runs([experiment.experiment_id])
    parents = [run for run in logged if run.data.tags["reparam.role"] == "study"]
    assert len(parents) == 1
    assert len(logged) - 1 == len(runs)
    assert {run.data.tags["reparam.state"] for run in logged} == {"complete"}
    assert {run.data.params["gradient_estimator"] for run in logged if run not in parents} == set(runs["estimator"])
    assert "report" in {file.path for file in client.list_artifacts(parents[0].info.run_id)}
