"""The command and the environment of an MLflow server: on loopback for one person, or with a password."""

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
"""The user name that belongs to the password."""
MIN_PASSWORD = 12
"""Shortest password in characters, as in MLflow itself."""
DEFAULT_PASSWORD = "password1234"  # noqa: S105 - the default of earlier versions of MLflow, publicly known


def is_loopback(host: str) -> bool:
    """Whether only users of this machine can reach a server on an address; the only such name is localhost."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_command(artifacts: Path, port: int, host: str = LOOPBACK, with_password: bool = False) -> list[str]:
    """The command that serves the tracking store that :func:`server_environment` names, with one worker.

    Args:
        artifacts: folder for artifacts of experiments that the server itself creates.
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
    """The environment variables of a server.

    Args:
        uri: the tracking store, such as ``sqlite:///runs/mlflow.db``. It may hold a password, so it is not part of the
            command, which all users of the machine can read.
    """
    return {
        "MLFLOW_BACKEND_STORE_URI": uri,
        # No job runner: its fifteen default processes have no use here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def password_environment(password: str, host: str, port: int, folder: Path) -> dict[str, str]:
    """The environment variables of a server whose users must sign in.

    Args:
        password: the administrator's password.
        host: address that the server listens on.
        port: its port.
        folder: an empty folder that nobody else can read, where the server keeps its users while it runs. It must be
            empty at each start: MLflow would ignore a changed password of a user that it already has.
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
        # The server rejects requests under foreign host names (DNS rebinding) and from other pages. The user's own
        # settings take precedence: behind a proxy the server has other names.
        "MLFLOW_SERVER_ALLOWED_HOSTS": os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS", hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", origins),
    }


def _names(host: str) -> list[str]:
    """The host names of a server on an address, as a browser's address bar shows them."""
    known = {host, socket.gethostname(), socket.getfqdn(), "localhost"}
    for addresses in psutil.net_if_addrs().values():
        known |= {
            address.address.partition("%")[0]
            for address in addresses
            if address.family in (socket.AF_INET, socket.AF_INET6)
        }
    return sorted(f"[{name}]" if ":" in name else name for name in known)
