"""Which arm is better for how much: the best likelihood so far of each arm against what it cost, and where arms cross.

Notation: y_s(b) is the lowest validation bits/dim of the final run of seed s over its evaluations up to the cost b, a
function of steps. If the learning-rate schedule does not depend on the budget, it is what a run of the budget b gives,
to within what happens between two evaluations: that run's value lies between y_s(b) and the value y'_s(b) that the next
evaluation shows, as the best so far never rises. An arm evaluated more rarely is so at no disadvantage.

At each cost b two arms differ by the means over seeds, with Welch's interval, from the lower end of y' - y to the upper
end of y - y', which are the same where both were evaluated. The costs at which it contains 0 are the
confidence set of the cost at which the arms cross: at the true one it contains 0 in 95 of 100 studies, for as few as
two seeds. A bootstrap over seeds is not used: with three seeds its intervals are too narrow
(:func:`reports.analysis.statistics.compare_paired`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations, groupby, permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.analysis import statistics
from reports.analysis.convergence import stopped_early
from reports.analysis.costs import COSTS, Costs, alone
from reports.analysis.differences import likelihood_units
from reports.analysis.once import once
from reports.analysis.search_course import search_course

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reports.analysis.costs import Cost
    from reports.analysis.results import Study
    from reports.analysis.search_course import SearchCourse

RUNGS = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""The shares of the budget at which values are listed."""
SAME_RUNG = 0.02
"""Budgets that differ by less than this share are one."""


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
        ended_by_itself: whether training stopped before its budget was spent, by a schedule that does not depend on the
            budget; a larger one then gives the same.
    """

    run_id: str
    cost: np.ndarray
    value: np.ndarray
    ended_by_itself: bool

    @property
    def end(self) -> float:
        """The largest cost at which its value is known."""
        return math.inf if self.ended_by_itself else float(self.cost[-1])

    def at(self, cost: np.ndarray) -> np.ndarray:
        """Its value at the last evaluation up to each cost; NaN outside what was measured."""
        return self._value(cost, np.searchsorted(self.cost, cost, side="right") - 1)

    def after(self, cost: np.ndarray) -> np.ndarray:
        """Its value at the first evaluation from each cost on, or at the last one; NaN outside what was measured."""
        return self._value(cost, np.minimum(np.searchsorted(self.cost, cost, side="left"), len(self.cost) - 1))

    def _value(self, cost: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.where((cost >= self.cost[0]) & (cost <= self.end), self.value[index], np.nan)


@dataclass(frozen=True)
class ArmCurves:
    """The curves of an arm's reported final runs.

    Attributes:
        arm: the arm.
        runs: one curve a seed.
        tuning: what is in their cost for the arm's search.
        schedule: whether a point before the end is what a run of that budget gives.
        search: where tuning is in the cost, what the search itself had found until then.
    """

    arm: str
    runs: tuple[RunCurve, ...]
    tuning: float
    schedule: Schedule
    search: SearchCourse | None = None

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
        """:meth:`RunCurve.at` of each seed, ``(seeds, costs)``."""
        return np.stack([run.at(cost) for run in self.runs])

    def after(self, cost: np.ndarray) -> np.ndarray:
        """:meth:`RunCurve.after` of each seed, ``(seeds, costs)``."""
        return np.stack([run.after(cost) for run in self.runs])

    def level(self, cost: float) -> np.ndarray:
        """The value of each seed at a cost."""
        values: np.ndarray = self.at(np.array([cost]))[:, 0]
        return values

    def covers(self, cost: float) -> bool:
        """Whether the values of all seeds are known at a cost."""
        return self.start <= cost <= self.end

    def held_since(self, cost: float) -> float | None:
        """The first end before a cost of a seed whose value is held from there on; None where each was measured."""
        return min((float(run.cost[-1]) for run in self.runs if run.cost[-1] < cost <= run.end), default=None)

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

    def with_tuning(self, tuning: float, search: SearchCourse | None) -> ArmCurves:
        """The same curves with the cost of the arm's search added, and the course of the search before them."""
        runs = tuple(replace(run, cost=run.cost + tuning) for run in self.runs)
        return replace(self, runs=runs, tuning=tuning, search=search)

    def searched(self, cost: float) -> float:
        """The best of its search by a cost before its final runs have a value; NaN where there is none."""
        return math.nan if self.search is None or cost >= self.start else self.search.level(cost)


