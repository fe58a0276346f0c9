"""From measurements to the numbers that the page states.

Notation: per family f the final runs give y_{f,s}, the test bits/dim of training seed s = 1..S_f.
The mean over seeds has the standard error sd(y_f) / sqrt(S_f); two families are compared by Welch's interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.results import METRICS, RunState

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes:
        mean: in the metric's unit.
        error: standard error of the mean over seeds where ``seeds`` >= 2, else the run's own; None where unknown.
        seeds: number of final runs, one a training seed.
        excluded: number of final runs whose value is not finite and is not in the mean.
    """

    mean: float
    error: float | None
    seeds: int
    excluded: int = 0


@dataclass(frozen=True)
class Interval:
    """A difference with its interval at `LEVEL`; ``over_seeds`` says whether training seeds or images vary in it."""

    value: float
    low: float
    high: float
    over_seeds: bool

    @property
    def contains_zero(self) -> bool:
        """Whether the data leave the sign of the difference open."""
        return self.low <= 0 <= self.high


def estimate(frame: pd.DataFrame) -> Estimate | None:
    """Mean and standard error of one metric's measurements, one row a seed; None where no value is finite."""
    finite = frame[np.isfinite(frame["value"])]
    if finite.empty:
        return None
    values = finite["value"].to_numpy(dtype=float)
    if len(values) >= 2:
        error: float | None = float(stats.sem(values))
    else:
        own = float(finite["standard_error"].iloc[0])
        error = own if math.isfinite(own) else None
    return Estimate(float(values.mean()), error, len(values), len(frame) - len(finite))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's t interval at `LEVEL` for the mean of at least two values."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def compare(a: pd.DataFrame, b: pd.DataFrame) -> Interval | None:
    """The difference of two families' means, a - b, with its interval at `LEVEL`.

    Welch's t interval (Welch 1947) over training seeds where both families have two finite values or more. Otherwise
    the normal interval from the standard errors over test images (and over seeds, in a family that has several), all
    taken as independent. None where neither can be had, or where every seed gave the same value.
    """
    first, second = (frame[np.isfinite(frame["value"])] for frame in (a, b))
    if first.empty or second.empty:
        return None
    x, y = first["value"].to_numpy(dtype=float), second["value"].to_numpy(dtype=float)
    value = float(x.mean() - y.mean())
    if min(len(x), len(y)) >= 2:
        if np.ptp(x) == 0 and np.ptp(y) == 0:
            return None
        welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval(LEVEL)
        return Interval(value, float(welch.low), float(welch.high), over_seeds=True)
    half = float(stats.norm.ppf((1 + LEVEL) / 2) * math.hypot(_error(first), _error(second)))
    return Interval(value, value - half, value + half, over_seeds=False) if math.isfinite(half) else None


def _error(frame: pd.DataFrame) -> float:
    """Standard error over test images, which seeds share so that it does not average out, with that over seeds."""
    over_seeds = float(stats.sem(frame["value"])) if len(frame) > 1 else 0.0
    return math.hypot(float(frame["standard_error"].mean(skipna=False)), over_seeds)


def states(frame: pd.DataFrame) -> pd.DataFrame:
    """Number of runs by family (rows) and state (columns, every state of `RunState` and any other that occurs)."""
    table = pd.crosstab(frame["family"], frame["state"])
    known = sorted(map(str, RunState), key=lambda state: state == RunState.RUNNING)
    others = sorted(set(table.columns) - set(known))
    table = table.reindex(index=frame["family"].unique(), columns=[*known, *others], fill_value=0)
    return table.astype(int)


def reasons(frame: pd.DataFrame) -> pd.DataFrame:
    """Number of runs by ``family``, ``role``, ``state`` and ``reason``, for all that did not complete and say why."""
    unfinished = frame[~frame["state"].isin([RunState.COMPLETE, RunState.RUNNING])].copy()
    unfinished["reason"] = unfinished["reason"].astype(object).where(unfinished["reason"].notna(), "").map(str)
    unfinished = unfinished[(unfinished["reason"].str.strip() != "") | (unfinished["state"] != RunState.PRUNED)]
    table = unfinished.groupby(["family", "role", "state", "reason"], sort=False).size().reset_index(name="count")
    return table.sort_values("count", ascending=False, kind="stable")


def metric_order(names: set[str]) -> list[str]:
    """Metric names in the schema's order, those that it does not define last."""
    return [name for name in METRICS if name in names] + sorted(names - set(METRICS))
