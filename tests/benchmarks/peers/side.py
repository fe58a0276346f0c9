"""What a side is: something that has been made ready, and tells how fast it does each thing when it is its turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Activity = Callable[[float], float]
"""Works for about so many seconds, warm, and tells how much it did a second."""


@dataclass(frozen=True)
class Side:
    """One side, compiled and warm.

    Attributes:
        about: what the page states: its ``device`` (``cpu`` or ``gpu``), ``versions`` of its packages, and more.
        activities: what it can be asked to do.
    """

    about: Mapping[str, Any]
    activities: Mapping[str, Activity]


def rate(work: Callable[[], float], seconds: float, finish: Callable[[], None] = lambda: None) -> float:
    """How much ``work`` does a second, called again and again until so many seconds are over.

    Args:
        work: does some, and returns how much.
        seconds: after which no further call begins.
        finish: waits for what was begun; its time counts.
    """
    done, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    finish()
    return done / (time.perf_counter() - began)
