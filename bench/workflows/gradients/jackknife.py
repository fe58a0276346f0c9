"""Monte Carlo errors of statistics of averages, by the jackknife over blocks of draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Numbers with their standard errors, elementwise."""

    value: Array
    standard_error: Array


def jackknife(statistic: Callable[[Array], Array | float], blocks: Array) -> Estimate:
    """A statistic of block averages, and its standard error by leaving out one block at a time.

    se² = (B-1)/B Σ_b (t_b - t̄)², t_b being the statistic without block b (Efron & Tibshirani 1993, eq. 11.5). Unlike
    the spread of the statistic over blocks, it is valid for ratios and fits, which are not averages.

    Args:
        statistic: a function of the mean over blocks, of any shape.
        blocks: averages over blocks of equally many independent draws, (B, ...), B >= 2.

    Raises:
        ValueError: there are fewer than two blocks.
    """
    b = len(blocks)
    if b < 2:
        raise ValueError(f"the jackknife needs at least 2 blocks, got {b}")
    total = blocks.sum(axis=0)
    left_out = np.stack([np.asarray(statistic((total - block) / (b - 1))) for block in blocks])
    spread = np.sqrt((b - 1) * np.mean((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    return Estimate(np.asarray(statistic(total / b), dtype=np.float64), np.asarray(spread))
