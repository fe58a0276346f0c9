"""Queues of tasks: the coordinator offers tasks, workers claim them, and one attempt that counts settles each."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.core.errors import LostTrialError
from bench.core.results import RunState
from bench.search.foreign import attempts_at_tasks, only_own, raise_if_removed, was_ended_by_hand
from bench.search.heartbeat import BEATS_PER_LEASE, Heartbeat, Watch
from bench.search.processes import Owner, as_owner, is_surely_dead, is_this_machine, this_process
from bench.search.storage import with_retries

Result = TypeVar("Result")

MAX_DEATHS = 3
"""Deaths of its processes after which a task has failed, since it probably kills them; those before a rung that it
reached do not count beyond it."""
OBJECTIVE = "bits/dim on validation"
"""What all queues minimise."""
ALWAYS = sys.maxsize
"""What an attempt has reached that no further evaluation would continue."""
DIED = "its process ended before it did"
STOPPED = "stopped by the user or the scheduler"
WITHDRAWN = "it was no longer wanted"
BY_HAND = "somebody ended it in Optuna"
NOT_BEGUN = "it could not begin: "
"""How the reason begins of an attempt that failed before it had a run."""
_ENDS = {TrialState.COMPLETE: RunState.COMPLETE, TrialState.PRUNED: RunState.PRUNED}
_FAILURES = (RunState.DIVERGED, RunState.OUT_OF_MEMORY, RunState.FAILED)


class UnusableValuesError(Exception):
    """Somebody changed the values of a waiting task in Optuna to what is not in the space."""


class UnusableTaskError(Exception):
    """A task has failed before it began, as somebody changed it in Optuna to what cannot be done."""


@dataclass(frozen=True)
class Task:
    """A trial or a final run to be done.

    Attributes:
        number: its number, which determines its seed.
        values: values of swept parameters that are known before a worker claims it.
        note: what else its worker needs.
        evaluations: the evaluation to which it is to be trained; 0 where any attempt that counts settles it.
    """

    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)
    evaluations: int = 0

    def is_settled_by(self, attempt: Attempt) -> bool:
        """Whether an attempt at it settles it: it trained so far, or ended so that it cannot be continued."""
        return attempt.counts and attempt.reached >= self.evaluations


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task, as the storage has it.

    Attributes:
        number: the task's number.
        attempt: the number of the attempt at this task, from 1.
        key: identifies the attempt among those of all studies.
        state: how it ended, ``running``, or None while it waits.
        values: values of swept parameters, as far as they are known.
        objective: bits/dim on validation, if it is complete.
        reason: why it ended, if it did not complete.
        note: the task's note.
        evaluations: the evaluation to which it was to be trained.
    """

    number: int
    attempt: int
    key: str
    state: RunState | None
    values: dict[str, Any]
    objective: float | None
    reason: str
    note: dict[str, Any]
    evaluations: int
    frozen: FrozenTrial = field(repr=False, compare=False)

    @property
    def counts(self) -> bool:
        """Whether it settles its task: it has ended and was not interrupted."""
        return self.state not in (None, RunState.RUNNING, RunState.INTERRUPTED)

    @property
    def stopped_at(self) -> int | None:
        """The evaluation after which it was stopped, to be continued by a later attempt perhaps; else None."""
        last = self.frozen.last_step or 0
        return self.evaluations if self.state == RunState.PRUNED and 0 < self.evaluations <= last else None

    @property
    def is_out(self) -> bool:
        """Whether it ended so that nothing continues it: it failed, diverged, or was pruned before its rung."""
        return self.counts and self.state != RunState.COMPLETE and self.stopped_at is None

    @property
    def reached(self) -> int:
        """The evaluation to which it settles its task; one that ended by itself or failed settles any."""
        if self.stopped_at is not None:
            return self.stopped_at
        is_whole = self.state == RunState.COMPLETE and (self.frozen.last_step or 0) >= self.evaluations
        return self.evaluations if is_whole else ALWAYS

    @property
    def could_begin(self) -> bool:
        """Whether it did not fail before it had a run."""
        return not self.reason.startswith(NOT_BEGUN)

    @property
    def ended(self) -> datetime:
        """When it ended, by the clock of the machine that ended it; ``datetime.max`` before."""
        return self.frozen.datetime_complete or datetime.max

    @property
    def seconds(self) -> float:
        """Seconds from its beginning to its end, by the clocks of the machines that set them; 0 before its end."""
        began = self.frozen.datetime_start
        return 0.0 if began is None or self.frozen.datetime_complete is None else (self.ended - began).total_seconds()

    @property
    def ended_seconds_ago(self) -> float:
        """Seconds since it ended, as far as the machines' clocks agree."""
        return (datetime.now() - self.ended).total_seconds()

    @property
    def is_own(self) -> bool:
        """Whether this process works or worked on it."""
        return self.owner == this_process()

    @property
    def owner(self) -> Owner | None:
        """The process that works or worked on it."""
        return as_owner(self.frozen.user_attrs.get("owner"))


