"""Likelihood against what it costs, and the runs that no other beats in both: the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.metrics import METRICS
from bench.core.results import RunState
from reports.analysis.differences import likelihood_units
from reports.analysis.results import LIKELIHOOD, variants

if TYPE_CHECKING:
    from reports.analysis.results import Study


@dataclass(frozen=True)
class TradeOff:
    """Bits/dim of runs of all arms against one cost.

    Attributes:
        metric: the cost's name in the schema.
        split: the split of the likelihood: ``validation`` of complete trials, or ``test`` of final runs.
        conditions: under which the cost was measured.
        points: ``run_id``, ``arm``, ``about``, ``cost``, ``value`` (bits/dim) and ``front``, whether no run is at
            least as good in both and better in one.
    """

    metric: str
    split: str
    conditions: str
    points: pd.DataFrame

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the cost's metric is better, as of a speed."""
        return bool(METRICS[self.metric].higher_is_better)

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front, by cost."""
        return self.points[self.points["front"]].sort_values("cost", kind="stable")


def trade_offs(study: Study) -> list[TradeOff]:
    """Against training time and size over the complete trials, and against sampling speed over the final runs."""
    trials = study.trials[(study.trials["state"] == RunState.COMPLETE) & study.trials["value"].notna()]
    found = [
        TradeOff(metric, "validation", "", _points(study, trials, study.measured("cost", metric)))
        for metric in ("training_seconds", "parameters")
    ]
    finals = pd.concat([final.runs for final in study.finals.values()]) if study.finals else study.runs.iloc[:0]
    test = study.measured("test", LIKELIHOOD).set_index("run_id")["value"]
    finals = finals.assign(value=finals["run_id"].map(test).astype(float))
    finals = finals[np.isfinite(finals["value"])]
    speeds = study.measured("throughput", "sample_images_per_second")
    speeds = speeds[speeds["run_id"].isin(finals["run_id"])]
    found += [
        TradeOff("sample_images_per_second", "test", variant.conditions, _points(study, finals, variant.of(speeds)))
        for variant in variants(speeds)
    ]
    return [
        trade
        for trade in found
        if len(trade.points) > 1
        and trade.points["cost"].nunique() > 1
        and len(likelihood_units(study, trade.split)) < 2
    ]


def _points(study: Study, runs: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    cost = runs["run_id"].map(costs.drop_duplicates("run_id").set_index("run_id")["value"]).astype(float)
    runs = runs.assign(cost=cost)[np.isfinite(cost) & (cost > 0)]
    more = not costs.empty and bool(costs["higher_is_better"].iloc[0])
    points = runs[["run_id", "arm", "cost", "value"]].assign(about=runs["run_id"].map(study.described))
    return points.assign(front=on_front(points["cost"] * (-1 if more else 1), points["value"])).reset_index(drop=True)


def on_front(cost: pd.Series, value: pd.Series) -> np.ndarray:
    """Which points no other dominates, of two numbers that are better the lower they are.

    A point dominates another if it is at most as high in both and lower in one; equal points do not dominate
    each other.
    """
    x, y = cost.to_numpy(dtype=float), value.to_numpy(dtype=float)
    order = np.lexsort((y, x))
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(y[order])[:-1]])
    front = np.empty(len(x), dtype=bool)
    front[order] = y[order] < best_before
    kept = set(zip(x[front], y[front], strict=True))
    return np.array([point in kept for point in zip(x, y, strict=True)], dtype=bool)
