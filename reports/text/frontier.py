"""Which arm is better for how much, in sentences and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from reports import formatting
from reports.analysis import statistics
from reports.analysis.costs import IMAGES, JOULES, OPERATIONS, SECONDS
from reports.analysis.frontier import Schedule, all_crossings, at_budgets, crossings, leads
from reports.analysis.rungs import other_bound
from reports.analysis.targets import time_to_targets
from reports.formatting import MISSING, count, listing, quantity
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.costs import Cost
    from reports.analysis.frontier import ArmCurves, AtBudget, Crossing, Frontier, Lead
    from reports.analysis.results import Study
    from reports.analysis.rungs import Rung
    from reports.analysis.targets import Passing


class Titled(Protocol):
    """What knows the names of arms as people write them."""

    def title(self, arm: str) -> str:
        """An arm's name."""


MOST_RANGES = 4
"""Ranges of budgets that a sentence lists; the table has all."""
SHARES = {1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1.0: "the largest known of every arm"}
BASIS = (
    "These orders are of the one-sample bound on validation at the best evaluation so far. Any 95% interval is over "
    "training seeds alone, and holds at its budget by itself, not at all budgets at once."
)
"""What the orders by budget rest on."""


def sentences(study: Study, found: list[Frontier], answer: Sequence[str] = ()) -> list[str]:
    """Which arm is the lowest over which budgets, where the two lowest cross, and what tuning changes of it.

    Args:
        study: the study.
        found: the arms against each cost.
        answer: what the page says before; a crossing that stands there is not said again.
    """
    plain = [each for each in found if not each.with_tuning and each.cost in (SECONDS, IMAGES) and len(each.arms) > 1]
    tuned = [each for each in found if each.with_tuning and each.cost in (SECONDS, IMAGES) and len(each.arms) > 1]
    plain.sort(key=lambda each: each.cost != SECONDS)
    tuned.sort(key=lambda each: each.cost != SECONDS)
    said = [*(_order(study, each, answer) for each in plain), *(_tuned(study, each) for each in tuned[:1])]
    return [*said, BASIS] if said else []


def schedules(study: Study, found: list[Frontier]) -> list[str]:
    """Of which arms a point before the end is not what a shorter run gives, in sentences."""
    arms = {each.arm: each.schedule for frontier in found for each in frontier.arms}
    said = []
    for schedule, why in (
        (Schedule.BOUND, "depends on the budget"),
        (Schedule.UNKNOWN, "is not known not to depend on the budget"),
    ):
        names = [study.title(arm) for arm, of in arms.items() if of == schedule]
        if names:
            said.append(
                f"The learning-rate schedule of {listing(names)} {why}: a point before the end (dashed) is not what a "
                "shorter run gives, which may be lower; only the end is."
            )
    return said


def _order(study: Study, frontier: Frontier, answer: Sequence[str]) -> str:
    """Which arm is the lowest over which budgets, and where the two lowest cross."""
    head = f"On validation, by {frontier.cost.label}"
    parts = _ranges(study, frontier) or [_no_overlap(study, frontier)]
    crossing = [said for said in _of_two_lowest(study, frontier) if not any(said in each for each in answer)]
    return ". ".join([f"{head}, {'; '.join(parts)}", *crossing]) + "."


def _tuned(study: Study, frontier: Frontier) -> str:
    cost = frontier.cost
    spent = listing([f"{cost.amount(arm.tuning)} for {study.title(arm.arm)}" for arm in frontier.arms])
    parts = _ranges(study, frontier) or [_no_overlap(study, frontier)]
    left_out = f" ({listing([study.title(arm) for arm in frontier.without])}: not known)" if frontier.without else ""
    return f"On validation with tuning included, {spent}{left_out}, {'; '.join(parts)}."


def _no_overlap(study: Study, frontier: Frontier) -> str:
    ordered = sorted(frontier.arms, key=lambda arm: arm.last)
    first, second = ordered[0], ordered[1]
    name, other, cost = study.title(first.arm), study.title(second.arm), frontier.cost
    latest = max(frontier.arms, key=lambda arm: arm.start)
    if len(frontier.arms) > 2 or first.last >= second.start:
        return (
            f"no budget was measured of {'the final runs of ' if frontier.with_tuning else ''}all arms: {name} ends at "
            f"{cost.amount(first.last)}, and the first evaluation of {study.title(latest.arm)} is at "
            f"{cost.amount(latest.start)}"
        )
    best = second.searched(first.last)
    until_then = (
        f"; the search of {other} had come to {quantity(best)} by then (one search, so no interval), and the final "
        f"{'run' if len(first.runs) == 1 else 'runs'} of {name} to {_mean(first.level(first.last))}"
    )
    return (
        f"no budget was measured of {'the final runs of ' if frontier.with_tuning else ''}two arms: {name} ends at "
        f"{cost.amount(first.last)}, before the first evaluation of {other} at {cost.amount(second.start)}"
        f"{until_then if np.isfinite(best) else ''}"
    )


