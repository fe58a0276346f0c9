"""The processes of a study that faults are tried on: its coordinator and its workers.

Each is forked from a server that has imported all it needs, so that dozens can be killed and started in a minute.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.data.bundled import load_digits
from bench.study.definition import BoundStudy, StudySettings
from tests.faults.expected import EVALUATIONS, STUDY

HTTP_SECONDS = 5
"""After which a client gives up waiting for the tracking server."""


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
        sampler: who proposes values.
        pruner: which trials are stopped early.
        seeds: final runs of each arm.
    """

    storage: str
    tracking_uri: str | None
    output: Path
    logs: Path
    lease: float = 3.0
    evaluation_seconds: float = 0.2
    sampler: str = "qmc"
    pruner: str = "none"
    seeds: int = 2

    def bound(self, trials: int) -> BoundStudy:
        """The study with so many trials of each arm."""
        dataset = load_digits()
        settings = StudySettings(
            trials=trials,
            seeds=self.seeds,
            images=EVALUATIONS * 128,
            batch_size=128,
            sampler=self.sampler,
            pruner=self.pruner,
            lease=self.lease,
            storage=self.storage,
            tracking_uri=self.tracking_uri,
            output=self.output,
            workers=0,
        )
        return BoundStudy(STUDY, settings, dataset.info, dataset.digest, dataset.labels_digest)


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.stand_in"])


def start_coordinator(place: Place, trials: int) -> BaseProcess:
    """A process that runs the study; it ends with status 0 once all is done."""
    return _started(_coordinate, place, trials)


def start_worker(place: Place) -> BaseProcess:
    """A process that works on the study until it is over."""
    return _started(_work, place)


def _started(target: Any, *arguments: Any) -> BaseProcess:
    process = _context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _coordinate(place: Place, trials: int) -> None:
    _prepare(place, "coordinator")
    from bench.core.signals import StopRequest
    from bench.data.shared import share
    from bench.execution.coordinator import Coordinator
    from bench.execution.executors.base import External
    from bench.execution.session import open_session

    bound = place.bound(trials)
    with StopRequest() as stop:
        share(load_digits(), place.output / "data")
        study = open_session(bound)
        try:
            Coordinator(study, External(), _progress(), stop).run()
        finally:
            study.tracker.close()


def _work(place: Place) -> None:
    _prepare(place, "worker")
    from bench.core.signals import StopRequest
    from bench.execution.session import join_session, open_data
    from bench.execution.worker import Worker
    from bench.tracking.writer import DRAIN_SECONDS

    with StopRequest() as stop:
        study = join_session(place.bound(1).study_id, place.storage, place.tracking_uri, place.output)
        try:
            worker = Worker(study, open_data(study.bound), _progress(), stop)
            stop.run_interruptible(worker.work_until_over)
        finally:
            study.tracker.drain(DRAIN_SECONDS)
            study.tracker.close()


def _progress() -> Any:
    from rich.console import Console

    from bench.execution.progress import StudyProgress

    return StudyProgress(Console(file=io.StringIO()), runs=1)


def _prepare(place: Place, role: str) -> None:
    from tests.faults import stand_in

    stand_in.evaluation_seconds = place.evaluation_seconds
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(HTTP_SECONDS)
    place.logs.mkdir(parents=True, exist_ok=True)
    path = place.logs / f"{role}-{os.getpid()}.log"
    errors = path.open("ab", buffering=0)
    os.dup2(errors.fileno(), 2)
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
    )
