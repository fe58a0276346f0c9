"""What the processes of one study share beside its searches: its specification, its coordinator, its final runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from optuna.storages import BaseStorage

from bench.core.errors import SettingsError, TrackingError
from bench.search.heartbeat import Heartbeat
from bench.search.lock import Lock, LockedError
from bench.search.queue import Queue
from bench.search.storage import COORDINATOR, FINALS, with_retries


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
        self.finals = Queue(storage, f"{study_id}{FINALS}", lease=lease)
        """The final runs. Their notes hold the arm, the configuration and the seed."""
        self._coordinator = Lock(storage, f"{study_id}{COORDINATOR}", lease)

    @property
    def specification(self) -> dict[str, Any] | None:
        """The latest published specification."""
        found = with_retries(lambda: self.finals.study.user_attrs).get("specification")
        return None if found is None else dict(found)

    def publish(self, specification: Mapping[str, Any]) -> None:
        """Publish the study's specification, JSON, for workers to read."""
        with_retries(lambda: self.finals.study.set_user_attr("specification", dict(specification)))

    @property
    def is_finished(self) -> bool:
        """Whether there is no coordinator, so that no further tasks will be offered."""
        return self.coordinator_beat() is None

    def coordinator_beat(self) -> object:
        """Changes while the coordinator lives; None without a coordinator."""
        return self._coordinator.heartbeat()

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
    names = with_retries(lambda: [study.study_name for study in storage.get_all_studies()])
    known = sorted(name.removesuffix(FINALS) for name in names if name.endswith(FINALS))
    found = [name for name in known if name == beginning] or [name for name in known if name.startswith(beginning)]
    if len(found) != 1:
        problem = "no study begins with" if not found else "several studies begin with"
        raise TrackingError(f"{problem} {beginning!r} in the storage: it holds {', '.join(known) or 'none'}")
    return found[0]
