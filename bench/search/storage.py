"""Opens a study's storage: a journal file, a database that SQLAlchemy supports, or Optuna's gRPC proxy."""

from __future__ import annotations

import logging
import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from bench.core.errors import TrackingError
from bench.core.redaction import redact
from bench.search.journal import DamagedJournalError, Journal

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Its warnings go to the command's log instead of stderr.
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

Result = TypeVar("Result")

log = logging.getLogger(__name__)

RETRY_SECONDS = 600.0
"""Seconds for which work waits for a storage that became unreachable."""
LONGEST_PAUSE = 10.0
PROXY_SECONDS = 10.0
"""Time limit for a gRPC proxy's first response."""
FINALS, COORDINATOR = "/final", "/final/coordinator"
"""After a study's identifier, the names of its final runs and of its lock; arms cannot have such names."""
TABLES = 20
"""More tables than Optuna creates in a database."""
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Options of PostgreSQL's client library, unless the URL sets them."""


def open_storage(address: str) -> BaseStorage:
    """Open a storage; creates missing files and tables.

    Args:
        address: an SQLAlchemy URL, ``grpc://host:port`` of Optuna's proxy, or the path of a journal file
            (``*.journal``).

    Raises:
        TrackingError: it cannot be reached, or is not a storage.
    """
    journal = None
    try:
        if address.startswith("grpc://"):
            return _proxy(address)
        if address.endswith(".journal"):
            journal = Journal(address)
            return JournalStorage(journal)
        return get_storage(_database(address))
    except DamagedJournalError:
        raise
    except Exception as error:  # A damaged journal may raise any error.
        reason = redact((str(error.__cause__ or error) or type(error).__name__).splitlines()[0])
        if journal is not None and journal.line:
            reason = f"line {journal.line} is no operation that can follow those before it ({reason}); restore it"
        if isinstance(error, ImportError):
            reason += "; pip install 'reparam-bench[cluster]' has what PostgreSQL and the proxy need"
        raise TrackingError(f"study storage {redact(address)} cannot be opened: {reason}") from error


def open_searches(address: str) -> BaseStorage:
    """Open a storage whose list of studies is that of the searches, for optuna-dashboard.

    Locks and final runs are left out: the latter are of all arms, and have no parameters that were searched.

    Raises:
        TrackingError: it cannot be reached, or is not a storage.
    """
    storage = open_storage(address)
    whole = storage.get_all_studies

    def searches() -> list[Any]:
        return [study for study in whole() if not study.study_name.endswith((FINALS, COORDINATOR))]

    storage.get_all_studies = searches  # type: ignore[method-assign]
    return storage


def _database(address: str) -> RDBStorage:
    """Open a database, and create missing tables, perhaps in several processes at once.

    The second process to create a table fails, and finds it when it tries again.
    """
    connect = _sqlite if address.startswith("sqlite") else _server
    for _ in range(TABLES):
        try:
            return connect(address)
        except SQLAlchemyError as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
    return connect(address)


def _server(address: str) -> RDBStorage:
    connect = {}
    url = sqlalchemy.make_url(address)
    if url.get_driver_name() in ("psycopg2", "psycopg"):
        # A broken network connection fails within minutes instead of hours.
        connect = {name: value for name, value in _KEEPALIVE.items() if name not in url.query}
    return RDBStorage(address, engine_kwargs={"pool_pre_ping": True, "connect_args": connect})


def _sqlite(address: str) -> RDBStorage:
    """Open SQLite, with transactions that lock the database before they read.

    SQLite has no row locks: as Optuna uses it, two processes can both read that a trial is waiting and both claim it.
    """
    storage = RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 60, "isolation_level": None}})
    sqlalchemy.event.listen(storage.engine, "begin", _begin_immediately)
    return storage


def _begin_immediately(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _proxy(address: str) -> BaseStorage:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"{address!r} is not the address of a proxy: it needs grpc://host:port")
    storage = GrpcStorageProxy(host=host, port=port)
    storage.wait_server_ready(PROXY_SECONDS)
    return storage


