"""The command of an MLflow server for one person: on the loopback interface alone, with one worker."""

from __future__ import annotations

import sys
from pathlib import Path

ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""No job runner: the fifteen processes that are the default serve nobody here."""


def server_command(uri: str, artifacts: Path, port: int) -> list[str]:
    """The command that serves a tracking store.

    Args:
        uri: the store, such as ``sqlite:///runs/mlflow.db``.
        artifacts: folder for artifacts of experiments that the server itself makes.
        port: port on 127.0.0.1.
    """
    return [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"),
        *("--default-artifact-root", artifacts.resolve().as_uri(), "--host", "127.0.0.1", "--port", str(port)),
    ]
