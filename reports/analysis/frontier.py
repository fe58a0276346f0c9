"""Which arm is better for how much: the best likelihood so far of each arm against what it cost, and where arms cross.

Notation: y_s(b) is the lowest validation bits/dim of the final run of seed s over its evaluations up to the cost b, a
function of steps. If the learning-rate schedule does not depend on the budget, it is what a run of the budget b gives.

At each cost b two arms differ by the means over seeds, with Welch's interval. The costs at which it contains 0 are the
confidence set of the cost at which the arms cross: at the true one it contains 0 in 95 of 100 studies, for as few as
two seeds. A bootstrap over seeds is not used: with three seeds its intervals are too narrow
(:func:`reports.analysis.statistics.compare_paired`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.analysis import statistics
from reports.analysis.costs import COSTS, IMAGES, Cost, costs
from reports.analysis.curves import final_curves
from reports.analysis.differences import likelihood_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval

RUNGS = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""The shares of the budget at which values are listed."""
SAME_RUNG = 0.02
"""Costs that differ by less than this share are one rung: batches need not divide a budget."""


class Schedule(StrEnum):
    """Whether an arm's learning rate at a step depends on how long its training is to be."""

    FREE = "does not depend on the budget"
    BOUND = "depends on the budget"
    UNKNOWN = "is not known"


SCHEDULES = {
    "constant": Schedule.FREE,
    "plateau": Schedule.FREE,
    "cosine": Schedule.BOUND,
    "staged": Schedule.BOUND,
}
"""By the setting ``decay``."""


@dataclass(frozen=True)
class RunCurve:
    """The likelihood of a final run against what it had cost.

    Attributes:
        run_id: the run.
        cost: at each evaluation, ascending.
        value: bits/dim of the weights that are the best until then.
        error: standard error of each value over images, NaN where it is not known.
        ended_by_itself: whether training stopped before its budget was spent; a larger one then gives the same.
    """

    run_id: str
    cost: np.ndarray
    value: np.ndarray
    error: np.ndarray
    ended_by_itself: bool

    @property
    def end(self) -> float:
        """The largest cost at which its value is known."""
        return math.inf if self.ended_by_itself else float(self.cost[-1])

    def _index(self, cost: np.ndarray) -> np.ndarray:
        """The last evaluation up to each cost; -1 where there is none, or where nothing was measured any more."""
        index = np.searchsorted(self.cost, cost, side="right") - 1
        return np.where(cost <= self.end, index, -1)

    def at(self, cost: np.ndarray) -> np.ndarray:
        """Its value at each cost; NaN outside what was measured."""
        index = self._index(cost)
        return np.where(index >= 0, self.value[index], np.nan)

    def error_at(self, cost: float) -> float:
        """The standard error of its value at a cost."""
        (index,) = self._index(np.array([cost]))
        return float(self.error[index]) if index >= 0 else math.nan


@dataclass(frozen=True)
class ArmCurves:
    """The curves of an arm's reported final runs.

    Attributes:
        arm: the arm.
        runs: one curve a seed.
        tuning: what is in their cost for the arm's search.
        schedule: whether a point before the end is what a run of that budget gives.
    """

    arm: str
    runs: tuple[RunCurve, ...]
    tuning: float
    schedule: Schedule

    @cached_property
    def start(self) -> float:
        """The lowest cost at which all seeds had been evaluated."""
        return max(float(run.cost[0]) for run in self.runs)

    @cached_property
    def end(self) -> float:
        """The largest cost at which the values of all seeds are known: inf where all ended by themselves."""
        return min(run.end for run in self.runs)

    @cached_property
    def last(self) -> float:
        """The largest cost that was spent, up to ``end``."""
        return min(self.end, max(float(run.cost[-1]) for run in self.runs))

    def at(self, cost: np.ndarray) -> np.ndarray:
        """The value of each seed at each cost, ``(seeds, costs)``; NaN outside what was measured."""
        return np.stack([run.at(cost) for run in self.runs])

    def level(self, cost: float) -> pd.DataFrame:
        """``value`` and ``standard_error`` of each seed at a cost, as :func:`reports.analysis.statistics.compare`."""
        values = self.at(np.array([cost]))[:, 0]
        return pd.DataFrame({"value": values, "standard_error": [run.error_at(cost) for run in self.runs]})

    def covers(self, cost: float) -> bool:
        """Whether the values of all seeds are known at a cost."""
        return self.start <= cost <= self.end

    def is_final(self, cost: float) -> bool:
        """Whether its values at a cost are those of a run of that budget, whatever the schedule."""
        return self.schedule == Schedule.FREE or cost >= self.last

    @cached_property
    def band(self) -> pd.DataFrame:
        """``cost``, and ``mean``, ``low`` and ``high`` over the seeds, wherever one of them changes."""
        grid = np.unique(np.concatenate([run.cost for run in self.runs]))
        grid = grid[(grid >= self.start) & (grid <= self.last)]
        values = self.at(grid)
        columns = {"cost": grid, "mean": values.mean(axis=0), "low": values.min(axis=0), "high": values.max(axis=0)}
        return pd.DataFrame(columns)

    def with_tuning(self, tuning: float) -> ArmCurves:
        """The same curves with the cost of the arm's search added."""
        runs = tuple(replace(run, cost=run.cost + tuning) for run in self.runs)
        return replace(self, runs=runs, tuning=tuning)


