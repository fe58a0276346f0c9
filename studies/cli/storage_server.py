"""``reparam-bench storage``: serves a study's storage to workers on other machines."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from studies.cli.options import Output, Storage
from studies.cli.terminal import LogFile, command_log, open_console


def command(
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 13000,
    insecure_host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Listen on this interface, not on loopback alone: there is no authentication, so whoever reaches the "
            "port may read, change and delete every study.",
            show_default=False,
        ),
    ] = None,
    storage: Storage = None,
    output: Output = Path("runs"),
    log_file: LogFile = None,
) -> None:
    """Serve a study storage by Optuna's gRPC proxy, for `--storage grpc://HOST:PORT` of other processes."""
    import importlib.util

    from bench.checks.preflight import check_output
    from bench.core.errors import SettingsError
    from bench.core.redaction import redact
    from bench.search.grpc_server import LOOPBACK, check_served, serve
    from bench.study.definition import StudySettings

    if importlib.util.find_spec("grpc") is None:
        raise SettingsError("grpcio is not installed: pip install grpcio, or pip install -e '.[cluster]'")
    check_output(output)
    address = StudySettings(storage=storage, output=output).storage_url
    host = insecure_host or LOOPBACK
    check_served(address, host, port)
    console = open_console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with command_log("storage", output, log_file, console):
            typer.echo(f"grpc://{host}:{port} serves {redact(address)}; Ctrl-C stops it")
            serve(address, host, port)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
