"""What a worker adds to the training of a trial: the same trial in a worker, and by itself.

Both are warm, for an earlier trial has compiled the programs, and they take turns. A trial that has ended is uploaded
to the tracking store before the next one begins: what the uploader does in the background falls on no other trial, and
is given apart.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

import bench.execution.worker
from bench.core.results import EvaluationRecord
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.data.dataset import TuningData
from bench.data.registry import load
from bench.execution.progress import StudyProgress
from bench.execution.session import open_session
from bench.execution.trial import OnEvaluation, OnRescue, Outcome, run_trial, say_nothing, validation_bits_per_dim
from bench.execution.worker import Worker
from bench.search.queue import Claim, Task
from bench.study.config import RunConfig
from bench.study.definition import Arm, BoundStudy, StudySettings
from bench.tracking.model_run import ModelRun
from bench.tracking.tracker import DRAIN_SECONDS
from bench.training.checkpoint import Checkpoint
from studies.vae_vs_glow import STUDY
from tests.benchmarks.whole_study.page import WATCHED, WITHIN, Row

_LAGS_BEHIND = (Claim, "should_prune")
_METHODS = (
    (ModelRun, "log_evaluation"),
    (Claim, "report"),
    _LAGS_BEHIND,
    (StudyProgress, "show_evaluation"),
    (Checkpoint, "save"),
)
"""Those that page.WATCHED names, in its order."""


class _Clock:
    """Notes what happens in a trial, and when."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the trial before."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.claimed = self.first_step = 0.0
        self.outcome: Outcome | None = None

    def run_trial(
        self,
        config: RunConfig,
        data: TuningData,
        seed: int,
        importance_samples: int,
        on_evaluation: OnEvaluation,
        checkpoint: Checkpoint | None = None,
        on_rescue: OnRescue = say_nothing,
        until: int | None = None,
    ) -> Outcome:
        """The project's own, observed."""

        def observed(record: EvaluationRecord) -> None:
            if record.evaluation == 1:
                self.first_step = time.perf_counter() - record.seconds
            on_evaluation(record)

        self.outcome = run_trial(config, data, seed, importance_samples, observed, checkpoint, on_rescue, until)
        return self.outcome

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method whose seconds are summed up under a name."""

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """In the block, everything that workers do is observed, and no trial is stopped early."""
        do = Worker._run_attempt

        def claimed(*arguments: Any) -> None:
            self.claimed = time.perf_counter()
            do(*arguments)

        with ExitStack() as stack:
            for name, method in zip(WATCHED, _METHODS, strict=True):
                timed = self.timed(name, getattr(*method))
                stack.enter_context(patch.object(*method, _asked_in_vain(timed) if method == _LAGS_BEHIND else timed))
            stack.enter_context(patch.object(Worker, "_run_attempt", claimed))
            stack.enter_context(patch.object(bench.execution.worker, "run_trial", self.run_trial))
            yield

    def measured(self) -> dict[str, float]:
        """What there is to say of a trial, wherever it was done."""
        assert self.outcome is not None, "the trial did not come to its end"
        return {
            "training": self.outcome.log.seconds,
            "to the first step": self.first_step - self.claimed,
            "bits/dim": validation_bits_per_dim(self.outcome),
        }


def _asked_in_vain(method: Callable[..., Any]) -> Callable[..., bool]:
    """A method that is called, and whose answer is no: half of equal trials would lag behind the others."""

    def asked(*arguments: Any) -> bool:
        method(*arguments)
        return False

    return asked


def measure(settings: StudySettings, repeats: int) -> list[Row]:
    """Both arms, each as its own configuration; ``repeats`` pairs of trials.

    Args:
        settings: backend and budget; the backend is selected.
        repeats: how many.
    """
    dataset = load("digits")
    clock = _Clock()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, StopRequest() as stop, clock.watching():
        own = settings.model_copy(update={"output": Path(folder)})
        bound = BoundStudy(STUDY, own, dataset.info, dataset.digest, dataset.labels_digest)
        study = open_session(bound)
        worker = Worker(study, dataset, StudyProgress(Console(file=io.StringIO()), runs=1), stop)
        try:
            for arm in STUDY.arms:
                rows += _pairs(_Trials(worker, arm, clock), repeats)
        finally:
            study.tracker.close()
    return rows


class _Trials:
    """Trials of an arm's own configuration, in a worker or by themselves; those of one number are the same."""

    def __init__(self, worker: Worker, arm: Arm, clock: _Clock) -> None:
        self.worker = worker
        self.arm = arm
        self.clock = clock
        self.bound = worker.study.bound
        self.values = self.bound.first_values(arm)

    def alone(self, number: int) -> dict[str, float]:
        """The trial by itself: nobody looks on, and nothing is kept."""
        config = self.bound.configure(self.arm, self.values)
        seed = derive_seed(self.bound.settings.seed, self.arm.name, number)
        samples = self.bound.settings.selection_samples
        self.clock.reset()
        used, began = time.process_time(), time.perf_counter()
        self.clock.claimed = began
        self.clock.run_trial(config, self.worker.data, seed, samples, lambda record: None)
        seconds = time.perf_counter() - began
        return {"trial": seconds, "processor seconds": time.process_time() - used, **self.clock.measured()}

    def in_worker(self, number: int) -> dict[str, float]:
        """The trial as a task of the study."""
        search, tracker = self.worker.study.searches[self.arm.name], self.worker.study.tracker
        search.set_open(True)
        search.offer([Task(number, self.values)])
        self.clock.reset()
        used, began = time.process_time(), time.perf_counter()
        self.worker.work()
        seconds = time.perf_counter() - began
        left = tracker.drain(DRAIN_SECONDS)
        assert not left, f"{left} entries were not uploaded"
        return {
            "trial": seconds,
            "upload after it": time.perf_counter() - began - seconds,
            "processor seconds": time.process_time() - used,
            "claim": self.clock.claimed - began,
            **{name: self.clock.seconds[name] for name in WATCHED},
            **self.clock.measured(),
        }


def _pairs(trials: _Trials, repeats: int) -> list[Row]:
    kinds = {"in a worker": trials.in_worker, "alone": trials.alone}
    for do in kinds.values():
        do(0)
    rows = []
    for number in range(1, repeats + 1):
        # Whichever is first finds the machine as the other left it: they take turns at that too.
        for kind in list(kinds)[:: 1 if number % 2 else -1]:
            figures = kinds[kind](number)
            of = f"{trials.arm.name} {kind}"
            backend = trials.bound.settings.backend
            rows += [Row(WITHIN, of, backend, number, figure, value) for figure, value in figures.items()]
    return rows