@dataclass(frozen=True)
class Frontier:
    """The curves of the arms against one cost.

    Attributes:
        cost: the cost.
        arms: those of which it is known.
        with_tuning: whether the cost of each arm's search is in it.
        without: the arms with a learning curve of which the cost is not known.
        split: of the likelihood: ``validation``, one-sample bound, or ``test``.
    """

    cost: Cost
    arms: tuple[ArmCurves, ...]
    with_tuning: bool = False
    without: tuple[str, ...] = ()
    split: str = "validation"

    @property
    def shared(self) -> tuple[float, float] | None:
        """The costs between which all arms were measured; None where there are none."""
        start, end = max(arm.start for arm in self.arms), min(arm.end for arm in self.arms)
        end = min(end, max(arm.last for arm in self.arms))
        return (start, end) if start <= end else None


@dataclass(frozen=True)
class Lead:
    """A range of costs over which one statement holds.

    Attributes:
        low: where it begins.
        high: where it ends.
        arm: the arm with the lowest value, its interval with every other arm excluding 0; None where that is open.
        contenders: where it is open, the arms of which each is the lowest or not separated from the lowest.
        among: the arms that were measured there.
    """

    low: float
    high: float
    arm: str | None
    contenders: tuple[str, ...]
    among: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """A change of the order of two arms.

    Attributes:
        before: the arm with the lower mean before it.
        after: the arm with the lower mean after it.
        at: the first cost at which the means were measured in their new order.
        low: the lower end of the 95% interval; None where the order before it is nowhere separated from 0.
        high: the upper end likewise.
        times: how often the order of the means changes within the interval.
        has_interval: whether both arms have two seeds or more.
    """

    before: str
    after: str
    at: float
    low: float | None
    high: float | None
    times: int
    has_interval: bool


@dataclass(frozen=True)
class AtBudget:
    """The arms at one budget.

    Attributes:
        cost: the budget.
        share: of the largest budget at which all arms were measured, one of `RUNGS`; None for the end of an arm.
        levels: ``value`` and ``standard_error`` of each seed, by arm, of those that were measured at it.
        lowest: the arm with the lowest mean; empty where fewer than two were measured.
        second: the next one.
        interval: by how much the second lies above the lowest; None where no interval is known.
    """

    cost: float
    share: float | None
    levels: dict[str, pd.DataFrame]
    lowest: str = ""
    second: str = ""
    interval: Interval | None = None


def schedule(study: Study, arm: str) -> Schedule:
    """Whether the learning rate of an arm's reported final runs depends on the budget, by their logged setting."""
    runs = study.finals[arm].runs
    named = [name for name in ("param.decay", "param.training.decay") if name in runs]
    decays = {str(decay) for name in named for decay in runs[name].dropna()}
    found = {SCHEDULES.get(decay, Schedule.UNKNOWN) for decay in decays}
    return found.pop() if len(found) == 1 else Schedule.UNKNOWN


