"""The models' tests under JAX, on whatever device JAX finds."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from tests.benchmarks.accelerator.measure import ROOT
from tests.benchmarks.accelerator.part import Part
from tests.benchmarks.accelerator.rows import FAILED

PROCESSES = 8


def measure(part: Part) -> None:
    """Run them; their closing line is the row's note, the whole of what they say stays in the folder."""
    command = [sys.executable, "-m", "pytest", "-m", "backend and not slow", *part.sizes.tests, "-q"]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", str(min(PROCESSES, os.cpu_count() or 1)), "--dist", "loadfile"]
    # Several processes share the device: none may take all of its memory at once.
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    said = part.output / "models_tests.txt"
    with said.open("w") as file:
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file, check=False).returncode
    closing = said.read_text().rstrip().rpartition("\n")[2].strip("= ")
    part.tell("the models' tests", FAILED if status else "exit status", None if status else 0, note=closing)
