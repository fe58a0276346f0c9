"""Where the ticks of a logarithmic axis stand, the same in both renderers."""

from __future__ import annotations

import math

SMALL = 8.0
"""A range of less than this ratio is divided as a linear axis is, by the renderer."""


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5, at 1 and 3, or at powers of ten, by how many fit; none where the range is small."""
    if not 0 < low < high or high < SMALL * low:
        return []
    steps = (1, 2, 5) if high < 80 * low else (1, 3) if high < 2000 * low else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [step * 10.0**exponent for exponent in exponents for step in steps]
    shown = [place for place in places if low * 0.999 <= place <= high * 1.001]
    return shown[:: 1 + len(shown) // 8]


def log2_ticks(low: float, high: float) -> list[float]:
    """Ticks at powers of two, at most about eight."""
    if not 0 < low <= high:
        return []
    shown = [2.0**exponent for exponent in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return shown[:: 1 + len(shown) // 9]