def frontiers(study: Study) -> list[Frontier]:
    """The arms against each cost that is known, without and with what their search cost; validation in one unit."""
    if len(likelihood_units(study, "validation")) > 1:
        return []
    spent = costs(study)
    found = []
    for cost in COSTS:
        curves = {arm: final_curves(study, arm) for arm in study.arms}
        arms, without = [], []
        for arm, runs in curves.items():
            along = [(curve, spent.along(cost, curve)) for curve in runs]
            if along and all(np.isfinite(each).all() for _, each in along):
                budget = _budget(study, arm)
                made = [
                    _best_so_far(curve.run_id, each, curve.value, bool(curve.images[-1] < budget))
                    for curve, each in along
                ]
                arms.append(ArmCurves(arm, tuple(made), 0.0, schedule(study, arm)))
            elif along:
                without.append(arm)
        if not arms:
            continue
        found.append(Frontier(cost, tuple(arms), without=tuple(without)))
        tuning = {each.arm: spent.of_tuning(cost, each.arm) for each in arms}
        known = tuple(each.with_tuning(tuning[each.arm]) for each in arms if np.isfinite(tuning[each.arm]))
        if any(each.tuning for each in known):
            unknown = tuple(each.arm for each in arms if not np.isfinite(tuning[each.arm]))
            found.append(Frontier(cost, known, with_tuning=True, without=(*without, *unknown)))
    return found


def on_test(study: Study) -> Frontier | None:
    """Test bits/dim against images, at the rungs at which final runs measured it; None where none did."""
    if len(likelihood_units(study)) > 1:
        return None
    tables = {arm: study.table("budgets", arm).dropna(subset=["images", "bits_per_dim"]) for arm in study.arms}
    tables = {arm: table[np.isfinite(table["bits_per_dim"])] for arm, table in tables.items()}
    rungs = _rungs(np.unique(np.concatenate([table["images"] for table in tables.values()])) if tables else np.empty(0))
    arms = []
    for arm, table in tables.items():
        budget, ends = _budget(study, arm), {curve.run_id: curve.images[-1] for curve in final_curves(study, arm)}
        made = []
        for run_id, rows in table.assign(images=table["images"].map(rungs)).groupby("run_id", sort=False):
            ordered = rows.sort_values("evaluation", kind="stable").drop_duplicates("images", keep="last")
            columns = (ordered[name].to_numpy(dtype=float) for name in ("images", "bits_per_dim", "standard_error"))
            made.append(RunCurve(str(run_id), *columns, bool(ends.get(str(run_id), math.inf) < budget)))
        if made:
            arms.append(ArmCurves(arm, tuple(made), 0.0, schedule(study, arm)))
    return Frontier(IMAGES, tuple(arms), split="test") if arms else None


def _rungs(ascending: np.ndarray) -> dict[float, float]:
    """The rung of each cost: the largest of those that each exceed the one before by less than `SAME_RUNG`."""
    found: dict[float, float] = {}
    for cost in ascending[::-1]:
        above = next(reversed(found), math.inf)
        found[float(cost)] = found[above] if above <= (1 + SAME_RUNG) * cost else float(cost)
    return found


def _budget(study: Study, arm: str) -> float:
    """Training images of a final run that does not stop before its end; 0 where the study does not say."""
    budgets = study.results.settings.get("training_images")
    return float(budgets.get(arm, 0)) if isinstance(budgets, dict) else 0.0


def _best_so_far(run_id: str, cost: np.ndarray, value: np.ndarray, ended_by_itself: bool) -> RunCurve:
    best = np.minimum.accumulate(value)
    return RunCurve(run_id, cost, best, np.full(len(best), np.nan), ended_by_itself)


def leads(arms: Sequence[ArmCurves]) -> list[Lead]:
    """Which arm is the lowest, range by range of the costs at which at least two arms were measured."""
    grid = _grid(arms)
    if not len(grid):
        return []
    values = [arm.at(grid) for arm in arms]
    known = np.array([np.isfinite(each).all(axis=0) for each in values])  # (arms, costs)
    means = np.where(known, np.array([each.mean(axis=0) for each in values]), np.inf)
    lowest = means.argmin(axis=0)
    # Whether an arm (second) is separated from another one (first), as lying above it.
    above = np.zeros((len(arms), len(arms), len(grid)), dtype=bool)
    for first in range(len(arms)):
        for second in range(len(arms)):
            both = known[first] & known[second]
            if first != second and both.any():
                difference = statistics.compare_each(values[second][:, both], values[first][:, both])
                above[first, second, both] = difference["low"] > 0
    labels = []
    for place in range(len(grid)):
        among = tuple(arms[i].arm for i in np.flatnonzero(known[:, place]))
        near = [i for i in np.flatnonzero(known[:, place]) if not above[lowest[place], i, place]]
        labels.append((arms[near[0]].arm if len(near) == 1 else None, tuple(arms[i].arm for i in near), among))
    found = []
    for _, group in groupby(range(len(grid)), key=lambda place: (labels[place][0], labels[place][2])):
        places = list(group)
        arm, _, among = labels[places[0]]
        contenders = {name for place in places for name in labels[place][1]}
        ordered = tuple(each.arm for each in arms if each.arm in contenders)
        after = min(places[-1] + 1, len(grid) - 1)
        # A value holds up to the next evaluation, unless there is none of the same arms.
        end = grid[after if labels[after][2] == among else places[-1]]
        found.append(Lead(float(grid[places[0]]), float(end), arm, () if arm else ordered, among))
    return [each for each in found if len(each.among) > 1]