@dataclass(frozen=True)
class Frontier:
    """The curves of the arms against one cost.

    Attributes:
        cost: the cost.
        arms: those of which it is known.
        with_tuning: whether the cost of each arm's search is in it.
        without: the other arms with a learning curve, of which it is not known, or whose seeds were measured at no
            cost in common.
    """

    cost: Cost
    arms: tuple[ArmCurves, ...]
    with_tuning: bool = False
    without: tuple[str, ...] = ()

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
        levels: bits/dim of each seed, by arm, of those that were measured at it.
        lowest: the arm with the lowest mean; empty where fewer than two were measured.
        second: the one it is compared with, as :func:`reports.analysis.statistics.rival` has it.
        above: by how much the second lies above the lowest, with the ends of the 95% interval; NaN where not known.
    """

    cost: float
    share: float | None
    levels: dict[str, np.ndarray]
    lowest: str = ""
    second: str = ""
    above: tuple[float, float, float] = (math.nan, math.nan, math.nan)

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0, and so do those of all further arms."""
        return self.above[1] > 0


def schedule(study: Study, arm: str) -> Schedule:
    """Whether the learning rate of an arm's reported final runs depends on the budget, by their logged setting."""
    runs = study.finals[arm].runs
    named = [name for name in ("param.decay", "param.training.decay") if name in runs]
    decays = {str(decay) for name in named for decay in runs[name].dropna()}
    found = {SCHEDULES.get(decay, Schedule.UNKNOWN) for decay in decays}
    return found.pop() if len(found) == 1 else Schedule.UNKNOWN


@once
def frontiers(study: Study) -> list[Frontier]:
    """The arms against each cost that is known, without and with what their search cost; validation in one unit."""
    spent = Costs(study)
    found = []
    for cost in COSTS:
        plain = against(study, cost, spent)
        if plain is not None:
            found.append(plain)
            tuning = {arm.arm: spent.of_tuning(cost, arm.arm) for arm in plain.arms}
            known = tuple(
                arm.with_tuning(tuning[arm.arm], search_course(spent, cost, arm.arm))
                for arm in plain.arms
                if np.isfinite(tuning[arm.arm])
            )
            unknown = [arm for arm in tuning if not np.isfinite(tuning[arm])]
            if any(arm.tuning for arm in known):
                found.append(Frontier(cost, known, with_tuning=True, without=(*plain.without, *unknown)))
    return found


def against(study: Study, cost: Cost, spent: Costs) -> Frontier | None:
    """The arms against one cost; None where it is known of none, or where validation has several units."""
    if len(likelihood_units(study, "validation")) > 1:
        return None
    arms, without = [], []
    for arm in study.arms:
        along = [(curve, spent.along(cost, curve)) for curve in alone(study, arm)]
        if along and all(np.isfinite(each).all() for _, each in along):
            holds = holding(study, arm)
            runs = [
                RunCurve(curve.run_id, each, np.minimum.accumulate(curve.value), curve.run_id in holds)
                for curve, each in along
            ]
            made = ArmCurves(arm, tuple(runs), 0.0, schedule(study, arm))
            if made.start <= made.last:
                arms.append(made)
                continue
        if along:
            without.append(arm)
    return Frontier(cost, tuple(arms), without=tuple(without)) if arms else None


def holding(study: Study, arm: str) -> set[str]:
    """The final runs whose last value is that of every larger budget: a larger one would have changed nothing."""
    return stopped_early(study, arm) if schedule(study, arm) == Schedule.FREE else set()


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
    for first, second in permutations(range(len(arms)), 2):
        both = known[first] & known[second]
        above[first, second, both] = _difference(arms[first], arms[second], grid[both])["low"] > 0
    labels = []
    for place in range(len(grid)):
        among = tuple(arms[i].arm for i in map(int, np.flatnonzero(known[:, place])))
        near = [i for i in map(int, np.flatnonzero(known[:, place])) if not above[lowest[place], i, place]]
        labels.append((arms[near[0]].arm if len(near) == 1 else None, tuple(arms[i].arm for i in near), among))
    found = []
    for _, group in groupby(range(len(grid)), key=lambda place: (labels[place][0], labels[place][2])):
        places = list(group)
        arm, _, among = labels[places[0]]
        contenders = {name for place in places for name in labels[place][1]}
        ordered = tuple(each.arm for each in arms if each.arm in contenders)
        ends = float(grid[places[0]]), float(grid[places[-1]])
        found.append(Lead(*ends, arm, () if arm else ordered, among))
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
    """How far an arm lies above another one, second - first, wherever both were measured.

    Returns:
        ``cost``, ``value`` by the last evaluations, ``low`` and ``high`` of the 95% interval, and ``sign``: which of
        the means is the lower one, 0 where they are equal or where that depends on what came between evaluations.
    """
    return _difference(first, second, _grid([first, second]))