def _ranges(study: Study, frontier: Frontier) -> list[str]:
    if min(len(arm.runs) for arm in frontier.arms) < 2:
        return _without_interval(study, frontier)
    found = leads(frontier.arms)
    if len(found) == 1:
        (only,) = found
        return [f"{_who(study, only)} at every budget measured, {_span(frontier.cost, only)}"]
    said = [f"{_who(study, each)} {_span(frontier.cost, each)}" for each in found]
    if len(said) <= MOST_RANGES:
        return said
    return [said[0], said[-1], f"between these lie {len(said) - 2} more ranges, listed below"]


def _who(study: Study, lead: Lead) -> str:
    lower = "lower" if len(lead.among) == 2 else "the lowest"
    if lead.arm:
        beside = "" if len(lead.among) == 2 else f" of {len(lead.among)}"
        return f"{study.title(lead.arm)} is {lower}{beside}"
    names = [study.title(arm) for arm in lead.contenders]
    return f"the seeds leave open which of {listing(names)} is {lower}"


def _span(cost: Cost, lead: Lead) -> str:
    return (
        f"from {cost.amount(lead.low)} to {cost.amount(lead.high)}"
        if lead.low < lead.high
        else f"at {cost.amount(lead.low)}"
    )


def _without_interval(study: Study, frontier: Frontier) -> list[str]:
    row = _at_shared_end(frontier)
    if row is None:
        return []
    single = [study.title(arm.arm) for arm in frontier.arms if len(arm.runs) < 2]
    have = "has" if len(single) == 1 else "have"
    return [
        f"{study.title(row.lowest)} has the lowest value at {frontier.cost.amount(row.cost)}, the largest budget that "
        f"is known of all; {listing(single)} {have} one seed, so that no interval is known"
    ]


def _at_shared_end(frontier: Frontier) -> AtBudget | None:
    """The arms at the largest budget that was measured of all."""
    shared = frontier.shared
    rows = [row for row in at_budgets(frontier) if shared and row.cost == shared[1] and row.lowest]
    return rows[0] if rows else None


def _of_two_lowest(study: Study, frontier: Frontier) -> list[str]:
    row = _at_shared_end(frontier)
    if row is None:
        return []
    arms = {arm.arm: arm for arm in frontier.arms}
    places = crossings(arms[row.lowest], arms[row.second])
    return [cross(study, frontier.cost, places[-1], len(places))] if places else []


def cross(study: Study, cost: Cost, crossing: Crossing, times: int) -> str:
    """Where two arms cross, within a sentence."""
    before, after = study.title(crossing.before), study.title(crossing.after)
    last = "" if times == 1 else f" for the last of {times} times"
    return (
        f"The means of {before} and {after} cross{last} at {cost.amount(crossing.at)} ({interval_of(cost, crossing)}): "
        f"{before} is lower before, {after} after"
    )


def interval_of(cost: Cost, crossing: Crossing) -> str:
    """The interval of a crossing in words."""
    if not crossing.has_interval:
        return "one seed, so no interval"
    low, high = (None if end is None else cost.amount(end) for end in (crossing.low, crossing.high))
    if low and high:
        return f"95% interval {low} to {high}"
    if high:
        return f"95% interval up to {high}, without a lower end in what was measured"
    if low:
        return f"95% interval from {low}, without an upper end in what was measured"
    return "open, as the seeds separate the arms on neither side"


def budgets(study: Study, found: list[Frontier]) -> Table:
    """The arms on validation at each budget: values, the lowest, and how far the one it is compared with lies above."""
    arms = list(dict.fromkeys(arm.arm for each in found for arm in each.arms))
    rows = []
    for each in found:
        known = {arm.arm: arm for arm in each.arms}
        for row in at_budgets(each):
            notes = [] if each.cost in (IMAGES, JOULES) else [each.cost.label]
            notes += ["with tuning"] if each.with_tuning else []
            notes += [SHARES[row.share]] if row.share else []
            cells = [_level(each.cost, known.get(arm), row) for arm in arms]
            early = [arm for arm in row.levels if not known[arm].is_final(row.cost)]
            judged = verdict(study, row, row.above, early)
            rows.append([Cell(each.cost.amount(row.cost), notes), *cells, *judged])
    kinds = [] if not any(each.with_tuning for each in found) else ["with tuning"]
    kinds += [each.cost.label for each in found if each.cost in (OPERATIONS, JOULES) and not each.with_tuning]
    caption = f"Validation bits/dim at each budget{f' ({listing(kinds)})' if kinds else ''}"
    several = any(len(arm.runs) > 1 for each in found for arm in each.arms)
    error = ", ± one standard error" if several else ""
    return Table(
        f"{caption}: one-sample bound, best evaluation so far{error}",
        ["Budget", *map(study.title, arms), *VERDICT],
        rows,
    )