def _grid(arms: Sequence[ArmCurves]) -> np.ndarray:
    """The costs at which a value changes, from where two arms were measured to where fewer are."""
    if len(arms) < 2:
        return np.empty(0)
    start = sorted(arm.start for arm in arms)[1]
    end = sorted((arm.end for arm in arms), reverse=True)[1]
    end = min(end, max(arm.last for arm in arms))
    grid = np.unique(np.concatenate([run.cost for arm in arms for run in arm.runs]))
    return grid[(grid >= start) & (grid <= end)]


def difference(first: ArmCurves, second: ArmCurves) -> pd.DataFrame:
    """How far an arm lies above another one, second - first: ``cost value low high`` wherever both were measured."""
    grid = _grid([first, second])
    found = statistics.compare_each(second.at(grid), first.at(grid)) if len(grid) else pd.DataFrame(dtype=float)
    return found.reindex(columns=["value", "low", "high"]).assign(cost=grid)


def crossings(first: ArmCurves, second: ArmCurves) -> list[Crossing]:
    """Where the order of two arms changes, within what was measured of both.

    A crossing's interval reaches from the last cost at which the order before it is separated from 0 to the first at
    which the order after it is. Changes that the seeds do not separate from each other are one; if they leave the order
    as it was, they are none.
    """
    points = difference(first, second)
    points = points[points["value"] != 0].reset_index(drop=True)
    sign = np.sign(points["value"].to_numpy())
    clear = np.flatnonzero((points["low"] > 0) | (points["high"] < 0))
    changes = np.flatnonzero(sign[1:] != sign[:-1]) + 1
    cost = points["cost"].to_numpy()
    found = []
    for _, within in groupby(changes, key=lambda change: int(np.searchsorted(clear, change))):
        together = list(within)
        before, after = sign[together[0] - 1], sign[together[-1]]
        if before == after:
            continue
        place = int(np.searchsorted(clear, together[0]))
        low = float(cost[clear[place - 1]]) if place else None
        high = float(cost[clear[place]]) if place < len(clear) else None
        lower = {1.0: first.arm, -1.0: second.arm}
        found.append(
            Crossing(
                lower[before],
                lower[after],
                float(cost[together[-1]]),
                low,
                high,
                len(together),
                min(len(first.runs), len(second.runs)) > 1,
            )
        )
    return found


def at_budgets(found: Frontier) -> list[AtBudget]:
    """The arms at each of `RUNGS` of the largest budget that all were measured at, and at the end of each arm.

    With tuning, at the ends alone: before an arm's search has ended it has no value. On test, at the rungs measured.
    """
    rungs: dict[float, float | None] = {}
    if found.split == "test":
        rungs = dict.fromkeys(float(cost) for arm in found.arms for run in arm.runs for cost in run.cost)
    else:
        shared = found.shared
        if shared and not found.with_tuning:
            rungs |= {share * shared[1]: share for share in RUNGS}
        for end in sorted(arm.last for arm in found.arms):
            if not any(abs(end - rung) < SAME_RUNG * end for rung in rungs):
                rungs[end] = None
    return [_at(found, cost, rungs[cost]) for cost in sorted(rungs)]


def _at(found: Frontier, cost: float, share: float | None) -> AtBudget:
    levels = {arm.arm: arm.level(cost) for arm in found.arms if arm.covers(cost)}
    ranked = sorted(levels, key=lambda arm: float(levels[arm]["value"].mean()))
    if len(ranked) < 2:
        return AtBudget(cost, share, levels)
    lowest, second, *_ = ranked
    interval = statistics.compare(levels[second], levels[lowest])
    return AtBudget(cost, share, levels, lowest, second, interval)
