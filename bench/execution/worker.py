"""Worker: claims queued trials and final runs, trains and measures them, and records how they end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from traceback import format_exc
from types import TracebackType
from typing import Any

from bench.core.errors import (
    AlteredDataError,
    CheckpointError,
    LostTrialError,
    OutboxError,
    OutOfMemoryError,
    PrunedError,
    RestartRequiredError,
    SettingsError,
    StoppedAtRungError,
    TrackingError,
    TrialError,
    is_out_of_memory,
)
from bench.core.logs import shorten
from bench.core.results import EvaluationRecord, RunState
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.data.dataset import Dataset, Split
from bench.evaluation.cost.memory import host_bytes
from bench.evaluation.programs import EvaluationProtocol
from bench.evaluation.quality import open_extractor
from bench.evaluation.sequence_files import sequence_files
from bench.execution.progress import StudyProgress
from bench.execution.same_data import check_extractor, open_outside_data
from bench.execution.session import StudySession, limit_validation
from bench.execution.trial import (
    OnEvaluation,
    OnProgress,
    OnRescue,
    Outcome,
    forget_models,
    run_final,
    run_trial,
    validation_bits_per_dim,
)
from bench.runtime.allocator import give_back_freed_memory
from bench.search.heartbeat import BEATS_PER_LEASE, Heartbeat
from bench.search.processes import Owner
from bench.search.queue import STOPPED, Claim, UnusableTaskError
from bench.search.sampler import BUDGET
from bench.study.config import RunConfig
from bench.study.definition import FINALS, Arm
from bench.tracking.model_run import ModelRun
from bench.training.checkpoint import Checkpoint
from bench.training.history import VALIDATION

log = logging.getLogger(__name__)

LEAST_TASKS = 10
"""A process does at least this many tasks before it is replaced."""
MOST_GROWTH = 2**30
"""Bytes by which a process may grow beyond its size at its first task, before it frees what it can."""
LEFT_GROWTH = MOST_GROWTH // 2
"""Bytes of these that may then be left; with more, a fresh process replaces it.

TensorFlow never frees a compiled program, which takes up to 200 MB per shape of model.
"""
IDLE_SECONDS = 0.5
"""Interval of polling for a task, while none is queued."""
_INTERRUPTIONS = (AlteredDataError, LostTrialError, OutboxError, CheckpointError, TrackingError)
"""Errors of the machine or of a server, not of the trial."""


@dataclass(frozen=True)
class _Job:
    """How to do a claimed task: a trial or a final run."""

    name: str
    role: str
    arm: Arm
    seed: int
    values: Mapping[str, Any]
    config: RunConfig
    train: Callable[[OnEvaluation, OnProgress, Checkpoint, OnRescue], Outcome]
    objective: Callable[[Outcome], float]
    rank: Callable[[], str]
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its kind in the ETA."""
        return f"{self.arm.name} {self.role}"


