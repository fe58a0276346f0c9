"""The embedded tracking database is there whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow.store.db.utils
import pytest

from bench.tracking.connection import connect, create_database

ROOT = Path(__file__).resolve().parents[3]


def test_a_creation_that_was_interrupted_is_done_again(tmp_path, monkeypatch):
    file = tmp_path / "mlflow.db"

    def interrupted(engine):
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE experiments (name TEXT)")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.store.db.utils, "_initialize_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            create_database(file)
    assert list(tmp_path.iterdir()) == []
    create_database(file)
    assert connect(f"sqlite:///{file}").search_experiments()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_an_empty_file_becomes_the_database(tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    create_database(file)
    assert connect(f"sqlite:///{file}").search_experiments()


def test_processes_that_create_it_at_once_use_the_same(tmp_path):
    file = tmp_path / "mlflow.db"
    program = (
        "import sys; from pathlib import Path; from bench.tracking.connection import connect, create_database; "
        "create_database(Path(sys.argv[1])); connect(f'sqlite:///{sys.argv[1]}').create_experiment(sys.argv[2])"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, file, name], cwd=ROOT) for name in ("one", "two")]
    assert [process.wait(120) for process in started] == [0, 0]
    assert {each.name for each in connect(f"sqlite:///{file}").search_experiments()} >= {"one", "two"}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
