"""The embedded tracking database is there whole, or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import mlflow.store.db.utils
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from bench.tracking import new_database
from bench.tracking.connection import connect
from bench.tracking.new_database import create_database

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The user's cache, in which no empty database is kept yet."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "reparam-bench"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """What MLflow makes, made once: it takes most of a second."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with closing(new_database._make_tables()) as tables, closing(sqlite3.connect(file)) as copy:
        tables.backup(copy)
    return file


@pytest.fixture
def quickly_made(monkeypatch, empty):
    """Grows by one each time that an empty database would be made."""
    calls = []
    monkeypatch.setattr(new_database, "_make_tables", lambda: calls.append(1) or sqlite3.connect(empty))
    return calls


@pytest.fixture
def made(monkeypatch):
    """Grows by one each time that MLflow takes an empty database through its versions."""
    calls, initialise = [], mlflow.store.db.utils._initialize_tables
    monkeypatch.setattr(
        mlflow.store.db.utils, "_initialize_tables", lambda engine: calls.append(engine) or initialise(engine)
    )
    return calls


def content(file):
    """What a database holds, without the times at which it was created."""
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE experiments SET creation_time = 0, last_update_time = 0")
        # MLflow orders some of it by the hashes of Python's strings.
        return {",".join(sorted(line.strip(", ") for line in each.splitlines())) for each in opened.iterdump()}


def test_a_copy_is_what_mlflow_makes_itself(tmp_path, cache, made):
    (tmp_path / "own").mkdir()
    own = SqlAlchemyStore(f"sqlite:///{tmp_path}/own/mlflow.db", str(tmp_path / "artifacts"))
    own.engine.dispose()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        create_database(tmp_path / name / "mlflow.db")
    assert len(made) == 2  # the store above, and ours once
    expected = content(tmp_path / "own" / "mlflow.db")
    for name in ("first", "second"):
        there = str(tmp_path / name / "artifacts")
        found = {each.replace(there, str(tmp_path / "artifacts")) for each in content(tmp_path / name / "mlflow.db")}
        assert found == expected
    assert [each.name for each in cache.iterdir()] == [f"mlflow-{version('mlflow')}.db"]


def _truncate(kept):
    kept.write_bytes(kept.read_bytes()[:100_000])


def _scribble(kept):
    content = bytearray(kept.read_bytes())
    content[8192:16384] = bytes(8192)
    kept.write_bytes(content)


def _of_another_version(kept):
    with closing(sqlite3.connect(kept)) as opened, opened:
        opened.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")


def _used(kept):
    with closing(sqlite3.connect(kept)) as opened, opened:
        opened.execute("INSERT INTO experiments (experiment_id, name, workspace) VALUES (7, 'mine', 'default')")


@pytest.mark.parametrize(
    "alter",
    [_truncate, _scribble, _of_another_version, _used, Path.unlink, lambda kept: kept.write_text("no database")],
    ids=["truncated", "overwritten", "another version", "used", "removed", "text"],
)
def test_a_kept_database_that_was_altered_is_made_again(tmp_path, cache, quickly_made, alter):
    create_database(tmp_path / "first.db")
    (kept,) = cache.iterdir()
    alter(kept)
    create_database(tmp_path / "mlflow.db")
    assert [each.name for each in connect(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()] == ["Default"]
    assert len(quickly_made) == 2
    create_database(tmp_path / "third.db")
    assert len(quickly_made) == 2


def test_where_nothing_can_be_kept_it_is_made_each_time(tmp_path, cache, quickly_made):
    cache.write_text("a file in place of the folder")
    for name in ("first.db", "second.db"):
        create_database(tmp_path / name)
        assert connect(f"sqlite:///{tmp_path / name}").search_experiments()
    assert len(quickly_made) == 2


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


@pytest.mark.usefixtures("quickly_made")
def test_an_empty_file_becomes_the_database(tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    create_database(file)
    assert connect(f"sqlite:///{file}").search_experiments()


AT_ONCE = """
import os, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from bench.tracking.connection import connect
from bench.tracking.new_database import create_database


def create(name):
    create_database(Path(sys.argv[1]))
    connect(f"sqlite:///{sys.argv[1]}").create_experiment(name)


for name in ("one", "two"):
    if not os.fork():
        try:
            create(name)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
sys.exit(max(os.wait()[1] for _ in range(2)) != 0)
"""


def test_processes_that_create_it_at_once_use_the_same(tmp_path):
    file = tmp_path / "mlflow.db"
    assert subprocess.run([sys.executable, "-c", AT_ONCE, file], cwd=ROOT, timeout=120, check=False).returncode == 0
    assert {each.name for each in connect(f"sqlite:///{file}").search_experiments()} >= {"one", "two"}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_it_is_created_where_mlflow_is_set_to_keep_no_connection(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    create_database(tmp_path / "mlflow.db")
    assert [each.name for each in connect(f"sqlite:///{tmp_path / 'mlflow.db'}").search_experiments()] == ["Default"]