class Worker:
    """Does the tasks of a study one by one.

    Args:
        study: the study, opened or joined.
        dataset: its images.
        progress: shows the progress.
        stop: a request to stop.
        can_restart: whether a process that has grown too large may raise :class:`RestartRequiredError`.
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
        self.data = limit_validation(dataset, study.bound.settings.evaluation_images)
        self.can_restart = can_restart
        self._tasks = 0
        self._first_bytes = 0

    @cached_property
    def protocol(self) -> EvaluationProtocol:
        """How final runs are measured."""
        return open_protocol(self.study, self.dataset)

    @cached_property
    def _test(self) -> Split:
        """The test split, opened by the first final run, when no trial is left to be selected."""
        return self.dataset.open_test().some(self.study.bound.settings.evaluation_images, self.dataset.info.kind)

    def work(self) -> bool:
        """Do the first queued task; False if there is none.

        Raises:
            KeyboardInterrupt: a stop was requested; the task is marked as interrupted.
            TrackingError: the storage cannot be reached for long.
            AlteredDataError: the images that the study's processes share were altered.
            RestartRequiredError: this process has grown too large, and a fresh one must continue.
        """
        self._check_growth()
        self.dataset.check()
        for kind, queue in self.study.queues.items():
            self.stop.check()
            try:
                claim = queue.claim()
                if claim is None:
                    continue
                self._run_attempt(self._job(kind, claim), kind, claim)
                self._tasks += 1
            except UnusableTaskError as error:
                text = f"{kind} {error}"
                log.exception("%s", text)
                self.progress.say(text)
            except LostTrialError as error:
                # The process that took it over records how it ends.
                self.progress.say(str(error))
            return True
        return False

    def _check_growth(self) -> None:
        now = host_bytes()
        if self._tasks <= 1:
            self._first_bytes = now
        elif self.can_restart and self._tasks >= LEAST_TASKS and now - self._first_bytes > MOST_GROWTH:
            give_back_freed_memory()
            if host_bytes() - self._first_bytes > LEFT_GROWTH:
                forget_models()
                give_back_freed_memory()
            left = host_bytes()
            if left - self._first_bytes > LEFT_GROWTH:
                raise RestartRequiredError(
                    f"after {self._tasks} runs this process holds {left / 2**30:.1f} GiB: a fresh one continues in its "
                    "place"
                )

    def work_until_over(self) -> None:
        """Do tasks until the coordinator ends the study, or has died and none was queued for a lease.

        Raises:
            KeyboardInterrupt, RestartRequiredError: as for :meth:`work`.
        """
        record, coordinator = self.study.record, self.study.record.watch_coordinator()
        due = busy = time.monotonic()
        is_without = False
        while True:
            is_idle = not self.work()
            if not is_idle:
                busy = time.monotonic()
                if busy < due:
                    continue
            due = time.monotonic() + record.lease / BEATS_PER_LEASE
            is_gone, dead = coordinator.observe()
            if is_idle and is_gone:
                return
            if dead is not None and not is_without:
                self._say_coordinator_died(dead)
            elif dead is None and is_without:
                self.progress.say(f"another process coordinates {record.study_id} now")
            is_without = dead is not None
            if is_without and time.monotonic() - busy > record.lease:
                self.progress.say(f"nothing of {record.study_id} is left to do without a coordinator: this worker ends")
                return
            if is_idle:
                time.sleep(IDLE_SECONDS)

    def _say_coordinator_died(self, coordinator: Owner) -> None:
        waiting = sum(queue.waiting for queue in self.study.queues.values())
        self.progress.say(
            f"the process that coordinates {self.study.record.study_id} died (process {coordinator['pid']} on "
            f"{coordinator['host']}): {waiting} trials or final runs wait; the workers finish them, and end "
            f"{self.study.record.lease:g} s after the last one, unless the command that began the study is run again"
        )

    def _job(self, kind: str, claim: Claim) -> _Job:
        """How to do a task.

        Raises:
            UnusableTaskError: it has failed, as somebody changed it in Optuna to what cannot be done.
        """
        try:
            return self._final(claim) if kind == FINALS else self._trial(kind, claim)
        except (SettingsError, ValueError, TypeError) as error:
            raise claim.refuse(shorten(str(error))) from error

    def _trial(self, kind: str, claim: Claim) -> _Job:
        """Train one configuration of the sweep, and evaluate it on validation."""
        arm, settings = self.study.bound.study.arm(kind), self.study.bound.settings
        config = self.study.bound.configure(arm, claim.values)
        # Of the task, whose budget may be another than when this worker joined.
        budget = int(claim.note.get(BUDGET, config.training.evaluations))
        if budget != config.training.evaluations:
            config = config.model_copy(update={"training": config.training.lasting(budget)})
        seed = derive_seed(settings.seed, kind, claim.number)

        def train(
            on_evaluation: OnEvaluation, on_progress: OnProgress, checkpoint: Checkpoint, on_rescue: OnRescue
        ) -> Outcome:
            samples, until = settings.selection_samples, claim.evaluations or None
            return run_trial(config, self.data, seed, samples, on_evaluation, checkpoint, on_rescue, until)

        values = " ".join(f"{name}={format_value(value)}" for name, value in claim.values.items())
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
        if note["arm"] not in self.study.searches:
            raise SettingsError(f"arm {note['arm']!r} is none of {', '.join(self.study.searches)}")
        config = RunConfig.model_validate(note["config"])
        seed = derive_seed(settings.seed, FINALS, note["seed"])

        def train(
            on_evaluation: OnEvaluation, on_progress: OnProgress, checkpoint: Checkpoint, on_rescue: OnRescue
        ) -> Outcome:
            measured = (self._test, seed, self.protocol)
            return run_final(config, self.data, *measured, on_evaluation, on_progress, checkpoint, on_rescue)

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

    def _run_attempt(self, job: _Job, kind: str, claim: Claim) -> None:
        """Train, measure, and record how the attempt ends."""
        queue, settings = self.study.queues[kind], self.study.bound.settings
        trials = max(settings.trials, claim.number + 1)
        total = settings.seeds * len(self.study.searches) if kind == FINALS else trials
        name = f"{job.name}, attempt {claim.attempt}" if claim.attempt > 1 else job.name
        checkpoint = self.study.checkpoint(kind, claim.number, job.config, job.seed)
        extends = not job.config.training.depends_on_budget

        def is_over() -> bool:
            last = queue.settled().get(claim.number)
            return last is not None and (last.is_out or (last.state == RunState.COMPLETE and not extends))

        with _Attempt(name, claim, checkpoint, is_over, self.progress, extends) as attempt:
            # A budget of which no attempt counts is forgotten; the state that one of them left is not.
            checkpoint.remove_longer(job.config.training.evaluations)
            evaluations = claim.evaluations or job.config.training.evaluations
            self.progress.start_run(name, evaluations, job.kind, len(queue.settled()), total)
            # Last, as an interruption between here and the training would leave the run open.
            attempt.run = self.study.parent.start_run(
                *(name, job.role, job.arm.name, job.seed, job.config),
                number=claim.number if job.role == "search" else None,
                attempt=claim.attempt,
                key=claim.key,
                continuation=_format_continuation(checkpoint),
                continued_from=len(checkpoint.records()),
                inactive=[swept for swept in job.arm.sweep if swept not in job.values],
                **job.parameters,
            )
            with claim.heartbeat() as heartbeat:
                outcome = self._train_and_measure(job, claim, checkpoint, attempt.run, heartbeat)
                attempt.complete(outcome, job.objective(outcome), job.rank)

    def _train_and_measure(
        self, job: _Job, claim: Claim, checkpoint: Checkpoint, run: ModelRun, heartbeat: Heartbeat
    ) -> Outcome:
        """Resume an earlier attempt's training or start one, measure, and log the results."""
        # Training receives these functions: do not close over `self`, which can reach the test split.
        stop, progress, name, evaluations = self.stop, self.progress, job.name, job.config.training.evaluations

        def report(record: EvaluationRecord) -> None:
            claim.report(record.values[VALIDATION], record.evaluation)
            run.log_evaluation(record)
            progress.show_evaluation(record)

        def check() -> None:
            stop.check()
            if heartbeat.lost:
                raise LostTrialError(f"{name} was reassigned to another process")

        def on_evaluation(record: EvaluationRecord) -> None:
            check()
            report(record)
            # At its last evaluation a trial is complete: pruning would save nothing.
            if record.evaluation < evaluations and claim.should_prune():
                raise PrunedError(f"stopped by the pruner at evaluation {record.evaluation}")

        def on_progress(done: int, total: int) -> None:
            check()
            progress.show_test_progress(done, total)

        def on_rescue(line: str) -> None:
            progress.say(f"{name}: {line}")

        for record in checkpoint.records():
            report(record)
        outcome = self.stop.run_interruptible(lambda: job.train(on_evaluation, on_progress, checkpoint, on_rescue))
        self.dataset.check()
        if job.role == FINALS:
            run.log_model(outcome.model, self.data.validation.images[:1])
        run.log_measurements(outcome.measurements)
        run.log_pictures([(picture.kind, picture.caption, picture.png) for picture in outcome.pictures])
        run.log_tables(outcome.tables)
        for name, content in sequence_files(outcome.tables, self.data.info).items():
            run.log_file(content, name)
        run.log_unavailable(outcome.unavailable)
        return outcome

    def _rank(self, kind: str, number: int) -> str:
        """The rank of a complete trial among all that are complete so far, in a sentence."""
        complete = self.study.queues[kind].complete()
        order = sorted(complete, key=lambda each: math.inf if each.objective is None else each.objective)
        rank = 1 + next(i for i, each in enumerate(order) if each.number == number)
        unit = self.data.info.unit
        return f"At its end number {rank} of {len(order)} complete trials of its arm by {unit} on validation"