class Queue:
    """A queue of tasks in a storage that any number of processes share.

    Only the coordinator offers tasks, takes them back, and opens or closes the queue; all processes claim tasks.

    Args:
        storage: the storage.
        name: the queue's name there.
        pruner: decides whether to stop an attempt early.
        lease: seconds without a heartbeat after which an attempt is taken back.
        note: what the note of each task holds at least.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        pruner: optuna.pruners.BasePruner | None = None,
        lease: float = 60.0,
        note: Collection[str] = (),
    ) -> None:
        self.name = name
        self.note = frozenset(note)
        self.storage = storage
        self.lease = lease
        self._watch = Watch(lease)
        self._ended: dict[int, Attempt] = {}
        self.study = with_retries(
            lambda: optuna.create_study(
                study_name=name,
                storage=storage,
                direction="minimize",
                pruner=pruner or optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        )
        if with_retries(lambda: self.study.metric_names) is None:
            # Otherwise optuna-dashboard calls it "Objective 0".
            with_retries(lambda: self.study.set_metric_names([OBJECTIVE]))

    def call(self, action: Callable[[], Result]) -> Result:
        """Use the storage, and repeat ``action`` while it is unreachable.

        Raises:
            StudyStoppedError: somebody removed the queue from it.
        """
        with raise_if_removed(self.name):
            return with_retries(action)

    def describe(self, about: Mapping[str, str]) -> None:
        """Say what is searched, in attributes that optuna-dashboard shows."""
        known = with_retries(lambda: self.study.user_attrs)
        for name, value in about.items():
            if known.get(name) != value:
                with_retries(lambda name=name, value=value: self.study.set_user_attr(name, value))  # type: ignore[misc]

    def attempts(self) -> list[Attempt]:
        """All attempts, in the order of their offers."""
        return self.read()[0]

    def read(self) -> tuple[list[Attempt], int]:
        """All attempts, and the number of other trials: people added them, they are not worked on or learnt from."""
        trials = self.call(lambda: self.study.get_trials(deepcopy=False))
        own = attempts_at_tasks(trials, self.note)
        return [self._attempt(trial) for trial in own], len(trials) - len(own)

    def _attempt(self, trial: FrozenTrial) -> Attempt:
        """Converts a trial; caches those that have ended, which are nearly all of a long study."""
        found = self._ended.get(trial.number)
        if found is None:
            found = _attempt(trial)
            if trial.state.is_finished():
                self._ended[trial.number] = found
        return found

    def settled(self) -> dict[int, Attempt]:
        """The last attempt at each task that counts, by task."""
        return {attempt.number: attempt for attempt in self.attempts() if attempt.counts}

    def complete(self) -> list[Attempt]:
        """The last complete attempt at each task that has one, by task."""
        return list({each.number: each for each in self.attempts() if each.state == RunState.COMPLETE}.values())

    def best(self) -> Attempt | None:
        """The complete attempt with the lowest objective."""
        complete = [each for each in self.complete() if each.objective is not None]
        return min(complete, key=lambda each: (each.objective, each.number), default=None)

    def offer(self, tasks: list[Task]) -> None:
        """Offer tasks, except those that are settled, waiting or running.

        The next attempt at a task has the values that an earlier one suggested, and continues its training.
        """
        if tasks:
            self.call(lambda: self._offer(tasks))

    def _offer(self, tasks: list[Task]) -> None:
        attempts = self.attempts()
        for task in tasks:
            before = [each for each in attempts if each.number == task.number]
            if any(each.state in (None, RunState.RUNNING) or task.is_settled_by(each) for each in before):
                continue
            values = next((each.values for each in reversed(before) if each.values), dict(task.values))
            known = {"task": task.number, "attempt": len(before) + 1, "key": uuid.uuid4().hex}
            self.study.enqueue_trial(
                values, user_attrs={**known, "evaluations": task.evaluations, "note": dict(task.note)}
            )

    def withdraw(self, wanted: Collection[int]) -> None:
        """Take back the waiting tasks whose numbers are not among the wanted ones; they can be offered again."""
        for attempt in self.attempts():
            if attempt.state is None and attempt.number not in wanted:
                self.call(lambda each=attempt: self._take_back(each, RunState.INTERRUPTED, WITHDRAWN))  # type: ignore[misc]

    def set_open(self, is_open: bool) -> None:
        """Open the queue, or close it: a closed queue gives out no tasks."""
        self.call(lambda: self.study.set_user_attr("open", is_open))

    @property
    def is_open(self) -> bool:
        """Whether workers can claim waiting tasks."""
        return bool(self.call(lambda: self.study.user_attrs).get("open", False))

    @property
    def waiting(self) -> int:
        """The number of tasks that workers can claim."""
        return len(self._waiting_trials()) if self.is_open else 0

    def _waiting_trials(self) -> list[FrozenTrial]:
        trials = self.call(lambda: self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        return attempts_at_tasks(trials, self.note)

    def claim(self) -> Claim | None:
        """Claim the waiting task with the lowest number.

        Returns:
            The claimed task; None if none waits, or the queue is closed.

        Raises:
            LostTrialError: the coordinator took it back while its values were suggested.
            UnusableTaskError: somebody gave it values in Optuna that cannot be used; it has failed.
            StudyStoppedError: somebody removed the queue from the storage.
        """
        if not self.is_open:
            return None
        for trial in sorted(self._waiting_trials(), key=lambda each: int(each.user_attrs["task"])):
            if self.call(lambda trial=trial: self._try_to_claim(trial)):  # type: ignore[misc]
                return self._start(trial)
        return None

    def _try_to_claim(self, trial: FrozenTrial) -> bool:
        try:
            return bool(self.storage.set_trial_state_values(self._id(trial.number), TrialState.RUNNING))
        except UpdateFinishedTrialError:
            return False

    def _start(self, trial: FrozenTrial) -> Claim:
        """Begin an attempt."""
        sampler = self._sampler(int(trial.user_attrs["task"]))
        # A new study object, since an old one caches the trials that it saw at its last suggestion.
        study = self.call(
            lambda: optuna.load_study(
                study_name=self.name,
                storage=only_own(self.storage, self.name, self.note),
                sampler=sampler,
                pruner=self.study.pruner,
            )
        )
        claim = Claim(self, self.call(lambda: Trial(study, self._id(trial.number))), _attempt(trial))
        claim.write("owner", this_process())
        with claim.heartbeat():
            try:
                self._prepare(claim)
            except UnusableValuesError as error:
                raise claim.refuse(str(error)) from error
        return claim

    def _prepare(self, claim: Claim) -> None:
        """Prepare a task that was just claimed.

        Raises:
            UnusableValuesError: its values are none that can be used.
        """

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler that suggests missing values of a task."""
        return optuna.samplers.RandomSampler(seed=number)

    def reclaim(self) -> list[Attempt]:
        """Take back the tasks of dead processes; :meth:`offer` offers them again.

        Returns:
            The attempts that this ended: as interrupted, or as failed if the task's processes died too often.
        """
        attempts = self.attempts()
        gone = [each for each in attempts if each.state == RunState.RUNNING and self._is_gone(each)]
        for each in gone:
            deaths = 1 + _deaths_since_progress([other for other in attempts if other.number == each.number])
            if deaths < MAX_DEATHS:
                self.call(lambda each=each: self._take_back(each, RunState.INTERRUPTED, DIED))  # type: ignore[misc]
            else:
                reason = f"its process died, as those of {deaths - 1} attempts before it"
                self.call(lambda each=each, why=reason: self._take_back(each, RunState.FAILED, why))  # type: ignore[misc]
        if not gone:
            return []
        names = {each.key for each in gone}
        return [each for each in self.attempts() if each.key in names and each.state != RunState.RUNNING]

    def living(self) -> Attempt | None:
        """A running attempt whose process lives; waits at most a lease for heartbeats from other machines."""
        watch, first_beats = Watch(self.lease), dict[str, object]()
        while True:
            waited_for = []
            for each in [each for each in self.attempts() if each.state == RunState.RUNNING]:
                owner, beat = each.owner, each.frozen.user_attrs.get("beat")
                if owner is not None and is_surely_dead(owner):
                    continue
                if (owner is not None and is_this_machine(owner)) or beat != first_beats.setdefault(each.key, beat):
                    return each
                if watch.seconds_unchanged(each.key, beat) <= self.lease:
                    waited_for.append(each)
            if not waited_for:
                return None
            time.sleep(self.lease / BEATS_PER_LEASE)

    def _is_gone(self, attempt: Attempt) -> bool:
        if attempt.owner is not None and is_surely_dead(attempt.owner):
            return True
        beat = attempt.frozen.user_attrs.get("beat")
        return self._watch.seconds_unchanged(attempt.frozen.number, beat) > self.lease

    def _take_back(self, attempt: Attempt, state: RunState, reason: str) -> None:
        trial = self._id(attempt.frozen.number)
        try:
            self.storage.set_trial_user_attr(trial, "reason", reason)
            self.storage.set_trial_user_attr(trial, "state", state.value)
            self.storage.set_trial_state_values(trial, TrialState.FAIL)
        except UpdateFinishedTrialError:
            # Its process has ended it meanwhile.
            return

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.name)
        return int(self.storage.get_trial_id_from_study_id_trial_number(study, number))


