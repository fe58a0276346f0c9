"""The processes of a study that faults are tried on: its coordinator and its workers.

Each is forked from a server that has imported all it needs, so that dozens can be killed and started in a minute.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.data.bundled import load_digits
from bench.study.definition import BoundStudy, Earlier, StudySettings
from tests.faults.clock import follow
from tests.faults.expected import EVALUATIONS, IMAGES_PER_EVALUATION, STUDY
from tests.faults.terminal import Terminal, print_to_file, take

HTTP_SECONDS = 5
"""After which a client gives up waiting for the tracking server."""
STOPPED = 130
"""Status of a process that was asked to stop."""


@dataclass(frozen=True)
class Place:
    """Where a study is run.

    Attributes:
        storage: address of the storage.
        tracking_uri: of the tracking store.
        output: folder of outboxes and checkpoints.
        logs: folder of the processes' logs.
        lease: seconds without a sign of life that mean death.
        evaluation_seconds: that training to an evaluation takes.
        evaluations: of the whole budget.
        sampler: who proposes values.
        pruner: which trials are stopped early.
        promote: which of them a person wants trained to the end.
        seeds: final runs of each arm.
        clock: file of the wall clock that the processes follow; None: this machine's.
        printed: file that processes print to; None: each has a terminal of its own.
    """

    storage: str
    tracking_uri: str | None
    output: Path
    logs: Path
    lease: float = 3.0
    evaluation_seconds: float = 0.2
    evaluations: int = EVALUATIONS
    sampler: str = "qmc"
    pruner: str = "none"
    promote: tuple[str, ...] = ()
    seeds: int = 2
    clock: Path | None = None
    printed: Path | None = None

    def bound(self, trials: int) -> BoundStudy:
        """The study with so many trials of each arm."""
        dataset = load_digits()
        settings = StudySettings(
            trials=trials,
            seeds=self.seeds,
            images=self.evaluations * IMAGES_PER_EVALUATION,
            batch_size=IMAGES_PER_EVALUATION,
            sampler=self.sampler,
            pruner=self.pruner,
            promote=self.promote,
            lease=self.lease,
            storage=self.storage,
            tracking_uri=self.tracking_uri,
            output=self.output,
            workers=0,
        )
        earlier = {arm.name: Earlier(IMAGES_PER_EVALUATION, 0) for arm in STUDY.arms}
        return BoundStudy(STUDY, settings, dataset.info, dataset.digest, dataset.labels_digest, earlier)


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.stand_in"])


@dataclass(frozen=True)
class Started:
    """A process of a study, and the terminal that it prints to."""

    process: BaseProcess
    terminal: Terminal

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid or 0

    @property
    def exitcode(self) -> int | None:
        """Its status; None while it runs."""
        return self.process.exitcode

    def is_alive(self) -> bool:
        """Whether it runs, or is stopped."""
        self.terminal.drain()
        return self.process.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        until = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < until:
            self.process.join(0.1)
        if self.process.is_alive():
            return False
        self.terminal.close()
        return True

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.terminal.close()


def start_coordinator(place: Place, trials: int) -> Started:
    """A process that runs the study; it ends with status 0 once all is done."""
    return _started(_coordinate, place, trials)


def start_worker(place: Place) -> Started:
    """A process that works on the study until it is over."""
    return _started(_work, place)


def _started(target: Any, place: Place, *arguments: Any) -> Started:
    terminal = Terminal()
    process = _context.Process(target=target, args=(place, terminal.name, *arguments), daemon=True)
    process.start()
    return Started(process, terminal)


def _coordinate(place: Place, terminal: str, trials: int) -> None:
    _prepare(place, "coordinator", terminal)
    _run(_run_study, place, trials)


def _work(place: Place, terminal: str) -> None:
    _prepare(place, "worker", terminal)
    _run(_run_worker, place)


def _run(target: Callable[..., None], *arguments: Any) -> None:
    """As the command line does it: what cannot be printed is dropped, and a stop has a status of its own."""
    from studies.cli.output import lasting_output

    with lasting_output():
        try:
            target(*arguments)
        except KeyboardInterrupt:
            raise SystemExit(STOPPED) from None


def _run_study(place: Place, trials: int) -> None:
    from bench.core.signals import StopRequest
    from bench.data.shared import share
    from bench.execution.coordinator import Coordinator
    from bench.execution.executors.base import External
    from bench.execution.session import open_session

    bound = place.bound(trials)
    with StopRequest() as stop, _progress() as progress:
        shared = share(load_digits(), place.output / "data")
        study = open_session(bound)
        try:
            Coordinator(study, External(), progress, stop, shared.check).run()
        finally:
            study.tracker.close()


def _run_worker(place: Place) -> None:
    from bench.core.signals import StopRequest
    from bench.execution.session import join_session, open_data
    from bench.execution.worker import Worker
    from bench.tracking.tracker import DRAIN_SECONDS

    with StopRequest() as stop, _progress() as progress:
        study = join_session(place.bound(1).study_id, place.storage, place.tracking_uri, place.output)
        try:
            worker = Worker(study, open_data(study.bound), progress, stop)
            stop.run_interruptible(worker.work_until_over)
        finally:
            study.tracker.drain(DRAIN_SECONDS)
            study.tracker.close()


def _progress() -> Any:
    from rich.console import Console

    from bench.execution.progress import StudyProgress

    return StudyProgress(Console(soft_wrap=True), runs=1)


def _prepare(place: Place, role: str, terminal: str) -> None:
    from tests.faults import stand_in

    stand_in.evaluation_seconds = place.evaluation_seconds
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(HTTP_SECONDS)
    place.logs.mkdir(parents=True, exist_ok=True)
    path = place.logs / f"{role}-{os.getpid()}.log"
    errors = path.open("ab", buffering=0)
    os.dup2(errors.fileno(), 2)
    if place.printed is None:
        take(terminal)
    else:
        print_to_file(place.printed)
    if place.clock is not None:
        follow(place.clock)
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
    )