def with_retries(action: Callable[[], Result], timeout: float = RETRY_SECONDS) -> Result:
    """Call ``action``, and retry while the storage is unreachable.

    Args:
        action: a repeatable call: the storage may have executed it although its response was lost.
        timeout: seconds until the call fails.

    Returns:
        What ``action`` returns.

    Raises:
        TrackingError: the storage was unreachable for that long, its disk is full, or its file cannot be used.
    """
    began, pause = time.monotonic(), 0.05
    while True:
        try:
            return action()
        except OSError as error:
            if not isinstance(error, ConnectionError):
                raise TrackingError(f"the study's storage cannot be written: {error}") from error
            problem: Exception = error
        except Exception as error:
            if not _is_outage(error):
                if isinstance(error.__cause__ or error, OperationalError):
                    raise TrackingError(f"the study's storage cannot be used: {redact(_reason(error))}") from error
                raise
            problem = error
        if time.monotonic() - began > timeout:
            reason = redact(_reason(problem))
            raise TrackingError(
                f"the study's storage could not be reached for {timeout:.0f} s ({reason}); what is finished is kept, "
                "and the same command continues"
            ) from problem
        if pause > 1.0:
            log.warning("the study's storage cannot be reached; trying again", exc_info=problem)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _is_outage(error: Exception) -> bool:
    """Whether an error means that the storage is unreachable now, or locked by others for too long."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # Optuna's own retry on a broken connection leaves a rollback pending.
    if isinstance(original := getattr(cause, "orig", None), sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _PASSING
    if isinstance(cause, (OperationalError, InterfaceError, PendingRollbackError, PoolTimeoutError)):
        return True
    if isinstance(cause, DBAPIError):
        return cause.connection_invalidated
    # By name, since the proxy's library is optional.
    return type(error).__module__.partition(".")[0] == "grpc"


_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}
"""Errors of SQLite that may pass by themselves; a full disk does not, nor a file that is another or is read-only."""


def _reason(error: Exception) -> str:
    """An error in a line: gRPC's have details, and many lines."""
    cause = error.__cause__ or error
    details = getattr(cause, "details", None)
    text = str(details() if callable(details) else cause)
    return (text.splitlines() or [type(cause).__name__])[0]


def specifications(storage: BaseStorage) -> list[dict[str, Any]]:
    """The published specifications of all studies in a storage, except those that people have edited to none."""
    studies = with_retries(storage.get_all_studies)
    found = (study.user_attrs.get("specification") for study in studies if study.study_name.endswith(FINALS))
    return [
        dict(each)
        for each in found
        if isinstance(each, dict)
        and {"study_id", "digest", "labels"} <= each.keys()
        and isinstance(each.get("settings"), dict)
    ]


def count_searches(storage: str) -> int:
    """Count the searches in a storage, without changing it.

    Args:
        storage: its address, as in :func:`open_storage`.

    Raises:
        TrackingError: the storage cannot be reached.
    """
    try:
        if storage.endswith(".journal") and not Path(storage).is_file():
            return 0
        database = not storage.endswith(".journal") and not storage.startswith("grpc://")
        # Optuna would create the tables.
        if database and not sqlalchemy.inspect(sqlalchemy.create_engine(storage)).has_table("studies"):
            return 0
        names = [study.study_name for study in open_storage(storage).get_all_studies()]
        return sum(not name.endswith((FINALS, COORDINATOR)) for name in names)
    except (SQLAlchemyError, StorageInternalError, OSError, ImportError) as error:
        cause = (error.__cause__ if isinstance(error, StorageInternalError) else None) or error
        reason = redact(f"{type(cause).__name__}: {cause}".splitlines()[0])
        raise TrackingError(f"study storage {redact(storage)} cannot be opened: {reason}") from error


def describe_storage(storage: str) -> str:
    """Describe what a storage holds; see :func:`count_searches`."""
    count = count_searches(storage)
    return f"{count} searches" if count else "no search yet"
