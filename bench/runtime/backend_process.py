"""Runs a module of ours on one backend, in a process of its own: a process has one backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bench.core.environment import search_path
from bench.core.errors import SettingsError


def run_on_backend(module: str, backend: str, job: dict[str, Any]) -> Any:
    """What ``python -m MODULE BACKEND`` prints last, as JSON, given a job as JSON.

    Args:
        module: the module's name.
        backend: the Keras backend.
        job: what it reads from standard input.

    Raises:
        SettingsError: it ended with an error, whose last line this is.
    """
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    ended = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", module, backend],
        input=json.dumps(job),
        env={**environment, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise SettingsError(last)
    return json.loads(ended.stdout.splitlines()[-1])
