"""What a search had found by what it had cost: what a user has who stops before the final runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.results import RunState

if TYPE_CHECKING:
    from reports.analysis.costs import Cost, Costs

LOST = (RunState.DIVERGED, RunState.FAILED, RunState.OUT_OF_MEMORY)
"""Attempts that ended so cost what they cost, and left no value."""


@dataclass(frozen=True)
class SearchCourse:
    """The best likelihood so far of an arm's search against what all its attempts had cost until then.

    A search is made once, and its best is the lowest of many, which flatters: there is no interval.

    Attributes:
        cost: at each evaluation of any attempt, ascending.
        value: the lowest validation bits/dim until then, by the one-sample bound, of attempts that did not diverge or
            fail: also of pruned ones, though complete trials are selected where there are any.
    """

    cost: np.ndarray
    value: np.ndarray

    def level(self, cost: float) -> float:
        """The best by a cost; NaN before the first evaluation."""
        place = int(np.searchsorted(self.cost, cost, side="right")) - 1
        return float(self.value[place]) if place >= 0 else math.nan


def search_course(spent: Costs, cost: Cost, arm: str) -> SearchCourse | None:
    """The course of an arm's search; None where it has no evaluation, or the cost of one is not known.

    Attempts of several workers overlap: their evaluations are ordered by the time at which they were made, as far as it
    is known by when an attempt started and how long it had trained.
    """
    study = spent.study
    attempts = study.attempts[study.attempts["arm"] == arm].set_index("run_id")
    points = spent.own_evaluations
    points = points[points["run_id"].isin(attempts.index)]
    if points.empty:
        return None
    runs = points["run_id"].astype(object)
    started = pd.to_datetime(runs.map(attempts["started"]), errors="coerce", utc=True)
    trained = points.groupby(runs, sort=False)["own_seconds"].cumsum()
    order = (started + pd.to_timedelta(trained, unit="s")).fillna(started).sort_values(kind="stable").index
    amount = spent.of_evaluations(cost, points)[order].cumsum().to_numpy(dtype=float)
    has_value = ~runs.map(attempts["state"]).isin(LOST)
    best = points["value"].where(has_value)[order].cummin().ffill().to_numpy(dtype=float)
    known = np.isfinite(best)
    return SearchCourse(amount[known], best[known]) if known.any() and np.isfinite(amount).all() else None
