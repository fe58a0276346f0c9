"""The wall clock of a study's processes, which a test sets forward and back while they run."""

from __future__ import annotations

import datetime
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any

_OFFSET = struct.Struct("d")


class Clock:
    """How far the wall clock of the processes that :func:`follow` it is from this machine's.

    Args:
        path: a file that they share.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0
        self._write()

    def step(self, seconds: float) -> None:
        """Set it forward, or back by less than nothing."""
        self.seconds += seconds
        self._write()

    def _write(self) -> None:
        # In place: the processes have mapped the file.
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(_OFFSET.pack(self.seconds))


def follow(path: Path) -> None:
    """Have this process tell the time by a :class:`Clock`: by ``time`` and ``datetime``, not by monotonic clocks."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    seconds, nanoseconds, day = time.time, time.time_ns, datetime.datetime

    def offset() -> float:
        return float(_OFFSET.unpack_from(shared)[0])

    class Stepped(day):  # type: ignore[valid-type, misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return day.now(tz) + datetime.timedelta(seconds=offset())

    time.time = lambda: seconds() + offset()
    time.time_ns = lambda: nanoseconds() + int(offset() * 1e9)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("bench", "optuna", "mlflow") and getattr(module, "datetime", None) is day:
            module.datetime = Stepped  # type: ignore[attr-defined]
