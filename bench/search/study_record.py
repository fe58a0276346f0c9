"""What the processes of one study share beside its searches: its specification, its coordinator, its final runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage

from bench.core.errors import SettingsError, TrackingError
from bench.search.heartbeat import Heartbeat, Watch
from bench.search.lock import Lock, LockedError
from bench.search.processes import Owner, is_surely_dead
from bench.search.queue import Queue
from bench.search.storage import COORDINATOR, FINALS, with_retries

FINAL_NOTE = ("arm", "trial", "values", "config", "config_hash", "seed")
"""What the note of a final run holds: whose model it retrains, and how."""
SECONDS_SPENT = "seconds_spent"
SECONDS_OF_ARMS = "seconds_of_arms"
TIMED_EVALUATIONS = "timed_evaluations"
LEASE = 60.0
"""Seconds without a heartbeat after which a process counts as dead, where the study does not say."""


class StudyRecord:
    """The study in the storage.

    Args:
        storage: the storage.
        study_id: the study's identifier.
        lease: seconds without a heartbeat after which a process counts as dead.
    """

    def __init__(self, storage: BaseStorage, study_id: str, lease: float) -> None:
        self.storage = storage
        self.study_id = study_id
        self.lease = lease
        self.finals = Queue(storage, f"{study_id}{FINALS}", lease=lease, note=FINAL_NOTE)
        """The final runs. Their notes hold :data:`FINAL_NOTE`."""
        self._coordinator = Lock(storage, f"{study_id}{COORDINATOR}", lease)

    @property
    def specification(self) -> dict[str, Any] | None:
        """The latest published specification."""
        found = self.finals.call(lambda: self.finals.study.user_attrs).get("specification")
        return dict(found) if isinstance(found, dict) else None

    def publish(self, specification: Mapping[str, Any]) -> None:
        """Publish the study's specification, JSON, for workers to read."""
        with_retries(lambda: self.finals.study.set_user_attr("specification", dict(specification)))

    @property
    def seconds_spent(self) -> float:
        """Seconds that the study's coordinators have run, as far as :meth:`spend` has recorded them."""
        return float(self._attribute(SECONDS_SPENT, 0.0))

    @property
    def seconds_of_arms(self) -> dict[str, float]:
        """Those of them that the runs of each arm took, interrupted ones too."""
        return {str(arm): float(seconds) for arm, seconds in self._attribute(SECONDS_OF_ARMS, {}).items()}

    def spend(self, seconds: float, of_arms: Mapping[str, float]) -> None:
        """Record the seconds that the study's coordinators have run in all, and those of each arm's runs."""
        for name, value in ((SECONDS_SPENT, seconds), (SECONDS_OF_ARMS, dict(of_arms))):
            self.finals.call(lambda name=name, value=value: self.finals.study.set_user_attr(name, value))  # type: ignore[misc]

    @property
    def timed_evaluations(self) -> dict[str, int]:
        """To which evaluation final runs are trained in a study that has a time; see :meth:`decide_evaluations`."""
        return dict(self._attribute(TIMED_EVALUATIONS, {}))

    def decide_evaluations(self, key: str, evaluations: int) -> None:
        """Record how long final runs are trained, so that a study that is continued trains them as long."""
        decided = {**self.timed_evaluations, key: evaluations}
        self.finals.call(lambda: self.finals.study.set_user_attr(TIMED_EVALUATIONS, decided))

    def _attribute(self, name: str, default: Any) -> Any:
        return self.finals.call(lambda: self.finals.study.user_attrs).get(name, default)

    def watch_coordinator(self) -> CoordinatorWatch:
        """Begin to watch the coordinator."""
        return CoordinatorWatch(self._coordinator)

    @contextmanager
    def coordinator_lock(self) -> Iterator[Heartbeat]:
        """Be the study's only coordinator while the block runs.

        Yields:
            The coordinator's heartbeat; it is ``lost`` once another coordinator has replaced this one.

        Raises:
            SettingsError: another process is the coordinator.
        """
        with ExitStack() as stack:
            try:
                heartbeat = stack.enter_context(self._coordinator.acquire())
            except LockedError as error:
                owner = error.owner
                raise SettingsError(
                    f"{self.study_id} is being run by process {owner['pid']} on {owner['host']}: to work on it too, "
                    f"reparam-bench worker {self.study_id}"
                ) from error
            yield heartbeat