@dataclass
class _Attempt:
    """Records in the storage, then in the tracking server, how the block ends; errors of the trial itself end here.

    Interruptions are raised again: another process repeats the attempt.
    """

    name: str
    claim: Claim
    checkpoint: Checkpoint
    is_over: Callable[[], bool]
    """Whether another attempt has ended the task so that none continues it."""
    progress: StudyProgress
    extends: bool
    """Whether a larger budget continues a complete training."""
    run: ModelRun | None = None
    _outcome: Outcome | None = None
    _rank: Callable[[], str] = str

    def __enter__(self) -> _Attempt:
        return self

    def complete(self, outcome: Outcome, objective: float, rank: Callable[[], str]) -> None:
        """End the attempt in the storage, from which moment it counts."""
        self.claim.end(RunState.COMPLETE, objective)
        self._outcome, self._rank = outcome, rank

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        outcome, state, reason, rank = self._outcome, RunState.COMPLETE, "", ""
        if outcome is not None:
            rank = self._rank()
        elif self.run is None or isinstance(error, _INTERRUPTIONS) or not isinstance(error, Exception):
            state, reason = RunState.INTERRUPTED, STOPPED if isinstance(error, KeyboardInterrupt) else str(error)
        else:
            failure = as_trial_error(error)
            state, reason = RunState(failure.state), str(failure)
            if state == RunState.FAILED:
                log.exception("%s: failed", self.name)
                self.run.log_file(format_exc(), "traceback.txt")
        # Only the lease can end an attempt in a storage that cannot be reached, and the coordinator its run.
        if outcome is None and not isinstance(error, LostTrialError | TrackingError):
            self.claim.end(state, reason=reason)
        if self.run is not None and not isinstance(error, OutboxError | CheckpointError | TrackingError):
            self.run.finish(state, reason, rank)
        # Another attempt at a lost trial may have removed the checkpoint, which this one may have written again; and no
        # attempt may continue from weights that were trained on altered images.
        is_void = isinstance(error, AlteredDataError) or (isinstance(error, LostTrialError) and self.is_over())
        may_continue = state == RunState.INTERRUPTED or isinstance(error, StoppedAtRungError)
        may_continue |= outcome is not None and self.extends
        if is_void or not may_continue:
            self.checkpoint.remove()
        if state == RunState.INTERRUPTED:
            return False
        result = f"{state}, {reason}" if outcome is None else _format_result(outcome, self.progress.unit)
        self.progress.say(f"{self.name}: {result}")
        return isinstance(error, Exception)


