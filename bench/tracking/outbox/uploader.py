"""A thread that uploads this process's outboxes, and waits as long as it takes for a store that is away."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient

from bench.core.logs import UPLOADER_THREAD, shortened
from bench.tracking.outbox.outbox import Outbox
from bench.tracking.outbox.records import Creation, End, Record
from bench.tracking.outbox.upload import RunRejectedError, Upload

FLUSH_SECONDS = 2.0
"""What is logged is sent this often, not once an epoch: a request costs more than a short epoch."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between attempts at a store that is away."""
FAILURES_TO_TELL = 2
"""A single failure, such as a connection that was cut, is nothing that a person need know of."""
SECONDS_TO_STOP = 5.0
"""For the request under way, when the process ends."""

log = logging.getLogger(__name__)


class Uploader:
    """Delivers outboxes of this process, each line in its order, by a thread that begins with the first of them.

    Args:
        connect: gives MLflow's client; may fail, and is then called again.
        store: the tracking URI without credentials, as it is told.
        root: folder of all outboxes, as it is told.
    """

    def __init__(self, connect: Callable[[], MlflowClient], store: str, root: Path) -> None:
        self._connect = connect
        self._store = store
        self._root = root
        self._changed = threading.Condition()
        self._outboxes: list[Outbox] = []
        self._due: dict[Outbox, float] = {}
        """When the outboxes that have something to upload are to be uploaded."""
        self._aside: list[Outbox] = []
        """Those whose run the store refused."""
        self._failures: dict[Outbox, int] = {}
        """Failures one after the other of outboxes whose upload fails."""
        self._told_away = False
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self.problems: list[str] = []
        """What the store refused, in sentences."""

    def add(self, outbox: Outbox) -> None:
        """Upload an outbox from now on.

        Raises:
            ValueError: the uploader is closed.
        """
        with self._changed:
            if self._closed:
                raise ValueError("no run can begin once the tracker is closed")
            self._outboxes.append(outbox)
            self._due[outbox] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=UPLOADER_THREAD, daemon=True)
                self._thread.start()
                # A thread that is cut off within a library's own code may take the process down with it.
                atexit.register(self.close)
            self._changed.notify_all()

    def notice(self, outbox: Outbox, record: Record) -> None:
        """Take note of a line that was added: a run's beginning and end are sent at once, others with what follows."""
        pause = 0.0 if isinstance(record, Creation | End) else FLUSH_SECONDS
        due = time.monotonic() + pause
        with self._changed:
            if outbox not in self._outboxes:
                return
            # An outbox that waits for its store's return goes on waiting.
            if outbox in self._failures or self._due.get(outbox, math.inf) <= due:
                self._due.setdefault(outbox, due)
                return
            self._due[outbox] = due
            self._changed.notify_all()

    def drain(self, seconds: float) -> int:
        """Wait until everything is uploaded, or the time is over; gives the lines that are left."""
        with self._changed:
            now = time.monotonic()
            self._due = dict.fromkeys(self._due, now)
            self._changed.notify_all()
            limit = None if math.isinf(seconds) else seconds
            self._changed.wait_for(lambda: self._closed or not (self._due or self._busy), limit)
            return sum(outbox.waiting() for outbox in self._outboxes + self._aside)

    def close(self) -> None:
        """Stop after the request that is under way; other processes may take the outboxes that are left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(SECONDS_TO_STOP)
            if self._thread.is_alive():
                return
        for outbox in self._outboxes + self._aside:
            outbox.release()
        self._outboxes, self._aside = [], []

    def tell(self, problem: str) -> None:
        """Tell what the store refused."""
        self.problems.append(problem)
        log.warning("%s", problem)

    def _work(self) -> None:
        while (outbox := self._next()) is not None:
            try:
                Upload(self._connect(), outbox, self.tell, lambda: self._closed).send()
                if outbox.state.ended:
                    outbox.finish()
            except RunRejectedError as error:
                self._set_aside(outbox)
                self.tell(f"the tracking store refused a run ({error}); what it logs is kept in {outbox.folder}")
            except Exception as error:  # noqa: BLE001 - whatever it is, what is logged is not lost, and it is told
                self._fail(outbox, error)
            else:
                self._succeed(outbox)

    def _next(self) -> Outbox | None:
        """The outbox that is to be uploaded next, when it is due; None at the end."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._closed:
                outbox = min(self._due, key=self._due.__getitem__, default=None)
                pause = None if outbox is None else self._due[outbox] - time.monotonic()
                if outbox is not None and pause is not None and pause <= 0:
                    del self._due[outbox]
                    self._busy = True
                    return outbox
                self._changed.wait(pause)
            return None

    def _set_aside(self, outbox: Outbox) -> None:
        """Leave an outbox that cannot be uploaded where it is, for a later process."""
        with self._changed:
            self._aside.append(outbox)
            self._forget(outbox)

    def _forget(self, outbox: Outbox) -> None:
        self._outboxes.remove(outbox)
        self._due.pop(outbox, None)
        self._failures.pop(outbox, None)

    def _fail(self, outbox: Outbox, error: Exception) -> None:
        reason = shortened(str(error))
        if not outbox.folder.exists():
            with self._changed:
                self._forget(outbox)
            self.tell(f"what a run logs is lost, for somebody removed {outbox.folder}")
            return
        with self._changed:
            failures = self._failures[outbox] = self._failures.get(outbox, 0) + 1
            self._due[outbox] = time.monotonic() + min(SHORTEST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
            tell = failures >= FAILURES_TO_TELL and not self._told_away
            self._told_away |= tell
        log.debug("attempt %d to upload %s: %s", failures, outbox.folder, reason)
        if tell:
            log.warning(
                "tracking server %s cannot be reached (%s); what is logged waits in %s", self._store, reason, self._root
            )

    def _succeed(self, outbox: Outbox) -> None:
        with self._changed:
            self._failures.pop(outbox, None)
            if outbox.state.ended:
                self._forget(outbox)
            back = self._told_away and not self._failures
            self._told_away &= not back
        if back:
            log.warning("tracking server %s is back; what waited is uploaded", self._store)