VERDICT = ("Lowest", "Above it")
"""The columns of :func:`verdict`: the other arm is the first that is not separated from the lowest, else the next."""


def _level(cost: Cost, arm: ArmCurves | None, row: AtBudget) -> Cell:
    if arm is None:
        return Cell("not known")
    if arm.arm in row.levels:
        held = arm.held_since(row.cost)
        notes = [] if held is None else [f"held since {cost.amount(held)}, where patience ended training"]
        return Cell(_mean(row.levels[arm.arm]), [*notes, *([] if arm.is_final(row.cost) else [EARLY])])
    if row.cost < arm.start:
        best = arm.searched(row.cost)
        return Cell(quantity(best), [SEARCHED]) if np.isfinite(best) else Cell("none yet")
    return Cell("ended", [f"{_mean(arm.level(arm.last))} at {cost.amount(arm.last)}"])


SINGLE = "seeds not repeated"
"""The mark of an order that another seed may turn, whatever the interval says."""
SEARCHED = "the best of its search so far"
"""The mark of a value that is of no final run."""
EARLY = "before its end"
"""The mark of a value that is not what a run of that budget gives."""


def _mean(values: np.ndarray) -> str:
    level = statistics.estimate(pd.DataFrame({"value": values, "standard_error": np.nan}))
    return MISSING if level is None else quantity(level.mean, level.error)


def verdict(study: Titled, row: AtBudget | Rung, above: tuple[float, float, float], early: Sequence[str]) -> list[Cell]:
    """The lowest of the arms at a budget, or that it is open, and how far the one it is compared with lies above it."""
    lowest, second = row.lowest, row.second
    if not lowest:
        return [Cell(MISSING), Cell(MISSING)]
    single = min(len(row.levels[arm]) for arm in (lowest, second)) < 2
    notes = [SINGLE] if single else []
    notes += [f"{listing([study.title(arm) for arm in early])} {EARLY}"] if early else []
    value, low, high = above
    if not np.isfinite(low):
        distance = Cell(quantity(value), [study.title(second), "no interval"])
    else:
        shown, start, end = formatting.difference(value, low, high)
        distance = Cell(shown, [study.title(second), f"95% interval {start} to {end}"])
    if low > 0 or (single and not np.isfinite(low)):
        return [Cell(study.title(lowest), notes), distance]
    return [Cell("open", [f"{study.title(lowest)} by its mean", *notes]), distance]


def on_test(study: Study, found: list[Rung]) -> Table:
    """The arms on test at shares of the budget."""
    arms = [arm for arm in study.arms if any(arm in rung.levels for rung in found)]
    rows = []
    for rung in found:
        cells = []
        for arm in arms:
            level = rung.levels.get(arm)
            estimate = None if level is None else statistics.estimate(level)
            if level is None or estimate is None:
                cells.append(Cell("not measured"))
                continue
            samples = sorted(rung.importance_samples[arm])
            notes = [f"k = {', '.join(map(str, samples))}"] if samples else []
            cells.append(
                Cell(quantity(estimate.mean, estimate.error), [*notes, *([EARLY] if arm in rung.early else [])])
            )
        interval = rung.interval
        above = (interval.value, interval.low, interval.high) if interval else (_gap(rung), np.nan, np.nan)
        rows.append([Cell(IMAGES.amount(rung.images)), *cells, *verdict(study, rung, above, rung.early)])
    caption = "Test bits/dim at shares of the budget: the best weights until then, ± one standard error"
    return Table(f"{caption}{_covered(found)}", ["Budget", *map(study.title, arms), *VERDICT], rows)


def _covered(found: list[Rung]) -> str:
    """What the intervals on test cover, for the caption."""
    shares = [rung.interval for rung in found if rung.interval and not rung.whole]
    scopes = dict.fromkeys("training seeds" if each.over_seeds else "test images" for each in shares)
    said = [f"95% intervals over {listing(list(scopes))} alone"] if scopes else []
    said += ["at the whole budget, values and interval of the answer"] if any(rung.whole for rung in found) else []
    said += ["there by another k, which changes the bound"] if other_bound(found) else []
    return "".join(f"; {each}" for each in said)


