"""Checks that a database can serve as MLflow's or Optuna's, without creating or changing anything."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from bench.core.errors import TrackingError
from bench.core.redaction import redact

CONNECT_SECONDS = 10
"""Timeout of a connection to a database server."""
_SERVERS = ("postgresql", "mysql", "mssql", "mariadb", "oracle")
_TIMEOUTS = dict.fromkeys(("psycopg2", "psycopg", "pymysql", "mysqldb"), "connect_timeout")
"""The name that each driver gives to its timeout."""
_SQLITE_HEADER = b"SQLite format 3\0"
_MIGRATIONS = "alembic_version"
"""MLflow and Optuna both keep the version of their tables in a table of this name: they cannot share a database."""
_VERSION = f"SELECT version_num FROM {_MIGRATIONS}"  # noqa: S608 - the constant above


@dataclass(frozen=True)
class Owner:
    """A program that owns the tables of a database.

    Attributes:
        name: its name.
        tables: tables that each of its databases has.
        migrations: where its package keeps the steps from one version of its tables to the next; empty if it says by
            itself that it cannot use another version.
        upgrade: its command that takes these steps.
    """

    name: str
    tables: frozenset[str]
    migrations: str = ""
    upgrade: str = ""


MLFLOW = Owner(
    "MLflow", frozenset({"experiments", "runs", "metrics"}), "store/db_migrations/versions", "mlflow db upgrade"
)
OPTUNA = Owner("Optuna", frozenset({"studies", "trials", "version_info"}))


def is_database(address: str) -> bool:
    """Whether an address is a URL of SQLite or of a database server."""
    return address.partition(":")[0].partition("+")[0] in ("sqlite", *_SERVERS)


def check_database(url: str, owner: Owner, role: str) -> bool:
    """Check that a database belongs to a program, or is empty and can become its own.

    Args:
        url: an SQLAlchemy URL.
        owner: the program.
        role: what the user calls the database; errors name it.

    Returns:
        Whether the program's tables are there.

    Raises:
        TrackingError: the URL is malformed, the database cannot be reached, another program owns it, or another version
            of the program, which would add what its own version lacks.
    """
    try:
        tables, revision = _tables(parse_url(url))
    except TrackingError as error:
        raise TrackingError(f"{role} {redact(url)} cannot be used: {error}") from error
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrackingError(f"{role} {redact(url)} cannot be reached: {redact(reason)}") from error
    if owner.tables <= tables:
        if owner.migrations and (problem := _other_version(owner, revision)):
            raise TrackingError(f"{role} {redact(url)} cannot be used: its tables ({revision}) {problem}")
        return True
    # A database server may hold other tables too, but only one table of versions.
    if _MIGRATIONS in tables or (tables and url.startswith("sqlite")):
        raise TrackingError(
            f"{role} {redact(url)} cannot be used: it holds tables of another program "
            f"({', '.join(sorted(tables)[:3])}, …); a database of {owner.name}'s own, or an empty one, is accepted"
        )
    return False


def parse_url(url: str) -> URL:
    """Parse an SQLAlchemy URL whose dialect is known and whose driver is installed.

    Raises:
        TrackingError: it is not a URL, its kind of database is unknown, or its driver is not installed.
    """
    try:
        parts = sqlalchemy.make_url(url)
        parts.get_dialect().import_dbapi()
    except NoSuchModuleError as error:
        raise TrackingError("no such kind of database; sqlite, postgresql, mysql and the like are accepted") from error
    except ArgumentError as error:
        raise TrackingError("it is not the URL of a database; one like sqlite:///FOLDER/NAME.db is accepted") from error
    except ImportError as error:
        raise TrackingError(f"its driver is not installed ({error}): install it, or name another") from error
    except ValueError as error:
        # The error's text may quote the password, where the host is missing.
        raise TrackingError("it is not the URL of a database; its port must be a number") from error
    return parts


def sqlite_file(parts: URL) -> Path | None:
    """The file of an SQLite database; None if a server keeps the database.

    Raises:
        TrackingError: the database is in memory.
    """
    if parts.get_backend_name() != "sqlite":
        return None
    name = parts.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise TrackingError("nothing would be kept in it; the path of a file, sqlite:///FOLDER/NAME.db, is accepted")
    return Path(name)


def _other_version(owner: Owner, revision: str | None) -> str:
    """What is wrong with tables that the installed version of their program does not use; empty if it uses them."""
    versions, replaced = _migrations(owner)
    installed = version(owner.name)
    if not versions:
        # Another version keeps its steps elsewhere, and says by itself what it cannot use.
        return ""
    if revision not in versions:
        return f"are unknown to the installed {owner.name} {installed}: install the version that wrote it"
    if revision in replaced:
        return f"are of an earlier {owner.name} than the installed {installed}: copy it, then `{owner.upgrade}` it"
    return ""


@cache
def _migrations(owner: Owner) -> tuple[frozenset[str], frozenset[str]]:
    """The versions of its tables that the installed program knows, and those of them that another one follows.

    Read from its files, as importing them takes seconds.
    """
    package = find_spec(owner.name.lower())
    folders = [] if package is None else package.submodule_search_locations or []
    texts = [file.read_text(encoding="utf-8") for each in folders for file in Path(each, owner.migrations).glob("*.py")]
    versions, replaced = (
        frozenset(
            found for text in texts for found in re.findall(rf"^{name}\b[^=\n]*=\s*[\"'](\w+)", text, re.MULTILINE)
        )
        for name in ("revision", "down_revision")
    )
    return versions, replaced


def _tables(url: URL) -> tuple[frozenset[str], str | None]:
    """The tables of a database, and the version of them that its program has noted."""
    file = sqlite_file(url)
    if file is None:
        driver = url.get_dialect().driver
        timeout = {_TIMEOUTS[driver]: CONNECT_SECONDS} if driver in _TIMEOUTS else {}
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=timeout)
        tables = frozenset(sqlalchemy.inspect(engine).get_table_names())
        if _MIGRATIONS not in tables:
            return tables, None
        with engine.connect() as server:
            return tables, server.execute(sqlalchemy.text(_VERSION)).scalar()
    if not file.exists():
        return frozenset(), None
    # Checked before it is opened: reading a named pipe would block.
    if not file.is_file():
        raise TrackingError("it is not a file; the path of a file is accepted")
    with file.open("rb") as stream:
        if stream.read(len(_SQLITE_HEADER)) not in (b"", _SQLITE_HEADER):
            raise TrackingError("it is not an SQLite database; one, or a path where there is no file, is accepted")
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = frozenset(name for (name,) in found)
        noted = connection.execute(_VERSION).fetchone() if _MIGRATIONS in tables else None
        return tables, None if noted is None else noted[0]