class Claim:
    """A task that this process has claimed.

    All methods raise :class:`LostTrialError` if the coordinator took the attempt back, for example because this process
    was paused for longer than the lease. The worker then drops the work.
    """

    def __init__(self, queue: Queue, trial: Trial, attempt: Attempt) -> None:
        self._queue = queue
        self._trial = trial
        self.number = attempt.number
        self.attempt = attempt.attempt
        self.key = attempt.key
        self.note = attempt.note
        self.evaluations = attempt.evaluations
        self.values = attempt.values
        self.fixed = attempt.frozen.system_attrs.get("fixed_params", {})
        """Its values as the storage has them, which people can edit."""

    def write(self, name: str, value: Any) -> None:
        """Set an attribute of the attempt."""
        self.unless_lost(lambda: self._queue.call(lambda: self._trial.set_user_attr(name, value)))

    def heartbeat(self) -> Heartbeat:
        """Send heartbeats while the block runs; failed ones are not retried, since the next one follows soon."""
        return Heartbeat(
            lambda count: self.unless_lost(lambda: self._trial.set_user_attr("beat", count)), self._queue.lease
        )

    def unless_lost(self, action: Callable[[], Result]) -> Result:
        """Call ``action``, which changes the attempt, and return what it returns."""
        try:
            return action()
        except UpdateFinishedTrialError as error:
            raise self._lost() from error

    def report(self, objective: float, evaluation: int) -> None:
        """Report validation bits/dim at an evaluation."""
        self.unless_lost(lambda: self._queue.call(lambda: self._trial.report(objective, evaluation)))

    def should_prune(self) -> bool:
        """Whether the pruner would stop the trial at its latest evaluation."""
        return bool(self._queue.call(self._trial.should_prune))

    def end(self, state: RunState, objective: float | None = None, reason: str = "") -> None:
        """End the attempt; this settles the task unless the state is ``interrupted``.

        Raises:
            LostTrialError: another process has ended it.
        """
        if state != RunState.COMPLETE:
            self.write("reason", reason)
        self.write("state", state.value)
        self._queue.call(lambda: self._end(state, objective))

    def refuse(self, problem: str) -> UnusableTaskError:
        """End the attempt as failed before it begins, as it cannot be done; the error that says so."""
        reason = f"{NOT_BEGUN}{problem}"
        self.end(RunState.FAILED, reason=reason)
        return UnusableTaskError(f"{self.number}: {reason}")

    def _end(self, state: RunState, objective: float | None) -> None:
        ends = {run_state: trial_state for trial_state, run_state in _ENDS.items()}
        trial = self._queue._id(self._trial.number)
        values = None if objective is None else (objective,)
        try:
            self._queue.storage.set_trial_state_values(trial, ends.get(state, TrialState.FAIL), values)
        except UpdateFinishedTrialError as error:
            # Perhaps by this call itself, if its response was lost and it was retried.
            found = _attempt(self._queue.storage.get_trial(trial))
            if (found.state, found.objective) != (state, objective):
                raise self._lost() from error

    def _lost(self) -> LostTrialError:
        return LostTrialError(
            f"attempt {self.attempt} at {self._queue.name} {self.number} was taken away: its process sent no heartbeat "
            f"for {self._queue.lease:g} s, or {BY_HAND}"
        )


