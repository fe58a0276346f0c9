"""Signs of life: a counter that a working process keeps counting up, and those who watch it stand still."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from types import TracebackType

from bench.core.errors import LostTrialError

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 6
"""So many signs of life fall into the time after which one that is missing means death."""


class Heartbeat:
    """A thread that gives a sign of life while the block runs.

    Args:
        beat: gives the sign, the given count; it raises :class:`LostTrialError` where nobody waits for one any more.
        lease: seconds without a sign after which others take the work away.
    """

    def __init__(self, beat: Callable[[int], None], lease: float) -> None:
        self._beat = beat
        self._seconds = lease / BEATS_PER_LEASE
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the work was found to be taken away."""
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
                # The work itself meets the storage again, and decides: a sign that is missed is no reason to end it.
                log.warning("no sign of life could be given", exc_info=True)


class Watch:
    """Tells for how long a counter has stood still, by the watcher's own clock: hosts' clocks need not agree.

    A watcher that did not look for long knows nothing of that time: it may have been stopped, or cut off from the
    storage, and with it those whom it watches. Between two looks half the lease counts at most.

    Args:
        lease: seconds of standing still that mean death.
        clock: seconds, of any beginning.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap = lease / 2
        self._clock = clock
        self._seen: dict[Hashable, tuple[object, float, float]] = {}

    def still(self, key: Hashable, counter: object) -> float:
        """Seconds for which the counter of ``key`` has been seen at this value; 0 the first time."""
        now = self._clock()
        seen, last, seconds = self._seen.get(key, (None, now, 0.0))
        seconds = seconds + min(now - last, self._longest_gap) if seen == counter else 0.0
        self._seen[key] = (counter, now, seconds)
        return seconds
