"""Worker processes on this machine, each with its share of the processors or its accelerator."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.core.environment import STORAGE_VARIABLE, TRACKING_VARIABLE, search_path
from bench.core.errors import StudyStoppedError
from bench.core.extensions import code_extensions
from bench.study.definition import StudySettings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
EARLY_SECONDS = 30.0
"""A worker that ends sooner after its start counts as failed at its start."""
MOST_EARLY_ENDS = 10
"""After this many failed starts or ends by an error in a row a worker is not started again."""
ERRORS = (1, 2)
"""Exit statuses of a command that ended by an error: unlike a process that is killed, it would do so again."""
GRACE_SECONDS = 60.0
"""Time for workers to mark their tasks as interrupted and upload what they logged, before they are killed."""
_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass
class _WorkerProcess:
    number: int
    process: subprocess.Popen[bytes]
    began: float
    failures: int = 0


class LocalWorkers:
    """Processes of this machine, which are started again when they die.

    Args:
        count: number of processes.
        command: the command that starts one; ``--log-file PATH`` is appended.
        environment: added to this process's environment: addresses, whose credentials must not show in process lists.
        logs: folder of their logs.
    """

    def __init__(self, count: int, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.count = count
        self._command = list(command)
        self._environment = dict(environment)
        self._logs = logs
        self._stem = time.strftime("%Y-%m-%dT%H%M%S")
        self._members: list[_WorkerProcess] = []

    @property
    def processes(self) -> list[int]:
        """Process numbers of the living workers."""
        return [each.process.pid for each in self._members if each.process.poll() is None]

    def poll(self) -> None:
        """Start missing workers, then wait a moment.

        Raises:
            StudyStoppedError: a worker ends soon after each start, or by one error after the other.
        """
        if not self._members:
            self._logs.mkdir(parents=True, exist_ok=True)
            self._members = [self._start(number) for number in range(self.count)]
        for i, member in enumerate(self._members):
            if member.process.poll() is not None:
                self._members[i] = self._replace(member)
        time.sleep(POLL_SECONDS)

    def _replace(self, member: _WorkerProcess) -> _WorkerProcess:
        log.warning("worker %d ended by %s; another takes its place", member.number, member.process.returncode)
        early = time.monotonic() - member.began < EARLY_SECONDS
        failures = member.failures + 1 if early or member.process.returncode in ERRORS else 0
        if failures == MOST_EARLY_ENDS:
            when = f"within {EARLY_SECONDS:.0f} s of its start" if early else "in a row by an error"
            raise StudyStoppedError(
                f"worker {member.number} ended {failures} times {when}, the last time by {member.process.returncode}: "
                f"see {self._log(member.number)}"
            )
        replacement = self._start(member.number)
        replacement.failures = failures
        return replacement

    def _start(self, number: int) -> _WorkerProcess:
        path = self._log(number)
        cores = share_of_cores(number, self.count)
        with path.open("ab") as errors:
            process = subprocess.Popen(  # noqa: S603
                [*self._command, "--log-file", str(path)],
                env={**os.environ, **self._environment, **_device_share(number, self.count, len(cores))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # The last words of a library that aborts the process go to its log too.
                stderr=errors,
                # Ctrl-C must reach only the coordinator, which then ends its workers.
                start_new_session=True,
            )
        _pin(process.pid, cores)
        return _WorkerProcess(number, process, time.monotonic())

    def _log(self, number: int) -> Path:
        return self._logs / f"{self._stem}-worker-{number}.log"

    def shutdown(self) -> None:
        """Terminate all workers, and kill those that do not end."""
        living = [each.process for each in self._members if each.process.poll() is None]
        for process in living:
            process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        for process in living:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker process %d did not end in %.0f s and is killed", process.pid, GRACE_SECONDS)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._members = []


def worker_command(study_id: str, output: Path) -> list[str]:
    """The command that starts a worker of this study on this machine; the environment holds the addresses."""
    program = "from studies.cli.main import main; main()"
    # -P: a folder of the user's that is called like a package of ours must not come first.
    command = [sys.executable, "-P", "-c", program, "worker", study_id, "--output", str(output.resolve()), "--quiet"]
    for each in code_extensions():
        command += ["--extension", str(each.path)]
    return command


def worker_environment(settings: StudySettings) -> dict[str, str]:
    """Where Python finds our packages, and the study's addresses, as command lines would show their credentials."""
    addresses = {STORAGE_VARIABLE: settings.storage, TRACKING_VARIABLE: settings.tracking_uri}
    known = {name: address for name, address in addresses.items() if address is not None}
    return {**known, "PYTHONPATH": search_path()}


def share_of_cores(number: int, count: int) -> list[int]:
    """The processors of one of ``count`` workers: its part of those that this process may use, at least one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if count >= len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // count : (number + 1) * len(cores) // count]


def _pin(process: int, cores: list[int]) -> None:
    # Right after its start the process has one thread, whose affinity later threads inherit.
    if hasattr(psutil.Process, "cpu_affinity"):
        try:
            psutil.Process(process).cpu_affinity(cores)
        except psutil.NoSuchProcess:
            log.warning("worker process %d ended immediately", process)


def _device_share(number: int, count: int, cores: int) -> dict[str, str]:
    """Environment of a worker: its number of threads, and its accelerator or its share of one."""
    share = {"OMP_NUM_THREADS": str(cores)}
    devices = _accelerators()
    if devices:
        sharers = -(-count // len(devices))
        share["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        share["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        share["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / sharers:.3f}"
    return share


def _accelerators() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [each.strip() for each in visible.split(",") if each.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(_GPUS.iterdir())] if _GPUS.is_dir() else []