def _difference(first: ArmCurves, second: ArmCurves, cost: np.ndarray) -> pd.DataFrame:
    if not len(cost):
        return pd.DataFrame(columns=["cost", "value", "low", "high", "sign"], dtype=float)
    least = statistics.compare_each(second.after(cost), first.at(cost))
    most = statistics.compare_each(second.at(cost), first.after(cost))
    sign = np.where(least["value"] > 0, 1.0, np.where(most["value"] < 0, -1.0, 0.0))
    value = second.at(cost).mean(axis=0) - first.at(cost).mean(axis=0)
    return pd.DataFrame({"cost": cost, "value": value, "low": least["low"], "high": most["high"], "sign": sign})


def crossings(first: ArmCurves, second: ArmCurves) -> list[Crossing]:
    """Where the order of two arms changes, within what was measured of both.

    A crossing's interval reaches from the last cost at which the order before it is separated from 0 to the first at
    which the order after it is. Changes that the seeds do not separate from each other are one; if they leave the order
    as it was, they are none.
    """
    has_interval = min(len(first.runs), len(second.runs)) > 1
    return changes_of_order(difference(first, second), first.arm, second.arm, has_interval=has_interval)


def changes_of_order(points: pd.DataFrame, first: str, second: str, *, has_interval: bool) -> list[Crossing]:
    """The same of differences as :func:`difference` gives them.

    Args:
        points: second - first.
        first: an arm.
        second: the other one.
        has_interval: whether an interval is known of both.
    """
    points = points[points["sign"] != 0].reset_index(drop=True)
    sign = points["sign"].to_numpy()
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
        lower = {1.0: first, -1.0: second}
        at = float(cost[together[-1]])
        found.append(Crossing(lower[before], lower[after], at, low, high, len(together), has_interval))
    return found


def all_crossings(found: Sequence[Frontier]) -> Iterator[tuple[Frontier, Crossing]]:
    """Where the order of any two arms changes, against each cost."""
    for each in found:
        for first, second in combinations(each.arms, 2):
            for crossing in crossings(first, second):
                yield each, crossing


def at_budgets(found: Frontier) -> list[AtBudget]:
    """The arms at each of `RUNGS` of the largest budget that all were measured at, and at the end of each arm.

    With tuning, at the ends alone: before an arm's search has ended, that has a value, and its final runs have none.
    """
    rungs: dict[float, float | None] = {}
    if found.shared and not found.with_tuning:
        rungs = {share * found.shared[1]: share for share in RUNGS}
    for end in sorted(arm.last for arm in found.arms):
        if not any(abs(end - rung) < SAME_RUNG * end for rung in rungs):
            rungs[end] = None
    return [at_budget(found, cost, rungs[cost]) for cost in sorted(rungs)]


def at_budget(found: Frontier, cost: float, share: float | None = None) -> AtBudget:
    """The arms at one budget."""
    levels = {arm.arm: arm.level(cost) for arm in found.arms if arm.covers(cost)}
    ranked = sorted((arm for arm in found.arms if arm.arm in levels), key=lambda arm: float(levels[arm.arm].mean()))
    if len(ranked) < 2:
        return AtBudget(cost, share, levels)
    lowest, *others = ranked
    points = {each.arm: _difference(lowest, each, np.array([cost])).iloc[0] for each in others}
    second = statistics.rival({arm: float(point["low"]) for arm, point in points.items()})
    value, low, high = (float(points[second][name]) for name in ("value", "low", "high"))
    return AtBudget(cost, share, levels, lowest.arm, second, (value, low, high))
