"""The other end of a side's process: it is started, called when it is its turn, and ended."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    # An accelerator is shared by all sides that wait: none may take all of its memory at once.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # pythae has no switch for its progress bars, tqdm has.
    "TQDM_DISABLE": "1",
}


class SideProcess:
    """A side in a process of its own, made ready when the constructor returns.

    Args:
        python: the Python that has the side's packages.
        module: the side's module in this folder.
        work: key of what it is to compute.
        backend: of Keras, for a side that uses it.
    """

    def __init__(self, python: str, module: str, work: str, backend: str | None = None) -> None:
        self.name = f"{module} ({work})"
        command = [python, "-m", "tests.benchmarks.peers.serve", module, work]
        command += ["--backend", backend] if backend else []
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.about = self._answer()

    def go(self, activity: str, seconds: float) -> tuple[float, float]:
        """It is its turn: how much it does a second, and the share of the processors that others took meanwhile."""
        assert self.process.stdin is not None
        began, others = time.perf_counter(), seconds_of_others(self.process.pid)
        self.process.stdin.write(f"{activity} {seconds}\n")
        rate = float(self._answer()["rate"])
        there_were = (time.perf_counter() - began) * (os.cpu_count() or 1)
        return rate, max(0.0, (seconds_of_others(self.process.pid) - others) / there_were)

    def close(self) -> None:
        """Tell it that no further turn comes, and wait until it is gone."""
        with self.process:
            pass  # closes both pipes and waits

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit status {self.process.wait()}, as it says above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def seconds_of_others(pid: int) -> float:
    """Processor seconds so far of all that is not this process, other virtual machines included."""
    all_times, own = psutil.cpu_times(), psutil.Process(pid).cpu_times()
    waited = all_times.idle + getattr(all_times, "iowait", 0.0)
    # The time of guests is within that of users.
    guests = getattr(all_times, "guest", 0.0) + getattr(all_times, "guest_nice", 0.0)
    return sum(all_times) - waited - guests - own.user - own.system
