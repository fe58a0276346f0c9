"""A request to stop: Ctrl-C, or a scheduler's SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class StopRequest:
    """Ctrl-C and SIGTERM, a scheduler's way to stop a job: both raise KeyboardInterrupt, and are remembered.

    Python raises in whatever it is doing. If that is a callback of the backend's, from its garbage collector or its
    data pipeline, the exception is ignored or comes out as another one: then it is the memory that counts.
    """

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> StopRequest:
        self.made = False
        self._earlier = {each: signal.signal(each, self._interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
        self._earlier_hook, sys.unraisablehook = sys.unraisablehook, self._ignored
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._earlier.items():
            signal.signal(each, handler)
        sys.unraisablehook = self._earlier_hook

    def _ignored(self, event: Any) -> None:
        # What Python ignored is run_interruptible at the next check: a traceback would alarm for nothing.
        if not isinstance(event.exc_value, KeyboardInterrupt):
            self._earlier_hook(event)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested."""
        if self.made:
            raise KeyboardInterrupt

    def run_interruptible(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``; an error that a request to stop came out as is that request."""
        try:
            return work()
        except Exception:
            self.check()
            raise
