"""What the processes of one study share beside its searches: its specification, who is in charge, its final runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage

from bench.core.errors import SettingsError, TrackingError
from bench.search.heartbeat import BEATS_PER_LEASE, Heartbeat, Watch
from bench.search.processes import Owner, is_surely_dead, is_this_machine, this_process
from bench.search.queue import Queue
from bench.search.storage import with_retries

log = logging.getLogger(__name__)

_FINALS = "/final"


class StudyRecord:
    """The study in the storage.

    Args:
        storage: where it is kept.
        study_id: the study's identifier.
        lease: seconds without a sign of life after which a process is taken for dead.
    """

    def __init__(self, storage: BaseStorage, study_id: str, lease: float) -> None:
        self.storage = storage
        self.study_id = study_id
        self.lease = lease
        self.finals = Queue(storage, f"{study_id}{_FINALS}", lease=lease)
        """The final runs. Their notes name the arm, the configuration and the seed."""

    @property
    def specification(self) -> dict[str, Any] | None:
        """What was published last."""
        found = self._read().get("specification")
        return None if found is None else dict(found)

    def publish(self, specification: Mapping[str, Any]) -> None:
        """Let workers know what the study is; ``specification`` goes into JSON."""
        self._write("specification", dict(specification))

    @property
    def is_finished(self) -> bool:
        """Whether the coordinator has ended, so that no further task will be offered."""
        return self._read().get("coordinator") is None

    def coordinator_beat(self) -> object:
        """Changes as long as the coordinator lives."""
        return self._read().get("coordinator")

    @contextmanager
    def coordinator_lock(self) -> Iterator[None]:
        """Be the study's only coordinator while the block runs.

        Raises:
            SettingsError: another process is that.
        """
        self._wait_for_an_earlier_one()
        owner = this_process()
        self._write("coordinator", {"owner": owner, "beat": 0})
        try:
            with Heartbeat(lambda count: self._beat(owner, count), self.lease):
                yield
        finally:
            self._write("coordinator", None)

    def _wait_for_an_earlier_one(self) -> None:
        """Return once there is surely no other: at once, but for one of another machine, which is watched for a while.

        A living one there is known by its next sign of life.
        """
        watch = Watch(self.lease)
        first = self._read().get("coordinator")
        while True:
            held = self._read().get("coordinator")
            if held is None or is_surely_dead(held["owner"]):
                return
            if held != first or is_this_machine(held["owner"]):
                owner = held["owner"]
                raise SettingsError(
                    f"{self.study_id} is being run by process {owner['pid']} on {owner['host']}: to work on it too, "
                    f"reparam-bench worker {self.study_id}"
                )
            if watch.still("coordinator", held["beat"]) > self.lease:
                return
            log.info(
                "%s: watching for %g s whether its coordinator on another machine lives", self.study_id, self.lease
            )
            time.sleep(self.lease / BEATS_PER_LEASE)

    def _read(self) -> dict[str, Any]:
        return with_retries(lambda: self.finals.study.user_attrs)

    def _beat(self, owner: Owner, count: int) -> None:
        """A sign of life. It is not waited for: the next one is due before long."""
        self.finals.study.set_user_attr("coordinator", {"owner": owner, "beat": count})

    def _write(self, name: str, value: Any) -> None:
        with_retries(lambda: self.finals.study.set_user_attr(name, value))


def find_study(storage: BaseStorage, beginning: str) -> str:
    """The identifier of the one study that begins so.

    Raises:
        TrackingError: none does, or several.
    """
    names = with_retries(lambda: [study.study_name for study in storage.get_all_studies()])
    known = sorted(name.removesuffix(_FINALS) for name in names if name.endswith(_FINALS))
    found = [name for name in known if name == beginning] or [name for name in known if name.startswith(beginning)]
    if len(found) != 1:
        problem = "no study begins with" if not found else "several studies begin with"
        raise TrackingError(f"{problem} {beginning!r} in the storage: it holds {', '.join(known) or 'none'}")
    return found[0]
