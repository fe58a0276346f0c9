"""What Tab offers, asked the way that bash asks."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.data.registry import BUILT_IN
from studies.cli.main import app
from studies.cli.names import STUDIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """What is offered for the last word of a command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def ask(line):
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        environment = {
            "_REPARAM_BENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        return CliRunner().invoke(app, [], prog_name="reparam-bench", env=environment).output.split()

    return ask


CASES = {
    "reparam-bench doc": ["doctor"],
    "reparam-bench study ": list(STUDIES),
    "reparam-bench study la": ["latent_size"],
    "reparam-bench study latent_size --dataset ": list(BUILT_IN),
    "reparam-bench study latent_size --dataset fa": ["fashion_mnist"],
    "reparam-bench study latent_size --outside-dataset fa": ["fashion_mnist"],
    "reparam-bench study latent_size --backend ": ["tensorflow", "jax", "auto"],
    "reparam-bench study latent_size --sampler ": ["tpe", "qmc", "random"],
    "reparam-bench study latent_size --pruner h": ["halving"],
    "reparam-bench study latent_size --extractor i": ["inception_v3"],
    "reparam-bench evaluate 0123 --backend j": ["jax"],
    "reparam-bench gradients --dataset bin": ["binarized_mnist"],
    "reparam-bench gradients --backend t": ["tensorflow"],
    "reparam-bench report ": [],
    "reparam-bench report --tracking-uri http://127.0.0.1:1 ": [],
}


@pytest.mark.parametrize("line", CASES)
def test_names_are_offered(offered, monkeypatch, line):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert offered(line) == CASES[line]


def test_the_user_s_own_scripts_and_data_are_offered(offered, tmp_path):
    (tmp_path / "mine").mkdir()
    taken = ("my_study.py", "my_data.npz", "my_array.npy", "my_text.txt", "my_voice.wav", "mine/deep.npz")
    for name in (*taken, "my_notes.md", ".my_hidden.npz"):
        (tmp_path / name).touch()
    assert offered("reparam-bench study my") == ["my_study.py"]
    assert offered("reparam-bench study x --dataset m") == [
        "mnist",
        "mine/",
        "my_array.npy",
        "my_data.npz",
        "my_text.txt",
        "my_voice.wav",
    ]
    assert offered("reparam-bench study x --dataset mine/") == ["mine/deep.npz"]
    assert offered("reparam-bench study x --dataset gone/") == []


def test_published_results_are_offered(offered):
    from studies.published import PUBLISHED

    assert offered("reparam-bench reproduce ") == list(PUBLISHED)


def write_studies(database: Path) -> None:
    """The tables of an MLflow store that identify its studies: two, the newer one last, and one that was deleted."""
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT, start_time INTEGER, status TEXT, lifecycle_stage TEXT)")
        connection.execute("CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT)")
        for time, study in enumerate(("old-digits-1", "new-digits-2", "deleted-digits-3")):
            for role, run in (("study", f"p{time}"), ("final", f"c{time}")):
                stage = "deleted" if study.startswith("deleted") else "active"
                connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (run, time, "FINISHED", stage))
                tags = (("reparam.role", role, run), ("reparam.study_id", study, run))
                connection.executemany("INSERT INTO tags VALUES (?, ?, ?)", tags)


def test_the_studies_of_a_store_are_offered_newest_first(offered, tmp_path):
    for folder in ("runs", "other"):
        (tmp_path / folder).mkdir()
    write_studies(tmp_path / "other" / "mlflow.db")
    (tmp_path / "runs" / "mlflow.db").write_text("no database")
    assert offered("reparam-bench report --output other ") == ["new-digits-2", "old-digits-1"]
    assert offered("reparam-bench report --output other old") == ["old-digits-1"]
    assert offered(f"reparam-bench report --tracking-uri sqlite:///{tmp_path}/other/mlflow.db n") == ["new-digits-2"]
    assert offered("reparam-bench report ") == []
    assert offered("reparam-bench report --output gone ") == []
    assert not (tmp_path / "gone").exists()


def test_the_studies_of_a_real_store_are_offered(offered, tmp_path):
    from bench.data.bundled import DIGITS
    from bench.tracking.opening import open_study
    from bench.tracking.schema import StudyDescription
    from bench.tracking.tracker import Tracker

    provenance = {"commit": "0" * 40}
    study = StudyDescription("tiny-digits-0", "tiny", "Is it listed?", {}, {}, {}, provenance, DIGITS, "0" * 64)
    (tmp_path / "runs").mkdir()
    open_study(Tracker(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}", tmp_path, tmp_path), study)
    assert offered("reparam-bench report ti") == ["tiny-digits-0"]


def test_neither_help_nor_completion_of_names_imports_a_framework_or_a_store():
    program = (
        "import sys; from studies.cli.main import app; from studies.cli import completion; completion.study_ids; "
        "print({'keras', 'tensorflow', 'mlflow', 'optuna', 'pandas', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
