"""An estimate with its standard error, and checks and errors that all metrics of two sets of features share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.errors import SettingsError
from bench.core.metrics import SMALLEST_SET

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

GROUPS = 10
"""Groups of the jackknife."""


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    standard_error: float


def check_features(x: Array, y: Array, smallest: int = SMALLEST_SET, why: str = "") -> None:
    """Check that two sets of features (m, d) and (n, d) can be compared.

    Args:
        x: the first set.
        y: the second set.
        smallest: least number of members of each.
        why: reason for that number, for the error message.

    Raises:
        SettingsError: they are not two sets of vectors of one length, or a set is too small.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise SettingsError(f"features have shapes {x.shape} and {y.shape}; (m, d) and (n, d) are accepted.")
    if min(len(x), len(y)) < smallest:
        raise SettingsError(f"needs at least {smallest} images in each set{why}, got {len(x)} and {len(y)}.")


def group_jackknife(m: int, n: int, statistic: Callable[[Mask, Mask], float]) -> float:
    """Standard error of a statistic of two independent sets, by the delete-a-group jackknife.

    √((G-1)/G Σ_g (θ_g - mean θ)²), where θ_g is the statistic without the g-th of G = 10 groups of both sets
    (Shao & Tu 1995, section 5.1). Groups are formed by order, so the sets must be in random order.

    Args:
        m: size of the first set.
        n: size of the second set.
        statistic: a function of the members to keep, as masks (m,) and (n,).
    """
    left_out = [statistic(np.arange(m) % GROUPS != g, np.arange(n) % GROUPS != g) for g in range(GROUPS)]
    return float(np.sqrt((GROUPS - 1) * np.var(left_out)))