class CoordinatorState(NamedTuple):
    """A study's coordinator, as a worker sees it.

    Attributes:
        is_gone: whether there is none, so that no further tasks will be offered.
        dead: its process, if that died without an end, and no other has taken over.
    """

    is_gone: bool
    dead: Owner | None


class CoordinatorWatch:
    """Finds out whether a study's coordinator lives, as its workers see it.

    Args:
        lock: the coordinator's lock.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._watch = Watch(lock.lease)

    def observe(self) -> CoordinatorState:
        """Read the lock once.

        On another machine a process counts as dead after a lease without a heartbeat, for which this is called
        repeatedly.
        """
        holder = self._lock.holder()
        if holder is None:
            return CoordinatorState(is_gone=True, dead=None)
        unchanged = self._watch.seconds_unchanged("coordinator", holder.beat)
        is_dead = is_surely_dead(holder.owner) or unchanged > self._lock.lease
        return CoordinatorState(is_gone=False, dead=holder.owner if is_dead else None)


@contextmanager
def removal(storage: BaseStorage, study_id: str) -> Iterator[Callable[[], int]]:
    """Hold a study while it is removed, so that no process begins to work on it.

    Args:
        storage: the storage.
        study_id: the study's identifier.

    Yields:
        Removes the study for good, and returns the number of its trials and final runs.

    Raises:
        SettingsError: a coordinator or a worker of the study lives.
    """
    specification = StudyRecord(storage, study_id, LEASE).specification
    lease = LEASE if specification is None else float(specification["settings"]["lease"])
    names = [name for name in _names(storage) if name.startswith(f"{study_id}/") and not name.endswith(COORDINATOR)]
    queues = [Queue(storage, name, lease=lease) for name in names]

    def remove() -> int:
        settled = sum(len(queue.settled()) for queue in queues)
        # The final runs, by which the study is found, after all others.
        for name in sorted(names, key=lambda name: name.endswith(FINALS)):
            with_retries(lambda name=name: _delete(storage, name))  # type: ignore[misc]
        return settled

    with ExitStack() as stack:
        try:
            stack.enter_context(Lock(storage, f"{study_id}{COORDINATOR}", lease).acquire())
        except LockedError as error:
            raise _is_run(study_id, error.owner) from error
        stack.enter_context(_closed(queues))
        for queue in queues:
            if (attempt := queue.living()) is not None:
                raise _is_run(study_id, attempt.owner)
        yield remove
    with_retries(lambda: _delete(storage, f"{study_id}{COORDINATOR}"))


@contextmanager
def _closed(queues: Sequence[Queue]) -> Iterator[None]:
    """Close queues, which a coordinator that was killed has left open: no worker claims a task; an error undoes it."""
    opened = [queue for queue in queues if queue.is_open]
    for queue in opened:
        queue.set_open(False)
    try:
        yield
    except BaseException:
        for queue in opened:
            with suppress(KeyError):  # those that were removed before the error
                queue.set_open(True)
        raise


def _is_run(study_id: str, owner: Owner | None) -> SettingsError:
    who = "a process" if owner is None else f"process {owner['pid']} on {owner['host']}"
    return SettingsError(f"{who} works on {study_id}: stop it before the study is removed")


def _delete(storage: BaseStorage, name: str) -> None:
    try:
        optuna.delete_study(study_name=name, storage=storage)
    except KeyError:
        # By an earlier request, whose answer was lost.
        return


def _names(storage: BaseStorage) -> list[str]:
    return with_retries(lambda: [study.study_name for study in storage.get_all_studies()])


def list_studies(storage: BaseStorage) -> list[str]:
    """Identifiers of the studies in a storage, by name, also of one that is removed halfway."""
    ends = (FINALS, COORDINATOR)
    found = {name.removesuffix(COORDINATOR).removesuffix(FINALS) for name in _names(storage) if name.endswith(ends)}
    return sorted(found)


def find_study(storage: BaseStorage, beginning: str) -> str:
    """Find the one study whose identifier begins so.

    Args:
        storage: the storage.
        beginning: the identifier, or a unique beginning of it.

    Returns:
        The study's identifier.

    Raises:
        TrackingError: no study begins so, or several do.
    """
    known = list_studies(storage)
    found = [name for name in known if name == beginning] or [name for name in known if name.startswith(beginning)]
    if len(found) != 1:
        problem = "no study begins with" if not found else "several studies begin with"
        raise TrackingError(f"{problem} {beginning!r} in the storage: it holds {', '.join(known) or 'none'}")
    return found[0]
