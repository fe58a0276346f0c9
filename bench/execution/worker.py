"""A worker: it claims a task, trains and measures, and ends it in a typed state, whatever becomes of it."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.core.errors import (
    CheckpointError,
    LostTrialError,
    OutboxError,
    OutOfMemoryError,
    PrunedError,
    RestartRequiredError,
    TrackingError,
    TrialError,
    is_out_of_memory,
)
from bench.core.results import EvaluationRecord, RunState
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.data.dataset import Dataset, Split
from bench.evaluation.cost.memory import host_bytes
from bench.evaluation.evaluator import open_outside
from bench.evaluation.programs import EvaluationProtocol
from bench.evaluation.quality import open_extractor
from bench.execution.progress import StudyProgress
from bench.execution.session import StudySession, limited
from bench.execution.trial import OnEvaluation, Outcome, run_final, run_trial, validation_bits_per_dim
from bench.search.heartbeat import Heartbeat, Watch
from bench.search.queue import STOPPED, Claim
from bench.study.config import RunConfig
from bench.study.definition import FINALS, Arm
from bench.tracking.writer import ModelRun
from bench.training.checkpoint import Checkpoint
from bench.training.history import VALIDATION

log = logging.getLogger(__name__)

LEAST_TASKS = 10
MOST_GROWTH = 2**30
"""Bytes by which a process may grow after its first task; after so many tasks it then makes way for a fresh one.

