"""The figures of learning curves: validation in the course of training, and what more training is forecast to bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.analysis import arm_forecasts, curves, differences
from reports.analysis.forecast import FARTHEST, Fit
from reports.figures.axes import IMAGES, SECONDS, VALIDATION, widened
from reports.figures.grammar import Axis, Band, Figure, Line, Panel, Rule
from reports.figures.registry import register_figure
from reports.formatting import count, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reports.analysis.results import Study
    from reports.figures.grammar import Layer

FAINT = 0.35
"""The opacity of search trials' learning curves."""


@register_figure("learning", "Validation in the course of training", section="learning")
def learning_curves(study: Study) -> Iterator[Figure]:
    """The final runs of all arms in one figure, then all runs of each arm."""
    found = curves.learning_curves(study)
    comparable = len(differences.likelihood_units(study, "validation")) < 2
    together = [data for data in found if len(data.band)] if comparable else []
    if len(together) > 1:
        layers = {
            column: [layer for data in together for layer in _mean(study, data, column, label=True)]
            for column in ("images", "seconds")
        }
        panels = _course_panels(together, layers)
        title = f"All arms: {VALIDATION} of the final runs against {_across(panels)}"
        caption = (
            "Mean over the final runs of each arm; bands are the ranges over seeds."
            if _banded(panels)
            else "The final run of each arm."
        )
        yield Figure(title, panels, caption, legend=True, stem="arms", numbers="histories.csv")
    for data in found:
        panels = _course_panels([data], {column: _runs(study, data, column) for column in ("images", "seconds")})
        final = f"{count(len(data.final), 'final run')} in full colour"
        mean = ", their mean bold, their range over seeds as a band" if _banded(panels) else ""
        runs = [
            f"{count(len(data.searched), 'search trial')} faint" if data.searched else "",
            f"{final}{mean}" if data.final else "",
        ]
        yield Figure(
            f"{study.title(data.arm)}: {VALIDATION} against {_across(panels)}",
            panels,
            f"{'; '.join(filter(None, runs))}. One scale for all arms, without the highest 5% of points.",
            stem=data.arm,
            numbers="histories.csv",
        )


def _across(panels: list[Panel]) -> str:
    """What the panels' horizontal axes show."""
    return listing([panel.x.label for panel in panels])


def _banded(panels: list[Panel]) -> bool:
    return any(isinstance(layer, Band) for panel in panels for layer in panel.layers)


def _course_panels(found: list[curves.LearningCurves], layers: dict[str, list[Layer]]) -> list[Panel]:
    """A panel against images, and one against seconds where all were logged."""
    shown = [curve for data in found for curve in (*data.searched, *data.final)]
    y = Axis(VALIDATION, limits=widened(*found[0].limits, share=0.05))
    panels = []
    for column, axis in (("images", IMAGES), ("seconds", SECONDS)):
        if all(np.isfinite(getattr(curve, column)).all() for curve in shown):
            limits = (0.0, 1.03 * max(float(getattr(curve, column).max()) for curve in shown))
            panels.append(Panel(Axis(axis.label, axis.unit, limits=limits), y, layers[column], height=2.9))
    return panels


def _runs(study: Study, data: curves.LearningCurves, column: str) -> list[Layer]:
    """The trials thin, those with the lowest last value first, and the final runs: their mean, range and lines."""
    searched = sorted(data.searched, key=lambda curve: float(curve.value[-1]))
    lines: Iterable[Layer] = (
        Line(
            getattr(curve, column),
            curve.value,
            colour=data.arm,
            width=0.9,
            opacity=opacity,
            run=curve.run_id,
            about=curve.about,
        )
        for group, opacity in ((searched, FAINT), (data.final, 1.0))
        for curve in group
    )
    return [*lines, *_mean(study, data, column)]


def _mean(study: Study, data: curves.LearningCurves, column: str, *, label: bool = False) -> list[Layer]:
    band, several = data.band, len(data.final) > 1
    if band.empty:
        return []
    name = study.title(data.arm)
    ranges: list[Layer] = [Band(band[column], band["low"], band["high"], colour=data.arm)] if several else []
    return [
        *ranges,
        Line(
            band[column],
            band["mean"],
            colour=data.arm,
            label=name if label else "",
            about=f"{name}: {'mean of the final runs' if several else 'the final run'}",
            width=1.9,
            markers=len(band) <= 30,
            dash="arm" if label else "solid",
        ),
    ]


FORECAST_NOTE = (
    "Solid: the mean validation curve of the final runs, as measured. Dashed, with a band: a forecast of these runs "
    "trained on, the best so far by a saturating power law with drift, with its 95% interval; nothing of it has been "
    "measured. It ends at twice the measured budget, as farther out such intervals held too few ends of logged curves."
)


@register_figure("forecast", "Forecast of more training", section="learning", note=FORECAST_NOTE)
def forecasts(study: Study) -> Figure | None:
    """What more training is forecast to bring each arm that has a forecast."""
    if len(differences.likelihood_units(study, "validation")) > 1:
        return None
    found = {arm: arm_forecasts.forecast(study, arm) for arm in study.arms}
    fits = {arm: fit for arm, fit in found.items() if isinstance(fit, Fit)}
    if not fits:
        return None
    layers: list[Layer] = []
    shown = []
    for arm, fit in fits.items():
        budgets = np.geomspace(fit.end, FARTHEST * fit.end, 40)
        value, low, high = fit.at(budgets)
        name = study.title(arm)
        layers += [
            Band(budgets, low, high, label=f"{name}, forecast", colour=arm, opacity=0.6),
            Line(budgets, value, label=f"{name}, forecast", colour=arm, dash="dashed", width=1.2),
            Line(fit.images, fit.mean, label=f"{name}, measured", colour=arm, width=1.9),
        ]
        shown += [fit.mean, low, high]
    layers += [Rule(end, dash="dotted", opacity=0.6) for end in sorted({fit.end for fit in fits.values()})]
    values = np.concatenate(shown)
    y = Axis(VALIDATION, limits=widened(float(values.min()), float(values.max()), share=0.05))
    title = f"{listing([study.title(arm) for arm in fits])}: {VALIDATION} forecast to {FARTHEST:g} times the budget"
    caption = (
        "A dashed line is a forecast of the best so far, its band the 95% interval; a dotted line ends what was "
        "measured. The first tenth of training is not fitted and not drawn."
    )
    without = [study.title(arm) for arm in found if arm not in fits]
    if without:
        caption = f"{caption} Without a forecast: {listing(without)}."
    panel = Panel(Axis(IMAGES.label, scale="log"), y, layers, height=2.9)
    return Figure(title, [panel], caption, legend=True, stem="arms")