def open_protocol(study: StudySession, dataset: Dataset) -> EvaluationProtocol:
    """How a study measures its final runs.

    Raises:
        SettingsError, DataError: the extractor or the outside data does not fit, cannot be loaded, or is not the one
            that the study began with.
    """
    settings = study.bound.settings
    extractor = open_extractor(settings.extractor, dataset.tuning, settings.output / "extractors")
    check_extractor(study, extractor)
    outside = open_outside_data(study, dataset.info)
    return EvaluationProtocol(dataset.info, settings.importance_samples, extractor, outside)


def as_trial_error(error: Exception) -> TrialError:
    """The error as one that ends a trial, with a state that reports count."""
    if isinstance(error, TrialError):
        return error
    text = str(error)
    if is_out_of_memory(error):
        return OutOfMemoryError(text.splitlines()[0] if text else "the host ran out of memory")
    return TrialError(f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}")


def format_value(value: Any) -> str:
    """A swept value as run names show it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _format_continuation(checkpoint: Checkpoint) -> str:
    """From which evaluation of an earlier attempt this one resumes; empty if from none."""
    done = len(checkpoint.records())
    return f"an earlier attempt, from evaluation {done}" if done else ""


def _format_result(outcome: Outcome, unit: str) -> str:
    row = next(m for m in outcome.measurements if m.metric == "bits_per_dim")
    error = "" if row.standard_error is None else f" ± {row.standard_error:.4f}"
    return f"{row.value:.4f}{error} {unit} on {row.split} in {outcome.log.seconds:.1f} s"
