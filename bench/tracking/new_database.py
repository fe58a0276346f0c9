"""Creates MLflow's database, from a copy of an empty one where this user has had one made."""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from bench.core.databases import MLFLOW, check_database
from bench.core.environment import own_cache
from bench.core.errors import TrackingError

log = logging.getLogger(__name__)


def create_database(file: Path) -> None:
    """Create MLflow's tables in another file, which takes the database's place whole.

    It needs many statements, and cannot continue where it was interrupted.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # takes half a second to import

    with _unfinished(file) as unfinished:
        with closing(_empty_database()) as empty, closing(sqlite3.connect(unfinished)) as copy:
            empty.backup(copy)
        # MLflow checks the tables, and adds its default experiment.
        store = SqlAlchemyStore(f"sqlite:///{unfinished}", str(file.parent / "artifacts"))
        store.engine.dispose()
        if file.exists() and file.stat().st_size == 0:
            unfinished.replace(file)
        else:
            with suppress(FileExistsError):  # Another process was first.
                try:
                    file.hardlink_to(unfinished)
                except FileExistsError:
                    raise
                except OSError:  # The file system has no hard links.
                    os.close(os.open(file, os.O_CREAT | os.O_EXCL))
                    unfinished.replace(file)


def _empty_database() -> sqlite3.Connection:
    """MLflow's tables without a row of any store: the kept copy, or made in memory and kept.

    MLflow takes them through each version that it ever had, in half a second, and far longer on a disk that must have
    written each of the steps before the next.
    """
    folder = own_cache()
    kept = None if folder is None else folder / f"mlflow-{version('mlflow')}.db"
    if kept is not None and _is_usable(kept):
        return sqlite3.connect(kept)
    made = _make_tables()
    if kept is not None:
        try:
            _keep(made, kept)
        except (OSError, sqlite3.Error) as error:
            log.debug("an empty database of MLflow's is not kept in %s: %s", kept, error)
    return made


def _is_usable(kept: Path) -> bool:
    """Whether a kept database is there, undamaged, and of the version of the installed MLflow's tables."""
    try:
        if not check_database(f"sqlite:///{kept}", MLFLOW, "empty database"):
            return False
        with closing(sqlite3.connect(kept)) as opened:
            is_whole: bool = opened.execute("PRAGMA quick_check").fetchone() == ("ok",)
            is_empty: bool = opened.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
            return is_whole and is_empty
    except (TrackingError, sqlite3.Error) as error:
        log.debug("the empty database %s is made again: %s", kept, error)
        return False


def _make_tables() -> sqlite3.Connection:
    """A database in memory with MLflow's tables, without its default experiment, which names a store's folder."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Another name each time: MLflow keeps connections by their address.
    shared = f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"
    # It lasts as long as a connection to it, and MLflow may be set to keep none.
    made = sqlite3.connect(shared, uri=True)
    SqlAlchemyStore(f"sqlite:///{shared}&uri=true", ".").engine.dispose()
    with made:
        made.execute("DELETE FROM experiments")
    return made


def _keep(made: sqlite3.Connection, kept: Path) -> None:
    """Write a database to a file that is there whole or not at all."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(kept) as unfinished:
        with closing(sqlite3.connect(unfinished)) as copy:
            made.backup(copy)
        unfinished.replace(kept)


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """A new path beside a file, of which nothing is left after the block."""
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)