def _gap(rung: Rung) -> float:
    if not rung.lowest:
        return np.nan
    return float(rung.levels[rung.second]["value"].mean() - rung.levels[rung.lowest]["value"].mean())


def ranges(study: Study, found: list[Frontier]) -> Table:
    """Every range of budgets over which one arm is the lowest, or over which that is open; none with one seed."""
    rows = [
        [
            Cell(_axis(each)),
            Cell(each.cost.amount(lead.low), order=lead.low),
            Cell(each.cost.amount(lead.high), order=lead.high),
            Cell(study.title(lead.arm) if lead.arm else "open"),
            Cell(listing([study.title(arm) for arm in lead.among if arm not in (lead.contenders or (lead.arm,))])),
        ]
        for each in found
        if min(len(arm.runs) for arm in each.arms) > 1
        for lead in leads(each.arms)
    ]
    columns = ["Budget in", "From", "To", "Lowest", "Clearly above"]
    return Table("Which arm is the lowest, by 95% intervals over seeds at each budget", columns, rows, sortable=True)


def crossing_table(study: Study, found: list[Frontier]) -> Table:
    """Every crossing of two arms."""
    rows = [
        [
            Cell(_axis(each)),
            Cell(study.title(crossing.before)),
            Cell(study.title(crossing.after)),
            Cell(each.cost.amount(crossing.at), order=crossing.at),
            Cell(interval_of(each.cost, crossing)),
        ]
        for each, crossing in all_crossings(found)
    ]
    columns = ["Budget in", "Lower before", "Lower after", "The means cross at", "Interval"]
    return Table("Where two arms cross", columns, rows, sortable=True)


def _axis(frontier: Frontier) -> str:
    return f"{frontier.cost.label}{', with tuning' if frontier.with_tuning else ''}"


def time_to_target(study: Study, found: list[Frontier]) -> Table:
    """When each arm first passed what codes and models that are no arms take; a miss says what was spent on it."""
    passings = time_to_targets(study)
    arms = list(passings[0][1]) if passings else []
    at_once = [target for target, by_arm in passings if all(each.at_first == each.seeds for each in by_arm.values())]
    tuning = {
        (each.cost.name, arm.arm): arm.tuning for each in found if each.with_tuning for arm in each.arms if arm.tuning
    }
    rows = [
        [
            Cell(target.name),
            Cell(quantity(target.value), order=target.value),
            *(_passed(by_arm[arm], tuning.get(("seconds", arm))) for arm in arms),
        ]
        for target, by_arm in passings
        if target not in at_once
    ]
    left_out = (
        f"; left out, as every arm passed them by its first evaluation: {listing([each.name for each in at_once])}"
    )
    caption = f"Time to a target{left_out if at_once else ''}"
    return Table(caption, ["Target", "bits/dim", *map(study.title, arms)], rows)


def _passed(passing: Passing, tuning: float | None) -> Cell:
    """When the seeds of an arm first passed a target: the range over them, and the misses."""
    timed = bool(np.isfinite(passing.spent_seconds).all())
    cost = SECONDS if timed else IMAGES
    at, spent = (passing.seconds, passing.spent_seconds) if timed else (passing.images, passing.spent_images)
    hits, passed = at[passing.passed], int(passing.passed.sum())
    misses = passing.seeds - passed
    lost = [f"{count(passing.lost, 'seed')} diverged or failed"] if passing.lost else []
    if not passed:
        notes = [f"in {IMAGES.amount(float(passing.spent_images.max()))}"] if timed else []
        return Cell(f"not reached in {cost.amount(float(spent.max()))}", [*notes, *lost])
    notes = [_extent(IMAGES, passing.images[passing.passed])] if timed else []
    if passing.at_first:
        notes.append(f"the first evaluation in {count(passing.at_first, 'seed')}")
    if misses:
        missed = spent[~passing.passed]
        within = f" in {cost.amount(float(missed.max()))}" if len(missed) else ""
        notes.append(f"{passed} of {count(passing.seeds, 'seed')}; not reached{within} by {misses}")
    if timed and tuning and not passing.at_first:
        notes.append(f"with tuning {_extent(cost, hits + tuning)}")
    # Before its first evaluation a run is not known not to have passed.
    most = "≤ " if passing.at_first == passed else ""
    return Cell(f"{most}{_extent(cost, hits)}", [*notes, *lost], order=float(hits.max()) if not misses else None)


def _extent(cost: Cost, values: np.ndarray) -> str:
    """The range over seeds; one number where they agree."""
    ends = dict.fromkeys(cost.amount(float(end)) for end in (values.min(), values.max()))
    return " to ".join(ends)
