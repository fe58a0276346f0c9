"""A lock in an Optuna storage, for processes on any machines."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bench.core.errors import LostTrialError, StudyStoppedError
from bench.search.foreign import raise_if_removed
from bench.search.heartbeat import BEATS_PER_LEASE, Heartbeat, Watch
from bench.search.processes import Owner, as_owner, is_surely_dead, is_this_machine, this_process
from bench.search.storage import with_retries

log = logging.getLogger(__name__)


class LockedError(Exception):
    """Another process holds the lock.

    Attributes:
        owner: that process.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__(f"process {owner['pid']} on {owner['host']} holds the lock")
        self.owner = owner


class Holder(NamedTuple):
    """A process that holds a lock, and what changes while it lives."""

    owner: Owner
    beat: object


class Lock:
    """A lock that at most one process holds.

    Each process that wants the lock adds a running trial, its ticket, and the oldest running ticket holds the lock.
    This is atomic because storages number trials in a transaction, and a trial that has ended never runs again: while
    a process sees its own ticket as the oldest, no other process can.

    Args:
        storage: the storage.
        name: the lock's name there.
        lease: seconds without a heartbeat after which the holder counts as dead.
    """

    def __init__(self, storage: BaseStorage, name: str, lease: float) -> None:
        self.storage = storage
        self.name = name
        self.lease = lease
        self.study = with_retries(lambda: optuna.create_study(study_name=name, storage=storage, load_if_exists=True))

    def holder(self) -> Holder | None:
        """The process that holds the lock, dead or alive; None if no process does."""
        ticket = self._holder()
        if ticket is None:
            return None
        return Holder(ticket.user_attrs["owner"], (ticket.number, ticket.user_attrs["beat"]))

    @contextmanager
    def acquire(self) -> Iterator[Heartbeat]:
        """Hold the lock while the block runs.

        Waits only for a holder on another machine, until its next heartbeat or the end of its lease.

        Yields:
            The heartbeat, which notices if others take this process for dead and take the lock.

        Raises:
            LockedError: another process holds the lock.
        """
        key = uuid.uuid4().hex
        attributes = {"key": key, "owner": this_process(), "beat": 0}
        try:
            # A retry may add a second ticket; all tickets with the same key are the same process's.
            with_retries(
                lambda: self.study.add_trial(optuna.create_trial(state=TrialState.RUNNING, user_attrs=attributes))
            )
            with Heartbeat(lambda count: self._beat(key, count), self.lease) as heartbeat:
                self._wait(key)
                yield heartbeat
        finally:
            with suppress(StudyStoppedError):  # whoever removed the lock has released it
                for ticket in self._tickets():
                    if ticket.user_attrs["key"] == key:
                        self._end(ticket)

    def _wait(self, key: str) -> None:
        watch = Watch(self.lease)
        first_beats: dict[int, int] = {}
        while (holder := self._holder()) is not None and holder.user_attrs["key"] != key:
            owner, beat = holder.user_attrs["owner"], holder.user_attrs["beat"]
            if is_surely_dead(owner) or watch.seconds_unchanged(holder.number, beat) > self.lease:
                self._end(holder)
                continue
            if is_this_machine(owner) or beat != first_beats.setdefault(holder.number, beat):
                raise LockedError(owner)
            log.info("%s: waiting up to %g s for a heartbeat of its holder on another machine", self.name, self.lease)
            time.sleep(self.lease / BEATS_PER_LEASE)
        if holder is None:
            raise LostTrialError(f"{self.name}: this process sent no heartbeat for {self.lease:g} s")

    def _tickets(self) -> list[FrozenTrial]:
        with raise_if_removed(self.name):
            return _own(with_retries(lambda: self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))))

    def _holder(self) -> FrozenTrial | None:
        return min(self._tickets(), key=lambda ticket: ticket.number, default=None)

    def _beat(self, key: str, count: int) -> None:
        running = _own(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        own = [ticket for ticket in running if ticket.user_attrs["key"] == key]
        if not own:
            raise LostTrialError(f"{self.name}: another process took the lock")
        self.storage.set_trial_user_attr(self._id(own[0]), "beat", count)

    def _end(self, ticket: FrozenTrial) -> None:
        def end() -> None:
            try:
                self.storage.set_trial_state_values(self._id(ticket), TrialState.FAIL)
            except UpdateFinishedTrialError:
                return

        with raise_if_removed(self.name):
            with_retries(end)

    def _id(self, ticket: FrozenTrial) -> int:
        study = self.storage.get_study_id_from_name(self.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, ticket.number)


def _own(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are tickets, and none that somebody asked for in Optuna."""
    return [
        trial
        for trial in trials
        if {"key", "beat"} <= trial.user_attrs.keys() and as_owner(trial.user_attrs.get("owner")) is not None
    ]
