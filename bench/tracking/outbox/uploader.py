"""A thread that uploads this process's outboxes, and retries for as long as the store is unreachable."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient

from bench.core.logs import UPLOADER_THREAD, shorten
from bench.tracking.outbox.inside import DeniedPathError, RefusedPathError
from bench.tracking.outbox.outbox import Outbox
from bench.tracking.outbox.records import End, Record
from bench.tracking.outbox.upload import RunRejectedError, Upload

FLUSH_SECONDS = 2.0
"""Seconds for which records are collected: one request per evaluation would take longer than a short evaluation."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds before the next attempt at an unreachable store: doubled after each failure."""
FAILURES_TO_WARN = 2
"""A single failure, such as a dropped connection, is not worth a warning."""
SECONDS_TO_STOP = 5.0
"""Time limit for the running request when the process ends."""

log = logging.getLogger(__name__)


class Uploader:
    """Uploads the outboxes of this process, each in order, in a thread that starts with the first of them.

    All outboxes go to one store, so the thread uploads what is new in all of them at once, and one back-off delays the
    next attempt if any fails.

    Args:
        connect: returns MLflow's client; the uploader calls it again if it fails.
        store: the tracking URI without credentials, for messages.
        root: folder of all outboxes, for messages.
    """

    def __init__(self, connect: Callable[[], MlflowClient], store: str, root: Path) -> None:
        self._connect = connect
        self._store = store
        self._root = root
        self._changed = threading.Condition()
        self._outboxes: list[Outbox] = []
        self._rejected: list[Outbox] = []
        """Outboxes whose run the store rejects, or that somebody altered; a later process tries again."""
        self._due = math.inf
        """When to upload what is new; never if nothing is."""
        self._retry_at = 0.0
        """When the store may be tried again."""
        self._failures = 0
        """Consecutive rounds of uploads in which one failed."""
        self._is_outage_reported = False
        self._is_busy = False
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.problems: list[str] = []
        """What the store rejected, in sentences."""

    def add(self, outbox: Outbox) -> None:
        """Upload an outbox from now on.

        Raises:
            ValueError: the uploader is closed.
        """
        with self._changed:
            if self._is_closed:
                raise ValueError("no run can begin once the tracker is closed")
            self._outboxes.append(outbox)
            self._schedule(0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=UPLOADER_THREAD, daemon=True)
                self._thread.start()
                # A thread that the interpreter stops within a library's native code may crash the process.
                atexit.register(self.close)

    def notify(self, record: Record) -> None:
        """Schedule the upload of a new record: at once if its run ends, otherwise together with those that follow."""
        with self._changed:
            self._schedule(0.0 if isinstance(record, End) else FLUSH_SECONDS)

    def drain(self, seconds: float) -> int:
        """Wait until everything is uploaded, at most for some time; returns the number of records that are left."""
        with self._changed:
            if self._due < math.inf:
                self._retry_at = 0.0
                self._schedule(0.0)
            limit = None if math.isinf(seconds) else seconds
            self._changed.wait_for(lambda: self._is_closed or (math.isinf(self._due) and not self._is_busy), limit)
            return sum(outbox.num_unsent() for outbox in self._outboxes + self._rejected)

    def close(self) -> None:
        """Stop after the running request, and release the outboxes for other processes to take over."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(SECONDS_TO_STOP)
            if self._thread.is_alive():
                return
        for outbox in self._outboxes + self._rejected:
            outbox.release()
        self._outboxes, self._rejected = [], []

    def report(self, problem: str) -> None:
        """Report what is not uploaded, once."""
        if problem not in self.problems:
            self.problems.append(problem)
            log.warning("%s", problem)

    def _schedule(self, seconds: float) -> None:
        self._due = min(self._due, time.monotonic() + seconds)
        self._changed.notify_all()

    def _work(self) -> None:
        while self._wait():
            outboxes = list(self._outboxes)
            errors = [error for each in outboxes if not self._is_closed and (error := self._upload(each))]
            with self._changed:
                if errors:
                    self._failures += 1
                    pause = min(SHORTEST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE)
                    self._retry_at = time.monotonic() + pause
                    self._schedule(0.0)
                else:
                    self._failures, self._retry_at = 0, 0.0
            self._report_outage(errors)

    def _wait(self) -> bool:
        """Wait until an upload is due; False once the uploader is closed."""
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
            while not self._is_closed and (pause := max(self._due, self._retry_at) - time.monotonic()) > 0:
                self._changed.wait(min(pause, threading.TIMEOUT_MAX))
            self._due, self._is_busy = math.inf, True
            return not self._is_closed

    def _upload(self, outbox: Outbox) -> str:
        """Upload what is new in an outbox; the reason if that has to be tried again."""
        try:
            Upload(self._connect(), outbox, self.report, lambda: self._is_closed).send()
            if outbox.state.ended:
                outbox.finish()
                self._remove(outbox)
        except RunRejectedError as error:
            self._set_aside(outbox)
            self.report(f"the tracking store rejected a run ({error}); what it logs is kept in {outbox.folder}")
        except DeniedPathError as error:
            return shorten(str(error))
        except RefusedPathError as error:
            self._set_aside(outbox)
            self.report(f"an outbox is not uploaded: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is lost: the outbox is uploaded again
            if outbox.folder.exists():
                reason = shorten(str(error)) or type(error).__name__
                log.debug("upload of %s failed: %s", outbox.folder, reason)
                return reason
            self._remove(outbox)
            self.report(f"what a run logs is lost: somebody removed {outbox.folder}")
        return ""

    def _set_aside(self, outbox: Outbox) -> None:
        with self._changed:
            self._remove(outbox)
            self._rejected.append(outbox)

    def _remove(self, outbox: Outbox) -> None:
        with self._changed:
            self._outboxes.remove(outbox)

    def _report_outage(self, errors: list[str]) -> None:
        """Warn once of a store that stays unreachable, and once of its return."""
        if self._failures >= FAILURES_TO_WARN and not self._is_outage_reported:
            self._is_outage_reported = True
            log.warning(
                "tracking server %s cannot be reached (%s); what is logged waits in %s",
                *(self._store, errors[0], self._root),
            )
        elif self._is_outage_reported and not errors:
            self._is_outage_reported = False
            log.warning("tracking server %s is back; what waited is uploaded", self._store)
