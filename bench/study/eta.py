"""How long work will still take: by its own pace so far, and by what was expected where there is none yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Clock = Callable[[], float]


class Pace:
    """The pace of one piece of work, in steps.

    The time before the first sign of progress pays for compilation: where a second sign tells the pace without it,
    it is left out.

    Args:
        total: steps in all.
        clock: tells seconds.
    """

    def __init__(self, total: float, clock: Clock = time.monotonic) -> None:
        self.total = total
        self.clock = clock
        self.began = clock()
        self._signs: list[tuple[float, float]] = []

    def at(self, done: float) -> None:
        """Take note that ``done`` steps are done by now."""
        self._signs = [*self._signs[:1], (self.clock(), done)]

    def remaining(self) -> float | None:
        """Seconds until all steps are done; None before the first sign of progress."""
        if not self._signs or self._signs[-1][1] <= 0:
            return None
        earlier = self._signs[0] if len(self._signs) > 1 else (self.began, 0.0)
        latest, done = self._signs[-1]
        steps = done - earlier[1]
        if steps <= 0:
            return None
        seconds = (self.total - done) * (latest - earlier[0]) / steps
        return max(0.0, seconds - (self.clock() - latest))


@dataclass(frozen=True)
class ExpectedRuns:
    """Runs of one kind that a study has before it: their number, and the seconds that one may take."""

    number: int
    seconds: float


class StudyEta:
    """Predicts how long the rest of a study takes.

    A kind of run of which some are finished takes as long as these did on average; one that is still to come takes as
    long as expected, times the ratio by which the finished ones missed their own expectation.

    Args:
        expected: the runs in all, by kind, such as ``vae search``.
        clock: tells seconds.
    """

    def __init__(self, expected: Mapping[str, ExpectedRuns], clock: Clock = time.monotonic) -> None:
        self.expected = expected
        self.clock = clock
        self._left = {kind: runs.number for kind, runs in expected.items()}
        self._measured: dict[str, list[float]] = {kind: [] for kind in expected}
        self._current: tuple[str, float] | None = None

    def begin(self, kind: str) -> None:
        """A run of this kind begins."""
        self._current = (kind, self.clock())

    def end(self) -> None:
        """The run that began last has ended."""
        if self._current is not None:
            kind, began = self._current
            self._measured[kind].append(self.clock() - began)
            self.skip(kind)
            self._current = None

    def skip(self, kind: str, runs: int = 1) -> None:
        """Runs of this kind that need not be done, as when an earlier process did them."""
        self._left[kind] = max(0, self._left[kind] - runs)

    def seconds(self) -> float | None:
        """Seconds until the last run ends; None before any run has ended."""
        if not any(self._measured.values()):
            return None
        total = sum(left * self._each(kind) for kind, left in self._left.items())
        if self._current is not None:
            kind, began = self._current
            total -= min(self.clock() - began, self._each(kind))
        return total

    def _each(self, kind: str) -> float:
        measured = self._measured[kind]
        if measured:
            return sum(measured) / len(measured)
        took = sum(sum(seconds) for seconds in self._measured.values())
        expected = sum(len(seconds) * self.expected[name].seconds for name, seconds in self._measured.items())
        return self.expected[kind].seconds * took / expected
