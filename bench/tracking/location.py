"""Where an embedded store and its artifacts lie now, which may be elsewhere than where they were written.

MLflow keeps absolute addresses of artifacts in its database, and a folder may be moved, renamed, copied or mounted
elsewhere. The artifacts of a study lie in ``artifacts/STUDY`` beside the database. Readers compute where that is, and
write nothing; whoever writes, or serves the database, has its addresses rewritten first.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from bench.core.databases import parse_url, sqlite_file
from bench.core.errors import SettingsError, TrackingError
from bench.core.file_locks import lock_file_error
from bench.core.logs import shorten
from bench.core.redaction import hide_secrets, redact

log = logging.getLogger(__name__)

ARTIFACTS = "artifacts"
"""The folder of artifacts beside a database."""
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's that hold addresses of artifacts."""
_BESIDE = "sqlite:///../"
"""Begins the address of a database as an outbox beside it records it."""


@dataclass(frozen=True)
class Move:
    """A folder of artifacts that is elsewhere than a database says: its address there, and now."""

    before: str
    now: str

    def apply(self, address: str) -> str | None:
        """The present form of an address at or below the folder; None for any other."""
        if address == self.before or address.startswith(f"{self.before}/"):
            return self.now + address.removeprefix(self.before)
        return None


class Artifacts:
    """Reads the artifacts of a store, wherever its folder is now.

    Args:
        uri: the tracking URI.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        file = database_file(uri)
        self._moves = [] if file is None else find_moves(file)

    def locate(self, address: str) -> str:
        """The present address of what the store says is at ``address``."""
        return next((now for move in self._moves if (now := move.apply(address)) is not None), address)

    def download(self, address: str, folder: Path) -> Path:
        """Download a file.

        Args:
            address: its address according to the store.
            folder: where to put it.

        Returns:
            The file.

        Raises:
            TrackingError: it is not there.
        """
        place = self.locate(address)
        try:
            return Path(download_artifacts(place, dst_path=str(folder), tracking_uri=self.uri))
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"tracking store {redact(self.uri)} lacks {redact(place)} ({shorten(str(error))}): the folder "
                f"{ARTIFACTS} must lie where it was written or, of a database that was moved, beside that"
            ) from error


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store, its links followed; None for any other store.

    Raises:
        TrackingError: the database is in memory, or the URI is malformed.
    """
    if not uri.startswith("sqlite:"):
        return None
    file = sqlite_file(parse_url(uri))
    return None if file is None else file.resolve()


def store_name(uri: str) -> str:
    """A tracking URI without its credentials, the same for all that name one SQLite file."""
    file = database_file(uri)
    if file is not None:
        return f"sqlite:///{file}"
    shown = redact(uri).rstrip("/")
    query = hide_secrets(f"?{urlsplit(uri).query}")
    # What is not shown may be what tells two stores apart.
    return shown if query in f"{shown}?" else f"{shown}#{hashlib.sha256(query.encode()).hexdigest()[:8]}"


def store_from(store: str, outboxes: Path) -> str:
    """A store's name as an outbox below ``outboxes`` records it: relative to them if it is a file beside them."""
    beside = f"sqlite:///{outboxes.resolve().parent}/"
    return f"{_BESIDE}{store.removeprefix(beside)}" if store.startswith(beside) else store


def store_at(recorded: str, outboxes: Path) -> str:
    """The store's name, of what :func:`store_from` has made of it."""
    if not recorded.startswith(_BESIDE):
        return recorded
    return f"sqlite:///{outboxes.resolve().parent}/{recorded.removeprefix(_BESIDE)}"


def find_moves(database: Path) -> list[Move]:
    """The folders of artifacts beside a database that it says are elsewhere.

    Raises:
        TrackingError: the database cannot be read.
    """
    if not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
            known = connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchone()
            rows = connection.execute("SELECT artifact_location FROM experiments").fetchall() if known else []
    except sqlite3.Error as error:
        raise TrackingError(f"tracking store {database} cannot be read: {error}") from error
    moves = []
    for (address,) in rows:
        place = urlsplit(address or "")
        parts = Path(unquote(place.path)).parts
        if place.scheme not in ("", "file") or parts[-2:-1] != (ARTIFACTS,):
            continue
        here = (database.parent / ARTIFACTS / parts[-1]).resolve()
        if here.is_dir() and here.as_uri() != address:
            moves.append(Move(address, here.as_uri()))
    return moves


def is_moved(uri: str) -> bool:
    """Whether the artifacts of a store are elsewhere than it says.

    Raises:
        TrackingError: the database cannot be read.
    """
    file = database_file(uri)
    return file is not None and bool(find_moves(file))


def settle(uri: str) -> IO[bytes] | None:
    """Keep the addresses of a store's artifacts as they are, after rewriting those of a folder that was moved.

    Args:
        uri: the tracking URI.

    Returns:
        What keeps other processes from rewriting them, until it is closed; None for a store that is no SQLite file.

    Raises:
        SettingsError: the folder was moved, and another process still uses the addresses before, or the database
            cannot be written.
        TrackingError: the database cannot be read.
        LockFileError: there is no file in place of the lock's.
    """
    file = database_file(uri)
    if file is None or not file.is_file():
        return None
    moves = find_moves(file)
    path = file.with_name(f"{file.name}.lock")
    try:
        # A link would have its target created, and the reading end of a pipe waited for.
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise lock_file_error(path, error) from error
        if not moves:
            return None
        raise _not_rewritten(file, moves, str(error)) from error
    lock = os.fdopen(opened, "rb+", buffering=0)
    if moves:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _rewrite(file, find_moves(file))
        except BlockingIOError as error:
            lock.close()
            raise _not_rewritten(file, moves, "another process still writes there: wait until it ends") from error
        except sqlite3.Error as error:
            lock.close()
            raise _not_rewritten(file, moves, str(error)) from error
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _not_rewritten(file: Path, moves: Sequence[Move], reason: str) -> SettingsError:
    return SettingsError(
        f"tracking store {file} was moved, as its artifacts are at {moves[0].now} and it says {moves[0].before}, which "
        f"cannot be rewritten ({reason}); a copy of the folder on a disk that can be written is accepted"
    )


def _rewrite(file: Path, moves: Sequence[Move]) -> None:
    """Rewrite all addresses in one transaction."""
    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for move in moves:
            changed = 0
            for table, column in _ADDRESSES:
                # Names of the constant above.
                changed += connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (move.now, len(move.before) + 1, move.before, len(move.before) + 1, f"{move.before}/"),
                ).rowcount
            old, new = (
                unquote(urlsplit(address).path).rpartition(f"/{ARTIFACTS}/")[0] for address in (move.before, move.now)
            )
            # The command that serves a registered model names the database.
            connection.execute(
                "UPDATE registered_models SET description = replace(description, ?, ?)",
                (f"sqlite:///{old}/{file.name}", f"sqlite:///{new}/{file.name}"),
            )
            log.info(
                "%s was moved: %d addresses of artifacts below %s are now below %s",
                file,
                changed,
                move.before,
                move.now,
            )
        connection.execute("COMMIT")
