"""Opening a study's storage: a journal file, a database that SQLAlchemy knows, or Optuna's gRPC proxy."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
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

optuna.logging.set_verbosity(optuna.logging.WARNING)
# What it warns of goes where the command's log goes, not past it to stderr.
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

Result = TypeVar("Result")

log = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds that work waits for a storage which could be reached before."""
LONGEST_PAUSE = 10.0
PROXY_SECONDS = 10.0
"""That a gRPC proxy has to answer in, at the start."""
TABLES = 20
"""More than Optuna makes in a database."""
_SIGNS_OF_LIFE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""What PostgreSQL's client library asks of a connection, where the URL does not say otherwise."""


def open_storage(address: str) -> BaseStorage:
    """The storage at an address; what it needs is made in it.

    Args:
        address: an SQLAlchemy URL, ``grpc://host:port`` of Optuna's proxy, or the path of a journal file
            (``*.journal``).

    Raises:
        TrackingError: it cannot be reached, or is no storage.
    """
    try:
        if address.startswith("grpc://"):
            return _proxy(address)
        if address.endswith(".journal"):
            return JournalStorage(_Journal(address))
        return get_storage(_database(address))
    except Exception as error:  # A damaged journal fails in whatever way its content leads to.
        reason = redact((str(error.__cause__ or error) or type(error).__name__).splitlines()[0])
        if isinstance(error, ImportError):
            reason += "; pip install 'reparam-bench[cluster]' has what PostgreSQL and the proxy need"
        raise TrackingError(f"study storage {redact(address)} cannot be opened: {reason}") from error


def _database(address: str) -> RDBStorage:
    """A database; its tables are made if they are not there, perhaps by several processes at once.

    Whoever comes second to a table fails, and finds it the next time.
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
        # What a cut cable or a machine without power would otherwise hold up for hours is an outage soon.
        connect = {name: value for name, value in _SIGNS_OF_LIFE.items() if name not in url.query}
    return RDBStorage(address, engine_kwargs={"pool_pre_ping": True, "connect_args": connect})


def _sqlite(address: str) -> RDBStorage:
    """SQLite whose every transaction takes the database for itself before it reads.

    It knows no lock of a row: as Optuna itself uses it, two processes can both find a trial waiting and both take it.
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
        raise ValueError(f"{address!r} is no address of a proxy: it needs grpc://host:port")
    storage = GrpcStorageProxy(host=host, port=port)
    storage.wait_server_ready(PROXY_SECONDS)
    return storage


class _Lock:
    """A lock that the system frees when its process dies; Optuna's own would then hold everybody up for half a minute.

    It may be taken again by the thread that has it.
    """

    def __init__(self, path: str) -> None:
        self._lock = FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _Journal(JournalFileBackend):
    """Optuna's journal file, in which a line that was torn by a crash or a full disk does no harm."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._own_lock = _Lock(path)
        # Any object with these two methods will do; the class that names them is private.
        super().__init__(path, self._own_lock)  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines, or nothing."""
        self._own_lock.acquire()
        try:
            self._cut_torn_line()
            try:
                super().append_logs(logs)
            except OSError:
                self._cut_torn_line()
                raise
        finally:
            self._own_lock.release()

    def _cut_torn_line(self) -> None:
        with self._path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end == 0:
                return
            file.seek(end - 1)
            if file.read(1) == b"\n":
                return
            content = self._path.read_bytes()
            file.truncate(content.rfind(b"\n") + 1)


def with_retries(action: Callable[[], Result], patience: float = PATIENCE) -> Result:
    """What ``action`` gives; while the storage cannot be reached it is tried again.

    Args:
        action: what can be done twice: the storage may have done it without being able to say so.
        patience: seconds until it is given up.

    Raises:
        TrackingError: the storage could not be reached for so long, or its disk is full.
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
                raise
            problem = error
        if time.monotonic() - began > patience:
            reason = redact(str(problem.__cause__ or problem).splitlines()[0])
            raise TrackingError(
                f"the study's storage could not be reached for {patience:.0f} s ({reason}); what is finished is kept, "
                "and the same command continues"
            ) from problem
        if pause > 1.0:
            log.warning("the study's storage cannot be reached; trying again", exc_info=problem)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _is_outage(error: Exception) -> bool:
    """Whether an error means that the storage cannot be reached now, or is held by others for too long."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # A rollback is pending where Optuna itself tried again on a connection that was cut.
    if isinstance(cause, (OperationalError, InterfaceError, PendingRollbackError, PoolTimeoutError)):
        return True
    if isinstance(cause, DBAPIError):
        return cause.connection_invalidated
    # Without the proxy's library there is no proxy, and none of its errors.
    return type(error).__module__.partition(".")[0] == "grpc"


def count_searches(storage: str) -> int:
    """How many searches a storage holds; nothing is made or changed in it.

    Args:
        storage: as for :func:`open_storage`.

    Raises:
        TrackingError: the storage cannot be reached.
    """
    try:
        if storage.endswith(".journal") and not Path(storage).is_file():
            return 0
        database = not storage.endswith(".journal") and not storage.startswith("grpc://")
        # Opened as a storage, a database without the tables would be given them.
        if database and not sqlalchemy.inspect(sqlalchemy.create_engine(storage)).has_table("studies"):
            return 0
        return len(open_storage(storage).get_all_studies())
    except (SQLAlchemyError, StorageInternalError, OSError, ImportError) as error:
        cause = (error.__cause__ if isinstance(error, StorageInternalError) else None) or error
        reason = redact(f"{type(cause).__name__}: {cause}".splitlines()[0])
        raise TrackingError(f"study storage {redact(storage)} cannot be opened: {reason}") from error


def look_into(storage: str) -> str:
    """What a storage holds, in words; see :func:`count_searches`."""
    count = count_searches(storage)
    return f"{count} searches" if count else "no search yet"
