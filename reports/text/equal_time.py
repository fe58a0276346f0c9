"""The answer at equal training time, in sentences, by the same curves and intervals as the table of budgets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from reports import formatting
from reports.analysis.costs import SECONDS, Costs
from reports.analysis.frontier import Schedule, against, at_budget, crossings
from reports.formatting import listing, number, quantity
from reports.text.frontier import cross

if TYPE_CHECKING:
    from reports.analysis.frontier import AtBudget, Frontier
    from reports.analysis.results import Study


def at_equal_time(study: Study, low: str, high: str) -> list[str]:
    """Which of two arms is lower at equal training time, all that the shorter one took, and where they cross.

    Args:
        study: the study.
        low: the arm with the lower mean test bits/dim.
        high: the other.
    """
    found = against(study, SECONDS, Costs(study))
    arms = {arm.arm: arm for arm in found.arms} if found else {}
    if found is None or not {low, high} <= set(arms):
        return []
    pair = replace(found, arms=(arms[low], arms[high]), without=())
    budget = min(arm.last for arm in pair.arms)
    places = crossings(*pair.arms)
    bound = [arm for arm in pair.arms if not arm.is_final(budget) or (places and arm.schedule != Schedule.FREE)]
    said = [_order(study, pair, budget, low)]
    if places:
        said.append(f"{cross(study, SECONDS, places[-1], len(places))}.")
    if bound:
        names = listing([study.title(arm.arm) for arm in bound])
        said[-1] += f" By their schedules, shorter runs of {names} may give lower values than these."
    return said


def _order(study: Study, pair: Frontier, budget: float, low: str) -> str:
    shorter, longer = sorted(pair.arms, key=lambda arm: arm.last)
    longer_took = f"{study.title(longer.arm)}: {SECONDS.amount(longer.last)}"
    head = (
        f"At equal training time, {SECONDS.amount(budget)}, all that {study.title(shorter.arm)} took ({longer_took}), "
    )
    row = at_budget(pair, budget)
    if not row.lowest:
        late = next(arm for arm in (longer, shorter) if arm.arm not in row.levels)
        return f"{head}{study.title(late.arm)} had not been evaluated in every seed yet."
    note = "validation, one-sample bound, best evaluation so far"
    return f"{head}{_verdict(study, row, low)} ({note}, {_over(pair, row)})."


def _verdict(study: Study, row: AtBudget, low: str) -> str:
    difference, least, _ = row.above
    decimals = min(4, max(2, 1 - math.floor(math.log10(difference)))) if difference else 2
    first, second = (number(float(row.levels[arm].mean()), decimals) for arm in (row.lowest, row.second))
    ahead, behind = study.title(row.lowest), study.title(row.second)
    if least <= 0 or not difference:
        return f"the seeds do not separate the arms: {first} for {ahead}, {second} for {behind}"
    turned = "" if row.lowest == low else ", the reverse of their order on test"
    if not row.is_clear:
        return f"{ahead} has the lower value{turned}: {first} against {second}, by {quantity(difference)}"
    shown, *_ = formatting.difference(*row.above)
    return f"{ahead} is lower{turned}: {first} against {second}, by {shown}"


def _over(pair: Frontier, row: AtBudget) -> str:
    """What the values are means over, and the interval of their difference."""
    if not math.isfinite(row.above[1]):
        single = [arm for arm in pair.arms if len(arm.runs) < 2]
        if not single:
            return "all seeds alike, so no interval"
        return "one seed, so no interval" if len(single) == 2 else "one seed of one of them, so no interval"
    _, start, end = formatting.difference(*row.above)
    return f"mean over seeds, 95% interval over seeds {start} to {end}"
