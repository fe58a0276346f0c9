"""Whether a database can hold what a program keeps in it, found out without making or changing anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from bench.core.errors import TrackingError
from bench.core.redaction import redact

CONNECT_SECONDS = 10
"""After so long a database server is taken not to answer."""
_SERVERS = ("postgresql", "mysql", "mssql", "mariadb", "oracle")
_TIMEOUTS = dict.fromkeys(("psycopg2", "psycopg", "pymysql", "mysqldb"), "connect_timeout")
"""How a driver takes the time after which a connection is given up."""
_SQLITE_HEADER = b"SQLite format 3\0"
_MIGRATIONS = "alembic_version"
"""In it both MLflow and Optuna keep the version of their tables, so that they cannot share a database."""


@dataclass(frozen=True)
class Owner:
    """A program that keeps its own in a database.

    Attributes:
        name: what people call it.
        tables: some that every database of its own has.
    """

    name: str
    tables: frozenset[str]


MLFLOW = Owner("MLflow", frozenset({"experiments", "runs", "metrics"}))
OPTUNA = Owner("Optuna", frozenset({"studies", "trials", "version_info"}))


def is_database(address: str) -> bool:
    """Whether an address is one of SQLite or of a database server."""
    return address.partition(":")[0].partition("+")[0] in ("sqlite", *_SERVERS)


def check_database(url: str, owner: Owner, role: str) -> bool:
    """Check that a database is a program's own, or can become it.

    Args:
        url: an SQLAlchemy URL.
        owner: the program.
        role: what the database is to the user, named in errors.

    Returns:
        Whether the program's tables are there.

    Raises:
        TrackingError: the URL is none, the database cannot be reached, or is of something else.
    """
    try:
        tables = _tables(parsed(url))
    except TrackingError as error:
        raise TrackingError(f"{role} {redact(url)} cannot be used: {error}") from error
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrackingError(f"{role} {redact(url)} cannot be reached: {redact(reason)}") from error
    if owner.tables <= tables:
        return True
    # On a server others' tables may lie beside, but not another's versions in the place of one's own.
    if _MIGRATIONS in tables or (tables and url.startswith("sqlite")):
        raise TrackingError(
            f"{role} {redact(url)} cannot be used: it holds tables of something else ({', '.join(sorted(tables)[:3])}, "
            f"…); a database of {owner.name}'s own, or an empty one, is accepted"
        )
    return False


def parsed(url: str) -> URL:
    """The parts of an SQLAlchemy URL, its dialect known and its driver installed.

    Raises:
        TrackingError: it is no URL, or its database or driver is not known here.
    """
    try:
        parts = sqlalchemy.make_url(url)
        parts.get_dialect().import_dbapi()
    except NoSuchModuleError as error:
        raise TrackingError("no such kind of database; sqlite, postgresql, mysql and the like are accepted") from error
    except ArgumentError as error:
        raise TrackingError("it is no URL of a database; one like sqlite:///FOLDER/NAME.db is accepted") from error
    except ImportError as error:
        raise TrackingError(f"its driver is not installed ({error}): install it, or name another") from error
    except ValueError as error:
        # Its words may be of the password, where the host was forgotten.
        raise TrackingError("it is no URL of a database; its port is to be a number") from error
    return parts


def sqlite_file(parts: URL) -> Path | None:
    """The file of an SQLite database; None if a server keeps the database.

    Raises:
        TrackingError: the database lies in no file.
    """
    if parts.get_backend_name() != "sqlite":
        return None
    name = parts.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise TrackingError("nothing would be kept in it; the path of a file, sqlite:///FOLDER/NAME.db, is accepted")
    return Path(name)


def _tables(url: URL) -> frozenset[str]:
    file = sqlite_file(url)
    if file is None:
        driver = url.get_dialect().driver
        timeout = {_TIMEOUTS[driver]: CONNECT_SECONDS} if driver in _TIMEOUTS else {}
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=timeout)
        return frozenset(sqlalchemy.inspect(engine).get_table_names())
    if not file.exists():
        return frozenset()
    # Not opened otherwise, for a pipe would be waited for.
    if not file.is_file():
        raise TrackingError("it is not a file; the path of a file is accepted")
    with file.open("rb") as stream:
        if stream.read(len(_SQLITE_HEADER)) not in (b"", _SQLITE_HEADER):
            raise TrackingError("it is no SQLite database; one, or a path where nothing is, is accepted")
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return frozenset(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
