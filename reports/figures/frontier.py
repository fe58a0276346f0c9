"""The figures of which arm is better for how much: what was measured, and nothing beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.analysis.costs import IMAGES, JOULES
from reports.analysis.curves import fence
from reports.analysis.frontier import Schedule, difference, frontiers
from reports.analysis.rungs import other_bound, rungs
from reports.figures.axes import VALIDATION, beyond
from reports.figures.grammar import Axis, Band, Figure, Panel, Points, Rule, Step
from reports.figures.reference_codes import code_lines
from reports.figures.registry import register_figure
from reports.formatting import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.frontier import ArmCurves, Frontier
    from reports.analysis.results import Study
    from reports.analysis.rungs import Rung
    from reports.figures.grammar import Dash, Layer

MOST_DIFFERENCES = 3
"""Arms whose distance to the lowest is drawn: the nearest ones."""
NOTE = (
    "The lowest validation bits/dim so far of the final runs, by the one-sample bound, against what training has cost: "
    "a curve in steps, one at each evaluation, from where all seeds were evaluated to where the first one ended. It is "
    "not continued beyond what was measured."
)


@register_figure("frontier", "Likelihood against the budget", section="budgets", note=NOTE)
def frontier(study: Study) -> Iterator[Figure]:
    """The arms against each cost, with their distance to the lowest, and with what their search cost; then on test."""
    found = frontiers(study)
    for each in found:
        if not each.with_tuning:
            tuned = next((other for other in found if other.with_tuning and other.cost == each.cost), None)
            yield _against(study, each, tuned)
    test = rungs(study)
    if test:
        yield _on_test(study, test)


def _against(study: Study, plain: Frontier, tuned: Frontier | None) -> Figure:
    cost, y = plain.cost, Axis(VALIDATION, limits=_limits([arm.band["mean"] for arm in plain.arms]))
    several = any(len(arm.runs) > 1 for arm in plain.arms)
    sentences = [
        "Steps: the mean over the final runs of each arm" + ("; bands: the range over seeds." if several else "."),
        "The mark is where it ends.",
    ]
    ends = min(arm.start for arm in plain.arms), max(arm.last for arm in plain.arms)
    limits = (ends[0] / 1.05, ends[1] * 1.05)
    x = Axis(cost.label, cost.unit, scale="log", limits=limits)
    panels = [Panel(x, y, _curves(study, plain), height=3.0)]
    distances = _distances(study, plain, x)
    if distances is not None:
        lowest, panel = distances
        panels.append(panel)
        sentences.append(f"Below it: how far the others lie above {study.title(lowest)}, the lowest at the end")
        banded = any(isinstance(layer, Band) for layer in panel.layers)
        sentences[-1] += ", with a band for the 95% interval over seeds at each budget by itself." if banded else "."
    if tuned is not None:
        axis = Axis(f"{cost.label}, tuning included", cost.unit, scale="log")
        searches = _searches(study, tuned)
        panels.append(Panel(axis, y, [*searches, *_curves(study, tuned)], height=2.3))
        sentences.append("Last: the same with what all attempts of the arm's search cost added")
        sentences[-1] += ", and dotted before it what the search had found." if searches else "."
    without = [study.title(arm) for arm in plain.without]
    if without:
        sentences.append(f"Without {listing(without)}: not known, or at no budget that its seeds share.")
    if cost == JOULES:
        sentences.append("Energy was measured of whole trainings, and is shared out over their time.")
    title = f"{VALIDATION.capitalize()} against {cost.label}"
    return Figure(title, panels, " ".join([*sentences, *_dashed(study, plain)]), legend=True, stem=cost.name)


def _dashed(study: Study, found: Frontier) -> list[str]:
    names = [study.title(arm.arm) for arm in found.arms if arm.schedule != Schedule.FREE]
    if not names:
        return []
    return [
        f"Dashed: {listing(names)}, whose schedule depends on the budget or is not known: only the end is what a run "
        "of that budget gives."
    ]


def _curves(study: Study, found: Frontier) -> list[Layer]:
    layers: list[Layer] = [_band(arm.band, arm.arm) for arm in found.arms if len(arm.runs) > 1]
    for arm in found.arms:
        band, name = arm.band, study.title(arm.arm)
        layers.append(Step(band["cost"], band["mean"], label=name, colour=arm.arm, dash=_dash(arm), width=1.9))
        about = [f"{name}: the end of {'its mean curve' if len(arm.runs) > 1 else 'its curve'}"]
        layers.append(Points(band["cost"][-1:], band["mean"][-1:], colour=arm.arm, size=6, about=about))
    return layers


def _searches(study: Study, found: Frontier) -> list[Layer]:
    """What each search had found until the final runs have a value."""
    layers: list[Layer] = []
    for arm in found.arms:
        if arm.search is not None:
            cost = np.append(arm.search.cost, arm.start)
            best = np.append(arm.search.value, arm.search.value[-1])
            layers.append(Step(cost, best, colour=arm.arm, dash="dotted", width=1.3))
    return layers


def _band(points: pd.DataFrame, arm: str, label: str = "") -> Band:
    """A band in steps, each with the value of the evaluation before it."""
    cost, low, high = (points[name].to_numpy(dtype=float) for name in ("cost", "low", "high"))
    return Band(np.repeat(cost, 2)[1:], np.repeat(low, 2)[:-1], np.repeat(high, 2)[:-1], colour=arm, label=label)


def _distances(study: Study, found: Frontier, x: Axis) -> tuple[str, Panel] | None:
    """The arm that is the lowest where all were measured last, and how far the others lie above it."""
    shared = found.shared
    if len(found.arms) < 2 or shared is None:
        return None
    means = {arm.arm: float(arm.level(shared[1]).mean()) for arm in found.arms}
    lowest, *others = sorted(found.arms, key=lambda arm: means[arm.arm])
    drawn = [(arm, difference(lowest, arm)) for arm in others[:MOST_DIFFERENCES]]
    bands: list[Layer] = []
    for arm, points in drawn:
        known = points[np.isfinite(points["low"])]
        if len(known) > 1:
            bands.append(_band(known, arm.arm))
    lines = [
        Step(points["cost"], points["value"], label=study.title(arm.arm), colour=arm.arm, dash=_dash(lowest, arm))
        for arm, points in drawn
    ]
    # With the interval at the end, which the answer at the whole budget rests on.
    ends = [points[name].dropna()[-1:] for _, points in drawn for name in ("low", "high")]
    low, high = _limits([*(points["value"] for _, points in drawn), *ends])
    y = Axis(f"above {study.title(lowest.arm)}", "bits/dim", limits=(min(low, -0.1 * high), max(high, -0.1 * low)))
    return lowest.arm, Panel(x, y, [Rule(0.0, across="y", dash="dotted"), *bands, *lines], height=2.3)


def _dash(*arms: ArmCurves) -> Dash:
    return "solid" if all(arm.schedule == Schedule.FREE for arm in arms) else "dashed"


def _limits(values: list[pd.Series]) -> tuple[float, float]:
    """A scale for what lies not far out, with a margin."""
    low, high = fence(pd.concat(values)) or (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _on_test(study: Study, found: list[Rung]) -> Figure:
    layers: list[Layer] = []
    arms = [arm for arm in study.arms if any(arm in rung.levels for rung in found)]
    for arm in arms:
        measured = [rung for rung in found if arm in rung.levels]
        for rung in measured:
            runs = rung.levels[arm].index
            if len(runs) > 1:
                about, at = [study.described[run] for run in runs], [rung.images] * len(runs)
                seeds = rung.levels[arm]["value"]
                layers.append(Points(at, seeds, colour=arm, filled=False, size=3.5, runs=list(runs), about=about))
        for early in (True, False):
            some = [rung for rung in measured if (arm in rung.early) == early]
            if some:
                means = [float(rung.levels[arm]["value"].mean()) for rung in some]
                marks = [rung.images for rung in some]
                layers.append(Points(marks, means, label=study.title(arm), colour=arm, filled=not early, size=7.5))
    limits = _limits([pd.Series(layer.y) for layer in layers if isinstance(layer, Points)])
    lines, limits, about_codes = code_lines(study, limits)
    sentences = ["The weights that were the best on validation until then: the mean over seeds"]
    sentences[0] += (
        ", and small and hollow each seed."
        if any(len(level) > 1 for rung in found for level in rung.levels.values())
        else "."
    )
    names = [study.title(arm) for arm in arms if any(arm in rung.early for rung in found)]
    if names:
        sentences.append(f"Large hollow marks: {listing(names)} before the end, which a shorter run may not give.")
    if other_bound(found):
        sentences.append("At the whole budget the bound has another k than before, as the table says.")
    panel = Panel(Axis(IMAGES.label, scale="log"), Axis("test bits/dim", limits=limits), [*lines, *layers])
    drawn = pd.concat([pd.Series(layer.y) for layer in layers if isinstance(layer, Points) and layer.label])
    caption = " ".join([*sentences, *about_codes, *beyond(drawn, limits)])
    return Figure("Test bits/dim at shares of the budget", [panel], caption, legend=True, stem="test")
