"""A study on a Ray cluster of two nodes, one of which is killed, as a command for a network of its own.

    python -m tests.faults.ray_study FOLDER TRIALS

It prints, as JSON, the processes of the killed node.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.execution.executors.ray import Where
from tests.faults.processes import Place

START_SECONDS = 150.0
PORT = 6399
SET_FLAGS, IS_UP = 0x8914, 1
OTHER_NODE = "127.0.0.2"


def place(folder: Path) -> Place:
    """Where the study is run."""
    return Place(
        str(folder / "study.journal"),
        f"sqlite:///{folder / 'mlflow.db'}",
        folder / "output",
        folder / "logs",
        lease=5.0,
    )


def bring_loopback_up() -> None:
    """A new network has it, but does not let it be used."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh22x", b"lo", IS_UP))


@contextmanager
def node(log: Path, *options: str) -> Iterator[psutil.Process]:
    """A node of one processor, while the block lasts."""
    with log.open("wb") as output:
        program = Path(sys.executable).with_name("ray")
        started = psutil.Popen(
            [str(program), "start", "--block", "--num-cpus=1", "--disable-usage-stats", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in log.read_text():
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield started
    finally:
        kill(started)


def kill(process: psutil.Process) -> None:
    """End a process and all that it has started, without a warning."""
    if process.is_running():
        for each in [*process.children(recursive=True), process]:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue


class Killer(threading.Thread):
    """Kills a node once a task there is in the middle of its trial."""

    def __init__(self, node: psutil.Process, queues: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._node = node
        self._queues = queues

    def run(self) -> None:
        """Watch, kill, end."""
        while not self.killed:
            time.sleep(0.2)
            processes = {each.pid for each in self._node.children(recursive=True)}
            if self._owners() & processes:
                self.killed = sorted(processes)
                kill(self._node)

    def _owners(self) -> set[int]:
        """Processes whose trial has reported something."""
        return {
            each.frozen.user_attrs.get("owner", {}).get("pid")
            for queue in self._queues.values()
            for each in queue.attempts()
            if each.state == "running" and each.frozen.intermediate_values
        }


def main() -> None:
    """Run the study."""
    # Before the harness, for it puts the stand-in there.
    from tests.faults.ray_tasks import run_queued_trial

    folder, trials = Path(sys.argv[1]), int(sys.argv[2])
    bring_loopback_up()
    where = place(folder)
    where.logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=where.logs / "coordinator.log", level=logging.INFO)
    head = f"127.0.0.1:{PORT}"
    with ExitStack() as stack:
        # Of a short name, for it holds Ray's sockets.
        session = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp", prefix="ray", ignore_cleanup_errors=True))
        alone = ("--head", f"--port={PORT}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
        stack.enter_context(node(where.logs / "head.log", *alone, f"--temp-dir={session}"))
        joining = (f"--address={head}", f"--node-ip-address={OTHER_NODE}")
        other = stack.enter_context(node(where.logs / "other.log", *joining))
        killed = _run(where, trials, head, other, run_queued_trial)
        logs = [each for each in Path(session).glob("session_*/logs/**/*") if each.is_file()]
        leaks = [str(each) for each in logs if where.storage.encode() in each.read_bytes()]
    print(json.dumps({"killed": killed, "logs": len(logs), "held the address": leaks}))


def _run(
    where: Place, trials: int, head: str, other: psutil.Process, run_queued_trial: Callable[[Where], bool]
) -> list[int]:
    """Run the study to its end; the processes of the node that was killed."""
    from rich.console import Console

    from bench.core.signals import StopRequest
    from bench.data.bundled import load_digits
    from bench.data.shared import share
    from bench.execution.coordinator import Coordinator
    from bench.execution.executors import ray as ray_executor
    from bench.execution.progress import StudyProgress
    from bench.execution.session import open_session

    ray_executor.run_queued_trial = run_queued_trial
    ray_executor.connect(head, ray_executor.Resources())
    with StopRequest() as stop:
        share(load_digits(), where.output / "data")
        study = open_session(where.bound(trials))
        killer = Killer(other, study.queues)
        killer.start()
        try:
            progress = StudyProgress(Console(file=io.StringIO()), runs=1)
            Coordinator(study, ray_executor.RayTasks(study, ray_executor.Resources()), progress, stop).run()
        finally:
            study.tracker.close()
    return killer.killed


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
