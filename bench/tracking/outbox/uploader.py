"""The courier: a thread that delivers this process's spools, and waits as long as it takes for a store that is away."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient

from bench.core.logs import COURIER_THREAD, shortened
from bench.tracking.outbox.outbox import Spool
from bench.tracking.outbox.records import Creation, End, Entry
from bench.tracking.outbox.upload import Delivery, RunRefusedError

FLUSH_SECONDS = 2.0
"""What is logged is sent this often, not once an epoch: a request costs more than a short epoch."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between attempts at a store that is away."""
FAILURES_TO_TELL = 2
"""A single failure, such as a connection that was cut, is nothing that a person need know of."""
SECONDS_TO_STOP = 5.0
"""For the request under way, when the process ends."""

log = logging.getLogger(__name__)


class Courier:
    """Delivers spools of this process, each line in its order, by a thread that begins with the first of them.

    Args:
        connect: gives MLflow's client; may fail, and is then called again.
        store: the tracking URI without credentials, as it is told.
        root: folder of all spools, as it is told.
    """

    def __init__(self, connect: Callable[[], MlflowClient], store: str, root: Path) -> None:
        self._connect = connect
        self._store = store
        self._root = root
        self._changed = threading.Condition()
        self._spools: list[Spool] = []
        self._due: dict[Spool, float] = {}
        """When the spools that have something to deliver are to be delivered."""
        self._aside: list[Spool] = []
        """Those whose run the store refused."""
        self._failures: dict[Spool, int] = {}
        """Failures one after the other of spools whose delivery fails."""
        self._told_away = False
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self.problems: list[str] = []
        """What the store refused, in sentences."""

    def add(self, spool: Spool) -> None:
        """Deliver a spool from now on.

        Raises:
            ValueError: the courier is closed.
        """
        with self._changed:
            if self._closed:
                raise ValueError("no run can begin once the tracker is closed")
            self._spools.append(spool)
            self._due[spool] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=COURIER_THREAD, daemon=True)
                self._thread.start()
                # A thread that is cut off within a library's own code may take the process down with it.
                atexit.register(self.close)
            self._changed.notify_all()

    def notice(self, spool: Spool, entry: Entry) -> None:
        """Take note of a line that was added: a run's beginning and end are sent at once, others with what follows."""
        pause = 0.0 if isinstance(entry, Creation | End) else FLUSH_SECONDS
        due = time.monotonic() + pause
        with self._changed:
            if spool not in self._spools:
                return
            # A spool that waits for its store's return goes on waiting.
            if spool in self._failures or self._due.get(spool, math.inf) <= due:
                self._due.setdefault(spool, due)
                return
            self._due[spool] = due
            self._changed.notify_all()

    def drain(self, seconds: float) -> int:
        """Wait until everything is delivered, or the time is over; gives the lines that are left."""
        with self._changed:
            now = time.monotonic()
            self._due = dict.fromkeys(self._due, now)
            self._changed.notify_all()
            limit = None if math.isinf(seconds) else seconds
            self._changed.wait_for(lambda: self._closed or not (self._due or self._busy), limit)
            return sum(spool.waiting() for spool in self._spools + self._aside)

    def close(self) -> None:
        """Stop after the request that is under way; other processes may take the spools that are left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(SECONDS_TO_STOP)
            if self._thread.is_alive():
                return
        for spool in self._spools + self._aside:
            spool.release()
        self._spools, self._aside = [], []

    def tell(self, problem: str) -> None:
        """Tell what the store refused."""
        self.problems.append(problem)
        log.warning("%s", problem)

    def _work(self) -> None:
        while (spool := self._next()) is not None:
            try:
                Delivery(self._connect(), spool, self.tell, lambda: self._closed).send()
                if spool.state.ended:
                    spool.finish()
            except RunRefusedError as error:
                self._set_aside(spool)
                self.tell(f"the tracking store refused a run ({error}); what it logs is kept in {spool.folder}")
            except Exception as error:  # noqa: BLE001 - whatever it is, what is logged is not lost, and it is told
                self._fail(spool, error)
            else:
                self._succeed(spool)

    def _next(self) -> Spool | None:
        """The spool that is to be delivered next, when it is due; None at the end."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._closed:
                spool = min(self._due, key=self._due.__getitem__, default=None)
                pause = None if spool is None else self._due[spool] - time.monotonic()
                if spool is not None and pause is not None and pause <= 0:
                    del self._due[spool]
                    self._busy = True
                    return spool
                self._changed.wait(pause)
            return None

    def _set_aside(self, spool: Spool) -> None:
        """Leave a spool that cannot be delivered where it is, for a later process."""
        with self._changed:
            self._aside.append(spool)
            self._forget(spool)

    def _forget(self, spool: Spool) -> None:
        self._spools.remove(spool)
        self._due.pop(spool, None)
        self._failures.pop(spool, None)

    def _fail(self, spool: Spool, error: Exception) -> None:
        reason = shortened(str(error))
        if not spool.folder.exists():
            with self._changed:
                self._forget(spool)
            self.tell(f"what a run logs is lost, for somebody removed {spool.folder}")
            return
        with self._changed:
            failures = self._failures[spool] = self._failures.get(spool, 0) + 1
            self._due[spool] = time.monotonic() + min(SHORTEST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
            tell = failures >= FAILURES_TO_TELL and not self._told_away
            self._told_away |= tell
        log.debug("attempt %d to deliver %s: %s", failures, spool.folder, reason)
        if tell:
            log.warning(
                "tracking server %s cannot be reached (%s); what is logged waits in %s", self._store, reason, self._root
            )

    def _succeed(self, spool: Spool) -> None:
        with self._changed:
            self._failures.pop(spool, None)
            if spool.state.ended:
                self._forget(spool)
            back = self._told_away and not self._failures
            self._told_away &= not back
        if back:
            log.warning("tracking server %s is back; what waited is delivered", self._store)
