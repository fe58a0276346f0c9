"""Durations as people write them: ``90s``, ``30m``, ``1h30m``, or a number of seconds."""

from __future__ import annotations

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"\d+(?:\.\d+)?"
_SECONDS = re.compile(_NUMBER, re.ASCII)
_DURATION = re.compile("".join(f"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS), re.ASCII)


def parse_duration(value: object) -> object:
    """Seconds of a duration such as ``1h30m``; anything but text is returned as it is.

    Raises:
        ValueError: the text is none.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError("a duration such as 90s, 30m or 1h30m, or a number of seconds")
    return sum(float(found[unit] or 0) * seconds for unit, seconds in _UNITS.items())


def format_duration(seconds: float) -> str:
    """A duration in the largest unit that reads well: ``75 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