The backends keep every program that they compiled: each shape of a model costs tens of megabytes for good.
"""
IDLE_SECONDS = 0.5
"""Between two looks for a task, while none waits."""


@dataclass(frozen=True)
class _Job:
    """What a task asks for."""

    name: str
    role: str
    arm: Arm
    seed: int
    values: Mapping[str, Any]
    config: RunConfig
    train: Callable[[OnEvaluation, Checkpoint], Outcome]
    objective: Callable[[Outcome], float]
    rank: Callable[[], str]
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """As the remaining time is told by."""
        return f"{self.arm.name} {self.role}"


class Worker:
    """Does the tasks of a study, one after the other.

    Args:
        study: the study, opened or joined.
        dataset: its images.
        progress: where it is shown.
        stop: tells when to end.
        can_restart: whether a process that has grown too large may end by :class:`RestartRequiredError`.
    """

    def __init__(
        self,
        study: StudySession,
        dataset: Dataset,
        progress: StudyProgress,
        stop: StopRequest,
        can_restart: bool = True,
    ) -> None:
        self.study = study
        self.dataset = dataset
        self.progress = progress
        self.stop = stop
        self.data = limited(dataset, study.bound.settings.evaluation_images)
        self.can_restart = can_restart
        self._tasks = 0
        self._first_bytes = 0

    @cached_property
    def protocol(self) -> EvaluationProtocol:
        """With what final runs are measured."""
        return open_protocol(self.study, self.dataset)

    @cached_property
    def _test(self) -> Split:
        """The test split, opened by the first final run: no trial is left to be judged by then."""
        return self.dataset.open_test().head(self.study.bound.settings.evaluation_images)

    def work(self) -> bool:
        """Do the first task that waits; False where none does.

        Raises:
            KeyboardInterrupt: a stop was requested; the task is marked as interrupted.
            TrackingError: the storage cannot be reached for long.
            RestartRequiredError: this process has grown too large, and a fresh one must go on.
        """
        self._check_growth()
        for kind, queue in self.study.queues.items():
            self.stop.check()
            try:
                claim = queue.claim()
                if claim is None:
                    continue
                job = self._final(claim) if kind == FINALS else self._trial(kind, claim)
                self._do(job, kind, claim)
                self._tasks += 1
            except LostTrialError as error:
                # Whoever took it has said what became of it, here and in the tracking store.
                self.progress.say(str(error))
            return True
        return False

    def _check_growth(self) -> None:
        now = host_bytes()
        if self._tasks <= 1:
            self._first_bytes = now
        elif self.can_restart and self._tasks >= LEAST_TASKS and now - self._first_bytes > MOST_GROWTH:
            raise RestartRequiredError(
                f"after {self._tasks} runs this process holds {now / 2**30:.1f} GiB: a fresh one goes on in its place"
            )

    def work_until_over(self) -> None:
        """Do all tasks until the coordinator has ended the study, or is gone and none waits.

        Raises:
            KeyboardInterrupt, RestartRequiredError: as for :meth:`work`.
        """
        record, watch = self.study.record, Watch(self.study.record.lease)
        while True:
            if self.work():
                continue
            if record.is_finished:
                return
            if watch.still("coordinator", record.coordinator_beat()) > record.lease:
                self.progress.say(f"the coordinator of {record.study_id} is gone: `reparam-bench study` again goes on")
                return
            time.sleep(IDLE_SECONDS)

    def _trial(self, kind: str, claim: Claim) -> _Job:
        """Train one configuration of the sweep, and judge it on validation."""
        arm, settings = self.study.bound.study.arm(kind), self.study.bound.settings
        config = self.study.bound.configure(arm, claim.values)
        seed = derive_seed(settings.seed, kind, claim.number)

        def train(on_evaluation: OnEvaluation, checkpoint: Checkpoint) -> Outcome:
            return run_trial(config, self.data, seed, settings.selection_samples, on_evaluation, checkpoint)

        values = " ".join(f"{name}={short(value)}" for name, value in claim.values.items())
        return _Job(
            name=f"{kind} #{claim.number} {values}",
            role="search",
            arm=arm,
            seed=seed,
            values=claim.values,
            config=config,
            train=train,
            objective=validation_bits_per_dim,
            rank=lambda: self._rank(kind, claim.number),
        )

    def _final(self, claim: Claim) -> _Job:
        """Train a selected configuration from one seed, and measure it on test."""
        settings, note = self.study.bound.settings, claim.note
        config = RunConfig.model_validate(note["config"])
        seed = derive_seed(settings.seed, FINALS, note["seed"])

        def on_progress(done: int, total: int) -> None:
            self.stop.check()
            self.progress.measured(done, total)

        def train(on_evaluation: OnEvaluation, checkpoint: Checkpoint) -> Outcome:
            return run_final(config, self.data, self._test, seed, self.protocol, on_evaluation, on_progress, checkpoint)

        return _Job(
            name=f"{note['arm']} final, seed {note['seed'] + 1} of {settings.seeds}",
            role=FINALS,
            arm=self.study.bound.study.arm(note["arm"]),
            seed=seed,
            values=note["values"],
            config=config,
            train=train,
            objective=lambda outcome: outcome.log.best.values[VALIDATION],
            rank=lambda: (
                f"Trains {note['arm']}, of which nothing is swept"
                if note["trial"] is None
                else f"Retrains {note['arm']} trial {note['trial']}, selected on validation"
            ),
            parameters={"importance_samples": settings.importance_samples},
        )

    def _do(self, job: _Job, kind: str, claim: Claim) -> None:
        """Do a job; whatever becomes of it, log it, end it in a typed state, and say so.

        Its task is ended in the storage before its run is in the tracking store: from that moment it counts.
        """
        queue, settings = self.study.queues[kind], self.study.bound.settings
        total = settings.seeds * len(self.study.searches) if kind == FINALS else settings.trials
        name = f"{job.name}, attempt {claim.attempt}" if claim.attempt > 1 else job.name
        checkpoint = self.study.checkpoint(kind, claim.number, job.config, job.seed)
        with _given_back_on_failure(claim):
            self.progress.start_run(name, job.config.training.evaluations, job.kind, len(queue.settled()), total)
            # Last, for a stop between here and the work would leave the run open until the study is continued.
            run = self.study.parent.start_run(
                *(name, job.role, job.arm.name, job.seed, job.config),
                number=claim.number if job.role == "search" else None,
                attempt=claim.attempt,
                key=claim.key,
                continuation=_continuation(claim, checkpoint),
                inactive=[swept for swept in job.arm.sweep if swept not in job.values],
                **job.parameters,
            )
        try:
            with claim.heartbeat() as heartbeat:
                outcome = self._trained(job, claim, checkpoint, run, heartbeat)
                claim.end(RunState.COMPLETE, job.objective(outcome))
        except KeyboardInterrupt:
            claim.end(RunState.INTERRUPTED, reason=STOPPED)
            run.finish(RunState.INTERRUPTED, STOPPED)
            raise
        except LostTrialError as error:
            if claim.number in queue.settled():
                # Its next attempt has removed the checkpoint, which this one may have written again.
                checkpoint.remove()
            run.finish(RunState.INTERRUPTED, str(error))
            raise
        except (OutboxError, CheckpointError, TrackingError) as error:
            # The machine's fault, not the trial's: another process goes on with it. What the storage cannot be told,
            # the end of the lease tells.
            if not isinstance(error, TrackingError):
                claim.end(RunState.INTERRUPTED, reason=str(error))
            raise
        except Exception as error:
            failure = typed(error)
            state = RunState(failure.state)
            if state == RunState.FAILED:
                log.exception("%s: failed", name)
                run.log_file(traceback.format_exc(), "traceback.txt")
            claim.end(state, reason=str(failure))
            run.finish(state, str(failure))
            self.progress.say(f"{name}: {state}, {failure}")
        else:
            run.finish(RunState.COMPLETE, "", job.rank())
            self.progress.say(f"{name}: {_headline(outcome)} in {outcome.log.seconds:.1f} s")
        checkpoint.remove()

    def _trained(self, job: _Job, claim: Claim, checkpoint: Checkpoint, run: ModelRun, heartbeat: Heartbeat) -> Outcome:
        """Train from where an earlier attempt came to, measure, and log it all."""
        # Nothing here may lead to the worker, which holds the test split: training is given these functions.
        stop, progress, name, evaluations = self.stop, self.progress, job.name, job.config.training.evaluations

        def known(record: EvaluationRecord) -> None:
            claim.report(record.values[VALIDATION], record.evaluation)
            run.log_evaluation(record)
            progress.evaluated(record)

        def on_evaluation(record: EvaluationRecord) -> None:
            stop.check()
            if heartbeat.lost:
                raise LostTrialError(f"{name} was taken away from this process")
            known(record)
            # The last look cannot save anything: a trial that reaches it is complete.
            if record.evaluation < evaluations and claim.should_prune():
                raise PrunedError(
                    f"worse on validation than the median of other trials at evaluation {record.evaluation}"
                )

        for record in checkpoint.records():
            known(record)
        outcome = self.stop.run_interruptible(lambda: job.train(on_evaluation, checkpoint))
        if job.role == FINALS:
            run.log_model(outcome.model, self.data.validation.images[:1])
        run.log_measurements(outcome.measurements)
        run.log_pictures([(picture.kind, picture.caption, picture.png) for picture in outcome.pictures])
        run.log_tables(outcome.tables)
        run.log_unavailable(outcome.unavailable)
        return outcome

    def _rank(self, kind: str, number: int) -> str:
        """The rank of a complete trial among those that ended before it."""
        settled = self.study.queues[kind].settled().values()
        complete = [each for each in settled if each.state == RunState.COMPLETE]
        order = sorted(complete, key=lambda each: math.inf if each.objective is None else each.objective)
        rank = 1 + next(i for i, each in enumerate(order) if each.number == number)
        return f"At its end number {rank} of {len(order)} complete trials of its arm by bits/dim on validation"


@contextmanager
def _given_back_on_failure(claim: Claim) -> Iterator[None]:
    """Have another process do the task if this one fails or is stopped before it has begun: that is no death."""
    try:
        yield
    except KeyboardInterrupt:
        claim.end(RunState.INTERRUPTED, reason=STOPPED)
        raise
    except OutboxError as error:
        claim.end(RunState.INTERRUPTED, reason=str(error))
        raise


def open_protocol(study: StudySession, dataset: Dataset) -> EvaluationProtocol:
    """With what a study's final runs are measured.

    Raises:
        SettingsError, DataError: something that the settings ask for cannot be had.
    """
    settings = study.bound.settings
    outside = settings.outside_dataset
    return EvaluationProtocol(
        settings.importance_samples,
        open_extractor(settings.extractor, dataset.tuning, settings.output / "extractors"),
        None if outside is None else open_outside(outside, dataset.info),
    )


def typed(error: Exception) -> TrialError:
    """The error as a reason that reports count."""
    if isinstance(error, TrialError):
        return error
    text = str(error)
    if is_out_of_memory(error):
        return OutOfMemoryError(text.splitlines()[0] if text else "the host ran out of memory")
    return TrialError(f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}")


def short(value: Any) -> str:
    """A swept value as names show it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _continuation(claim: Claim, checkpoint: Checkpoint) -> str:
    """What an attempt goes on from, in words."""
    done = len(checkpoint.records())
    return f"attempt {claim.attempt - 1}, from evaluation {done}" if done else ""


def _headline(outcome: Outcome) -> str:
    row = next(m for m in outcome.measurements if m.metric == "bits_per_dim")
    error = "" if row.standard_error is None else f" ± {row.standard_error:.4f}"
    return f"{row.value:.4f}{error} bits/dim on {row.split}"
