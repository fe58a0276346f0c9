"""Images per second of Glow and VAE in training, likelihood and sampling, beside PyTorch where it is installed."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from tests.benchmarks.accelerator.measure import ROOT, last_line
from tests.benchmarks.accelerator.part import Part
from tests.benchmarks.accelerator.rows import FAILED
from tests.benchmarks.accelerator.side import OURS
from tests.benchmarks.peers.works import TRAINING, GlowWork

OPERATIONS_PER_MULTIPLICATION = 2 * 3
"""Of training: a multiply-add is two, and the backward pass takes two products for each of the forward pass."""

Rates = dict[str, list[float]]


def measure(part: Part) -> None:
    """Each work on each side, one process after the other."""
    missing = _missing(part.peer_python)
    for key, work in part.sizes.works.items():
        our_name = f"{work}: ours"
        about, ours = _side(part, sys.executable, OURS, key, our_name)
        if ours:
            _tell_fraction(part, our_name, about, statistics.median(ours[TRAINING]))
        peer, module = ("normflows", "normflows_side") if isinstance(work, GlowWork) else ("plain PyTorch", "torch_vae")
        if missing:
            part.tell(f"{work}: {peer}", FAILED, note=missing)
            continue
        their_about, theirs = _side(part, part.peer_python, module, key, f"{work}: {peer}")
        # On a processor PyTorch loses far more to a neighbour than XLA does: `make benchmark-peers` sees to that.
        if about.get("device") == their_about.get("device") == "gpu":
            for activity in ours.keys() & theirs.keys():
                ratio = statistics.median(ours[activity]) / statistics.median(theirs[activity])
                part.tell(our_name, f"{activity}, ours over theirs", ratio)


def _tell_fraction(part: Part, subject: str, about: dict[str, Any], rate: float) -> None:
    """The operations of training over those of a large matrix product."""
    operations = OPERATIONS_PER_MULTIPLICATION * about["multiplications"] * rate
    part.tell(subject, "training, fraction of peak", operations / about["peak"])
    part.tell(subject, "peak, operations/s", about["peak"], note="a matrix product, default precision")


def _missing(python: str) -> str:
    """Why the sides on PyTorch cannot be measured; empty if they can."""
    tried = subprocess.run([python, "-c", "import torch, normflows"], capture_output=True, text=True, check=False)
    return tried.stderr.strip().rpartition("\n")[2] if tried.returncode else ""


def _side(part: Part, python: str, module: str, key: str, subject: str) -> tuple[dict[str, Any], Rates]:
    """What one side says of itself, and its rates by activity; what it did until it failed, if it did."""
    command = [python, "-m", "tests.benchmarks.accelerator.side", module, key, *["--small"] * part.small]
    about: dict[str, Any] = {}
    rates: Rates = {}
    errors = part.output / f"speed_{module}_{key}.log"
    # Each turn of training makes its programs anew: they are compiled once, and then found.
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(part.output / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **kept}, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            if "activity" in answer:
                rates.setdefault(answer["activity"], []).append(answer["rate"])
                part.tell(subject, f"{answer['activity']}, images/s", answer["rate"])
            else:
                about = answer
    if process.returncode:
        part.tell(subject, FAILED, note=f"exit status {process.returncode}: {last_line(errors)}")
    return about, rates
