"""``reparam-bench ui``: what MLflow and Optuna keep of a folder's studies, in a browser."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from studies.stores import tracking_store

HOST = "127.0.0.1"
STOP_SECONDS = 10
"""What MLflow has to end in, before it is killed."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def command(
    output: Annotated[Path, typer.Option(help="Folder for databases, artifacts and reports.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="MLflow's port on the loopback interface.", min=1, max=65535)] = 5000,
    dashboard_port: Annotated[
        int, typer.Option(help="optuna-dashboard's port on the loopback interface.", min=1, max=65535)
    ] = 8080,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL [default: SQLite in the output folder].", show_default=False)
    ] = None,
) -> None:
    """Open the MLflow UI, and optuna-dashboard if it is installed, on this machine's loopback interface alone."""
    from bench.tracking.contract import TRAINING_MODE
    from bench.tracking.server import ENVIRONMENT, server_command

    tracking = tracking_store(None, output)
    dashboard = _start_dashboard(storage, output, dashboard_port)
    mlflow = subprocess.Popen(  # noqa: S603
        server_command(tracking, output / "artifacts", port),
        env={**os.environ, **ENVIRONMENT},
        # Ctrl-C reaches this process alone, which then ends the server and all that it has started.
        start_new_session=True,
    )
    typer.echo(f"MLflow            http://{HOST}:{port}/#/experiments?{TRAINING_MODE}")
    typer.echo(f"optuna-dashboard  {dashboard}")
    typer.echo("Ctrl-C stops both")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = mlflow.wait()
    except KeyboardInterrupt:
        _end(mlflow)
        raise typer.Exit(130) from None
    raise typer.Exit(status)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started: first asked, then killed, also what outlives the server itself."""
    os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _start_dashboard(storage: str | None, output: Path, port: int) -> str:
    """Serve optuna-dashboard beside, until this process ends; its address, or why it is not served."""
    journal = output.resolve() / "optuna.journal"
    if importlib.util.find_spec("optuna_dashboard") is None:
        return "not installed: pip install optuna-dashboard, or pip install -e '.[dashboard]'"
    if storage is None and not journal.is_file():
        return f"{journal} does not exist: give --storage"
    from optuna_dashboard import wsgi

    from bench.errors import SettingsError
    from bench.storage.connection import open_storage

    application = wsgi(open_storage(storage or str(journal)))
    try:
        server = make_server(HOST, port, own_host_only(application, port), _Server, _Quiet)
    except OSError as error:
        raise SettingsError(f"dashboard_port={port} cannot be opened: {error.strerror}; give another") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{HOST}:{port}/dashboard"


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, for one may wait on the storage."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Serves without a line for every request."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the overridden method's own name
        pass


def own_host_only(application: Application, port: int) -> Application:
    """``application`` for requests to this machine's own names alone.

    The dashboard deletes studies without a question: a page in the same browser whose domain name is made to point
    here (DNS rebinding) must not reach it. MLflow refuses such requests itself.
    """
    own = {f"{name}:{port}" for name in (HOST, "localhost")}

    def guarded(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environment.get("HTTP_HOST") not in own:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Forbidden: this dashboard answers requests to 127.0.0.1 alone.\n"]
        return application(environment, start_response)

    return guarded
