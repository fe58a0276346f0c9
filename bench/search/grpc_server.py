"""Serves a storage to processes on other machines, with Optuna's gRPC proxy."""

from __future__ import annotations

import socket

from bench.core.errors import SettingsError
from bench.core.redaction import redact
from bench.search.storage import open_storage

LOOPBACK = "127.0.0.1"


def check_served(address: str, host: str, port: int) -> None:
    """Check that a storage can be served, before opening anything.

    Args:
        address: the storage's address, as in :func:`~bench.search.storage.open_storage`.
        host: address of the interface to listen on.
        port: port to listen on.

    Raises:
        SettingsError: the storage is itself a proxy, or the port is not available.
    """
    if address.startswith("grpc://"):
        raise SettingsError(f"storage={redact(address)!r} is itself a proxy: give the storage behind it")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # gRPC would share the port with another gRPC server, and each would get some of the requests.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise SettingsError(f"port={port} of {host} cannot be opened ({error.strerror}): give another") from error


def serve(address: str, host: str, port: int) -> None:
    """Serve a storage until this process is stopped.

    There is no authentication: everyone who reaches the port can read, change and delete every study.

    Args:
        address: the storage's address, as in :func:`~bench.search.storage.open_storage`.
        host: address of the interface to listen on.
        port: port to listen on.

    Raises:
        TrackingError: the storage cannot be opened.
        KeyboardInterrupt: the process was stopped.
    """
    from optuna.storages import run_grpc_proxy_server

    run_grpc_proxy_server(open_storage(address), host=f"[{host}]" if ":" in host else host, port=port)
