"""Predicts when work of several kinds ends, from measured times, and from expected ones of kinds not measured yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Expected:
    """Work of one kind: how many units of it, and the expected seconds of one."""

    number: float
    seconds: float = 1.0


class Eta:
    """Predicts the seconds until all work is done.

    A unit takes the mean time of the finished ones of its kind; while there is none, its expected time multiplied by
    the ratio of measured to expected times of all finished units. Time is measured from one :meth:`finish` to the next:
    of units that run in parallel, each takes its share.

    Args:
        expected: all work by kind, such as ``vae search``.
        clock: returns seconds.
    """

    def __init__(self, expected: Mapping[str, Expected], clock: Clock = time.monotonic) -> None:
        self._expected = expected
        self._clock = clock
        self._left = {kind: each.number for kind, each in expected.items()}
        self._done: dict[str, tuple[float, float]] = {}
        self._latest = clock()

    def finish(self, kind: str, number: float = 1, timed: bool = True) -> None:
        """Count finished units; of an earlier process's units the time is unknown (``timed=False``)."""
        self._left[kind] = max(0, self._left[kind] - number)
        if timed and number:
            units, seconds = self._done.get(kind, (0.0, 0.0))
            now = self._clock()
            self._done[kind] = units + number, seconds + now - self._latest
            self._latest = now

    def seconds(self) -> float | None:
        """Seconds until all work is done; None before a unit is finished."""
        if not self._done:
            return None
        total = sum(left * self._unit_seconds(kind) for kind, left in self._left.items())
        return max(0.0, total - (self._clock() - self._latest))

    def _unit_seconds(self, kind: str) -> float:
        if kind in self._done:
            units, seconds = self._done[kind]
            return seconds / units
        measured = sum(seconds for _, seconds in self._done.values())
        expected = sum(units * self._expected[name].seconds for name, (units, _) in self._done.items())
        return self._expected[kind].seconds * measured / expected


class TimeLeft(Eta):
    """Counts down to the end of a time that work fills, however long its units take.

    Args:
        seconds: until then.
        clock: returns seconds.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        super().__init__({}, clock)
        self._end = clock() + seconds

    def finish(self, kind: str, number: float = 1, timed: bool = True) -> None:
        """Do nothing: finished units do not change the end."""

    def shorten(self, seconds: float) -> None:
        """Count what was used before."""
        self._end -= seconds

    def seconds(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._end - self._clock())
