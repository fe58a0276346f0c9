"""A request to stop: Ctrl-C, a scheduler's SIGTERM, or a terminal that is closed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")
# Windows has no SIGHUP.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def _is_left_ignored(number: signal.Signals) -> bool:
    # A shell has its background jobs ignore SIGINT too, and whoever sends that means it.
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) == signal.SIG_IGN


class StopRequest:
    """Turns a signal that stops a process into KeyboardInterrupt, and remembers the request.

    They are Ctrl-C's, SIGTERM, by which a scheduler stops a job, and SIGHUP, which a closed terminal sends, unless it
    is ignored, as after ``nohup``.

    Python raises in whatever code it runs. In a callback of the backend, from the garbage collector or a data pipeline,
    the exception is swallowed or replaced by another one: :meth:`check` then raises it again.
    """

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> StopRequest:
        self.made = False
        # Python allows handlers in the main thread alone; elsewhere, as in a server, whoever runs the thread stops it.
        handled = STOPPING if threading.current_thread() is threading.main_thread() else ()
        handled = tuple(each for each in handled if not _is_left_ignored(each))
        self._earlier = {each: signal.signal(each, self._interrupt) for each in handled}
        self._earlier_hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._earlier.items():
            signal.signal(each, handler)
        sys.unraisablehook = self._earlier_hook

    def _on_unraisable(self, event: Any) -> None:
        # The next check raises what Python swallowed here: a traceback would mislead.
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
        """The result of ``work``; an error that follows a request to stop becomes KeyboardInterrupt."""
        try:
            return work()
        except Exception:
            self.check()
            raise
