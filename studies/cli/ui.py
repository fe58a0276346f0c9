"""``reparam-bench ui``: serves the MLflow UI and optuna-dashboard for a folder's studies."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from bench.tracking.server import ADMINISTRATOR, LOOPBACK
from studies.cli.options import Output, Storage
from studies.cli.stores import find_tracking_store

PASSWORD = "REPARAM_BENCH_UI_PASSWORD"  # noqa: S105 - the name of the variable that holds it
STOP_SECONDS = 10
"""Seconds for MLflow to end before it is killed."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def command(
    output: Output = Path("runs"),
    host: Annotated[
        str,
        typer.Option(help="MLflow's address; any but this machine's own needs a password."),
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(help="MLflow's port.", min=1, max=65535)] = 5000,
    dashboard_port: Annotated[
        int, typer.Option(help="optuna-dashboard's port on the loopback interface.", min=1, max=65535)
    ] = 8080,
    storage: Storage = None,
) -> None:
    """Open the MLflow UI, and optuna-dashboard if it is installed, on this machine's loopback interface.

    With --host, others reach the MLflow UI, and sign in as admin with the password in REPARAM_BENCH_UI_PASSWORD.
    optuna-dashboard asks for no password, and stays on the loopback interface.
    """
    from bench.core.errors import SettingsError
    from bench.tracking.location import settle
    from bench.tracking.reading.studies import newest_view
    from bench.tracking.schema import TRAINING_MODE
    from bench.tracking.server import is_loopback, password_environment, server_command, server_environment

    password = None if is_loopback(host) else _password(host)
    tracking = find_tracking_store(None, output)
    view = newest_view(tracking)
    if port == dashboard_port:
        raise SettingsError(f"--port {port} is also the dashboard's: give one of the two another, --dashboard-port")
    _check_free(host, port)
    dashboard = _start_dashboard(storage, output, dashboard_port)
    with settle(tracking) or contextlib.nullcontext(), TemporaryDirectory(prefix="reparam-bench-ui-") as private:
        secret = {} if password is None else password_environment(password, host, port, Path(private))
        environment = {name: value for name, value in os.environ.items() if name != PASSWORD}
        mlflow = subprocess.Popen(  # noqa: S603
            server_command(output / "artifacts", port, host, with_password=password is not None),
            env={**environment, **server_environment(tracking), **secret},
            # Ctrl-C must reach only this process, which then ends the server and its children.
            start_new_session=True,
        )
        address = f"http://{_bracket_ipv6(host)}:{port}"
        typer.echo(f"MLflow            {address}/#/experiments?{TRAINING_MODE}")
        if view is not None:
            typer.echo(f"                  {address}/{view} (final runs of the newest study)")
        if password is not None:
            typer.echo(
                f"                  sign in as {ADMINISTRATOR}; nothing is encrypted: put a proxy with TLS before it"
            )
        typer.echo(f"optuna-dashboard  {dashboard}")
        typer.echo("Ctrl-C stops both")
        # SIGINT too: a shell starts background processes with SIGINT ignored.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        try:
            status = mlflow.wait()
        except KeyboardInterrupt:
            _end(mlflow)
            raise typer.Exit(130) from None
    raise typer.Exit(status)


def _password(host: str) -> str:
    """The password of a server on an address that others reach.

    Raises:
        SettingsError: it is missing or short, or the package that checks it is not installed.
    """
    from bench.core.errors import SettingsError
    from bench.tracking.server import DEFAULT_PASSWORD, MIN_PASSWORD

    if importlib.util.find_spec("flask_wtf") is None:
        raise SettingsError(
            f"host={host!r} is reached by others, and what asks them for a password is not installed: "
            "pip install -e '.[server]', or leave --host out"
        )
    password = os.environ.get(PASSWORD, "")
    if len(password) < MIN_PASSWORD or password == DEFAULT_PASSWORD:
        raise SettingsError(
            f"host={host!r} is reached by others: put a password of your own, {MIN_PASSWORD} characters or "
            f"more, into the environment variable {PASSWORD}, or leave --host out"
        )
    return password


def _check_free(host: str, port: int) -> None:
    """Check that MLflow can listen, which would otherwise fail with a traceback.

    Raises:
        SettingsError: the address is not this machine's, or the port is in use.
    """
    from bench.core.errors import SettingsError

    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(family, kind) as probe:
            # As the server does: a port that a server has just closed is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not an address"
        raise SettingsError(f"host={host!r}, port={port} cannot be opened: {reason}; give another") from error


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _end(server: subprocess.Popen[bytes]) -> None:
    """Terminate the server and its children, then kill those that are left."""
    os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _start_dashboard(storage: str | None, output: Path, port: int) -> str:
    """Serve optuna-dashboard in a thread; its address, or why it is not served."""
    journal = output.resolve() / "optuna.journal"
    if importlib.util.find_spec("optuna_dashboard") is None:
        return "not installed: pip install optuna-dashboard, or pip install -e '.[dashboard]'"
    if storage is None and not journal.is_file():
        return f"{journal} does not exist: give --storage"
    from optuna_dashboard import wsgi

    from bench.checks.preflight import check_storage
    from bench.core.errors import SettingsError, TrackingError
    from bench.core.redaction import redact
    from bench.search.storage import count_searches, open_searches

    address = storage or str(journal)
    check_storage(address, output)
    if not count_searches(address):
        raise TrackingError(f"study storage {redact(address)} holds no study: give the --storage of one")
    application = wsgi(open_searches(address))
    try:
        server = make_server(LOOPBACK, port, own_host_only(application, port), _Server, _Quiet)
    except OSError as error:
        raise SettingsError(f"dashboard_port={port} cannot be opened: {error.strerror}; give another") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{LOOPBACK}:{port}/dashboard"


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request, as one may wait for the storage."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the overridden method's own name
        pass


def own_host_only(application: Application, port: int) -> Application:
    """``application`` for requests to this machine's own names alone.

    The dashboard has no authentication: a page in the same browser whose domain name resolves to this machine (DNS
    rebinding) must not reach it. MLflow refuses such requests itself.
    """
    own = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}

    def guarded(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environment.get("HTTP_HOST") not in own:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Forbidden: this dashboard answers requests to 127.0.0.1 alone.\n"]
        return application(environment, start_response)

    return guarded
