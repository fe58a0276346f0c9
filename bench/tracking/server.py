"""The command and the environment of an MLflow server: for one person on loopback, or behind a password."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
ADMINISTRATOR = "admin"
"""Whose name goes with the password."""
LEAST_PASSWORD = 12
"""Characters of a password, as MLflow itself asks for."""
KNOWN_PASSWORD = "password1234"  # noqa: S105 - earlier versions of MLflow came with it, and all the world knows it


def is_loopback(host: str) -> bool:
    """Whether only this machine's own users reach a server on an address; among names, localhost alone is."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_command(artifacts: Path, port: int, host: str = LOOPBACK, with_password: bool = False) -> list[str]:
    """The command that serves the tracking store that :func:`server_environment` names, with one worker.

    Args:
        artifacts: folder for artifacts of experiments that the server itself makes.
        port: port to listen on.
        host: address to listen on.
        with_password: whether users must sign in.
    """
    return [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--default-artifact-root", artifacts.resolve().as_uri(), "--host", host, "--port", str(port)),
        *(("--app-name", "basic-auth") if with_password else ()),
    ]


def server_environment(uri: str) -> dict[str, str]:
    """What a server's environment holds beside the user's own.

    Args:
        uri: the tracking store, such as ``sqlite:///runs/mlflow.db``; here, for a command is shown to all users of the
            machine, and the address of a store may hold a password.
    """
    return {
        "MLFLOW_BACKEND_STORE_URI": uri,
        # No job runner: the fifteen processes that are the default serve nobody here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def password_environment(password: str, host: str, port: int, folder: Path) -> dict[str, str]:
    """What the environment of a server holds that asks its users to sign in.

    Args:
        password: the administrator's.
        host: address that the server listens on.
        port: its port.
        folder: an empty one that nobody else can read, where the server keeps its users while it runs. Anew at each
            start, for MLflow takes a password only for a user whom it does not know: a changed one would be ignored.
    """
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'users.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    names = _names(host)
    hosts = ",".join(f"{name}{end}" for name in names for end in ("", f":{port}"))
    origins = ",".join(f"http://{name}:{port}" for name in names)
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMINISTRATOR,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        # A page whose domain name is made to point here (DNS rebinding) is refused, and so are other pages' requests.
        # The user's own come first: behind a proxy the server has other names.
        "MLFLOW_SERVER_ALLOWED_HOSTS": os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS", hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", origins),
    }


def _names(host: str) -> list[str]:
    """The names under which a server on an address is reached, as they stand in a browser's address bar."""
    known = {host, socket.gethostname(), socket.getfqdn(), "localhost"}
    for addresses in psutil.net_if_addrs().values():
        known |= {
            address.address.partition("%")[0]
            for address in addresses
            if address.family in (socket.AF_INET, socket.AF_INET6)
        }
    return sorted(f"[{name}]" if ":" in name else name for name in known)