def _deaths_since_progress(attempts: Sequence[Attempt]) -> int:
    """How many of the attempts at a task died since the last that counts."""
    latest = takewhile(lambda each: not each.counts, reversed(attempts))
    return sum(each.reason == DIED for each in latest)


def _attempt(trial: FrozenTrial) -> Attempt:
    known = trial.user_attrs
    fixed = trial.system_attrs.get("fixed_params")
    values = {**(fixed if isinstance(fixed, dict) else {}), **trial.params}
    state = _state(trial)
    return Attempt(
        number=int(known["task"]),
        attempt=int(known["attempt"]),
        key=str(known["key"]),
        state=state,
        values=values,
        objective=trial.value if state == RunState.COMPLETE else None,
        reason=str(known.get("reason", BY_HAND if state == RunState.INTERRUPTED else "")),
        note=dict(known["note"]),
        evaluations=int(known.get("evaluations", 0)),
        frozen=trial,
    )


def _state(trial: FrozenTrial) -> RunState | None:
    if trial.state == TrialState.WAITING:
        return None
    if trial.state == TrialState.RUNNING:
        return RunState.RUNNING
    if was_ended_by_hand(trial):
        return RunState.INTERRUPTED
    if trial.state in _ENDS:
        return _ENDS[trial.state]
    state = trial.user_attrs["state"]
    # Somebody, or the coordinator, failed one that was about to end otherwise.
    return RunState(state) if state in _FAILURES else RunState.INTERRUPTED
