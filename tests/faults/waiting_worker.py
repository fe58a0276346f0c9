"""A worker that waits instead of training, as a command: it measures what the harness itself costs.

    python -m tests.faults.waiting_worker STUDY --output FOLDER --workers N [--evaluation-seconds S]

It begins once all N are ready, and leaves ``FOLDER/operations/PID.json``: how often each operation of the storage was
called, and how long they took.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults import stand_in

STORAGE, TRACKING = "WAITING_STORAGE", "WAITING_TRACKING"
"""Environment variables that hold the addresses."""


class Timed:
    """Counts and times what is asked of a storage; what an operation asks of itself is part of it."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.seconds = 0.0
        self._within = threading.local()
        self._counting = threading.Lock()

    def watch(self, storage: Any) -> Any:
        """The storage, from now on watched."""
        for name in dir(storage):
            if not name.startswith("_") and callable(getattr(storage, name)):
                setattr(storage, name, self._timed(name, getattr(storage, name)))
        return storage

    def _timed(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if getattr(self._within, "it", False):
                return operation(*arguments, **named)
            self._within.it, began = True, time.perf_counter()
            try:
                return operation(*arguments, **named)
            finally:
                self._within.it = False
                with self._counting:
                    self.calls[name] = self.calls.get(name, 0) + 1
                    self.seconds += time.perf_counter() - began

        return timed


def main() -> None:
    """Work until the study is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--evaluation-seconds", type=float, default=0.3)
    parser.add_argument("--log-file", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(filename=options.log_file, level=logging.WARNING)
    stand_in.evaluation_seconds = options.evaluation_seconds

    from rich.console import Console

    import bench.execution.session
    from bench.core.signals import StopRequest
    from bench.execution.progress import StudyProgress
    from bench.execution.worker import Worker
    from bench.tracking.tracker import DRAIN_SECONDS

    timed = Timed()
    opened = bench.execution.session.open_storage
    bench.execution.session.open_storage = lambda address: timed.watch(opened(address))
    with StopRequest() as stop:
        study = bench.execution.session.join_session(
            options.study, os.environ[STORAGE], os.environ.get(TRACKING), options.output
        )
        dataset = bench.execution.session.open_data(study.bound)
        worker = Worker(study, dataset, StudyProgress(Console(file=io.StringIO()), runs=1), stop)
        _wait_for_all(options.output / "ready", options.workers)
        timed.calls.clear()
        timed.seconds, began = 0.0, time.process_time()
        # So the coordinator ends its workers.
        with suppress(KeyboardInterrupt):
            worker.work_until_over()
        used = time.process_time() - began
        left = study.tracker.drain(DRAIN_SECONDS)
        study.tracker.close()
    folder = options.output / "operations"
    folder.mkdir(exist_ok=True)
    spent = {"calls": timed.calls, "seconds": timed.seconds, "cpu_seconds": used, "undelivered": left}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(spent))


def _wait_for_all(folder: Path, workers: int) -> None:
    """Begin together, for starting takes longer than a trial here."""
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < workers:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
