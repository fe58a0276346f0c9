"""What a search had found by what it had cost: what a user has who stops before the final runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.results import RunState
from reports.analysis.costs import Search
from reports.analysis.points import groups, spread

if TYPE_CHECKING:
    from reports.analysis.costs import Cost, Costs

LOST = (RunState.DIVERGED, RunState.FAILED, RunState.OUT_OF_MEMORY)
"""Attempts that ended so cost what they cost, and left no value."""


@dataclass(frozen=True)
class SearchCourse:
    """The best likelihood so far of an arm's search against what all its attempts had cost until then.

    A search is made once, and its best is the lowest of many, which flatters: there is no interval.

    Attributes:
        cost: at each evaluation that lowered the best, of any attempt, ascending.
        value: the lowest validation bits/dim from then on, by the one-sample bound, of attempts that did not diverge or
            fail: also of pruned ones, though complete trials are selected where there are any.
    """

    cost: np.ndarray
    value: np.ndarray

    def level(self, cost: float) -> float:
        """The best by a cost; NaN before the first evaluation."""
        place = int(np.searchsorted(self.cost, cost, side="right")) - 1
        return float(self.value[place]) if place >= 0 else math.nan


def search_course(spent: Costs, cost: Cost, arm: str) -> SearchCourse | None:
    """The course of an arm's search; None where it has no evaluation, or the cost of one is not known."""
    if arm not in spent.searches:
        spent.searches[arm] = _search(spent, arm)
    search = spent.searches[arm]
    if search is None:
        return None
    # Of the points as they lie, then in order: the sums over runs that share out energy would round differently.
    amount = spent.of_evaluations(cost, search.points).iloc[search.order].cumsum().to_numpy(dtype=float)
    return SearchCourse(amount[search.lower], search.best) if len(search.best) and np.isfinite(amount).all() else None


def _search(spent: Costs, arm: str) -> Search | None:
    """The evaluations of an arm's search; None where it has none.

    Attempts of several workers overlap: their evaluations are ordered by the time at which they were made, as far as it
    is known by when an attempt started and how long it had trained.
    """
    attempts = spent.study.attempts[spent.study.attempts["arm"] == arm].set_index("run_id")
    points = spent.own_evaluations
    points = points[points["run_id"].isin(attempts.index)]
    if points.empty:
        return None
    runs = points["run_id"]
    started = pd.to_datetime(spread(attempts["started"], runs), errors="coerce", utc=True)
    trained = points.groupby(groups(runs), sort=False)["own_seconds"].cumsum()
    made = (started + pd.to_timedelta(trained, unit="s")).fillna(started)
    order = made.reset_index(drop=True).sort_values(kind="stable").index.to_numpy()
    has_value = ~runs.isin(attempts[attempts["state"].isin(LOST)].index)
    best = points["value"].where(has_value).iloc[order].cummin().ffill().fillna(np.inf).to_numpy(dtype=float)
    # Of millions of evaluations few find something better.
    lower = np.flatnonzero(np.isfinite(best) & (best < np.append(np.inf, best[:-1])))
    return Search(points, order, lower, best[lower])
