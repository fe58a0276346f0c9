"""Heartbeats: a counter that a working process increments, and a watch for counters that stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from types import TracebackType

from bench.core.errors import LostTrialError

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 6
"""Heartbeats per lease, so that a few may fail."""


class Heartbeat:
    """A thread that sends heartbeats while the block runs.

    Args:
        beat: sends the heartbeat of the given count; raises :class:`LostTrialError` if others took the work away.
        lease: seconds without a heartbeat after which others take the work away.
    """

    def __init__(self, beat: Callable[[int], None], lease: float) -> None:
        self._beat = beat
        self._seconds = lease / BEATS_PER_LEASE
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether a heartbeat found that others took the work away."""
        return self._lost.is_set()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()

    def _run(self) -> None:
        count = 0
        while not self._over.wait(self._seconds):
            count += 1
            try:
                self._beat(count)
            except LostTrialError:
                self._lost.set()
                return
            except Exception:
                # A missed heartbeat is no reason to stop: the work itself uses the storage soon, and fails there.
                log.warning("a heartbeat failed", exc_info=True)


class Watch:
    """Measures how long counters stay unchanged, by its own clock, since hosts' clocks need not agree.

    If the watching process was itself paused or cut off from the storage, so may those have been that it watches:
    between two observations, at most half a lease counts.

    Args:
        lease: seconds without a change after which the counting process counts as dead.
        clock: returns seconds from any origin.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap = lease / 2
        self._clock = clock
        self._seen: dict[Hashable, tuple[object, float, float]] = {}

    def seconds_unchanged(self, key: Hashable, counter: object) -> float:
        """Observe the counter of ``key``; returns the seconds for which it has had this value, at first 0."""
        now = self._clock()
        seen, last, seconds = self._seen.get(key, (None, now, 0.0))
        seconds = seconds + min(now - last, self._longest_gap) if seen == counter else 0.0
        self._seen[key] = (counter, now, seconds)
        return seconds
