"""The figure of a comparison over numbers of training images: the arms, and their distance to the lowest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.analysis import statistics
from reports.analysis.train_sizes import TRAINING_IMAGES
from reports.figures.grammar import Axis, Band, Figure, Line, Panel, Points, Rule
from reports.formatting import listing

if TYPE_CHECKING:
    from reports.analysis.frontier import AtBudget
    from reports.analysis.train_sizes import OverTrainSizes
    from reports.figures.grammar import Layer

MOST_DIFFERENCES = 3
"""Arms whose distance to the lowest is drawn: the nearest ones."""
WIDEST_BAND = 3.0
"""Ranges of the arms' values that a panel is high at most: the t interval of two seeds may be far wider."""


def likelihoods(found: OverTrainSizes) -> Figure | None:
    """Test bits/dim of each arm against the number of training images, and the distance of the others to the lowest."""
    if not found.compared:
        return None
    sizes = found.sizes
    ticks = [(float(n), f"{n:,}") for n in sizes]
    x = Axis(TRAINING_IMAGES.label, scale="log", limits=(sizes[0] / 1.12, sizes[-1] * 1.12), ticks=ticks, named=True)
    bands, lines = _arms(found)
    values = np.concatenate([layer.columns()["y"] for layer in lines])
    limits, cut = _limits(values, bands)
    panels = [Panel(x, Axis("test bits/dim", limits=limits), [*bands, *lines], height=3.0)]
    sentences = ["Large marks: the mean over seeds; small ones: each seed."]
    if bands:
        sentences.append("Bands: the 95% interval over seeds at each number by itself.")
    distances = _distances(found, x)
    if distances is not None:
        order, panel, also_cut = distances
        panels.append(panel)
        cut = cut or also_cut
        sentences.append(
            f"Below: how far {_others(order)} above {found.title(order.lowest)}, the lowest at {order.cost:,.0f} "
            "images, with the 95% interval of each study; where it excludes 0, that study decides."
        )
    if cut:
        sentences.append("Bands that are far wider than the arms lie apart end at the edge.")
    missing = [found.title(arm) for arm in found.arms if not found.levels(arm)]
    if missing:
        sentences.append(f"Without {listing(missing)}: no test value.")
    title = f"Test bits/dim against the number of training images of {found.data_name}"
    return Figure(title, panels, " ".join(sentences), legend=True, stem="likelihood")


def _arms(found: OverTrainSizes) -> tuple[list[Layer], list[Layer]]:
    bands: list[Layer] = []
    lines: list[Layer] = []
    for arm in found.arms:
        levels, title = found.levels(arm), found.title(arm)
        several = {n: values for n, values in levels.items() if len(values) > 1 and np.ptp(values) > 0}
        if len(several) > 1:
            ends = np.array([statistics.mean_interval(values) for values in several.values()])
            bands.append(Band(list(several), ends[:, 0], ends[:, 1], colour=arm))
        for n, values in levels.items():
            if len(values) > 1:
                about = [f"{title}: a seed at {n:,} images"] * len(values)
                lines.append(Points([n] * len(values), values, colour=arm, filled=False, size=3.5, about=about))
        means = [float(values.mean()) for values in levels.values()]
        if means:
            lines.append(Line(list(levels), means, colour=arm, dash="arm", width=1.9))
            about = [f"{title}: the mean at {n:,} images" for n in levels]
            lines.append(Points(list(levels), means, label=title, colour=arm, size=7, about=about))
    return bands, lines


def _others(order: AtBudget) -> str:
    """The other arms whose distances are drawn, with their verb."""
    others = len(order.levels) - 1
    if others > MOST_DIFFERENCES:
        return f"the nearest {MOST_DIFFERENCES} lie"
    return "the other one lies" if others == 1 else "the others lie"


def _distances(found: OverTrainSizes, x: Axis) -> tuple[AtBudget, Panel, bool] | None:
    """The arms at the most images at which two were measured, and how far others lie above the lowest of them."""
    compared = [order for order in found.orders if order.lowest]
    if not compared:
        return None
    last = compared[-1]
    nearest = sorted((arm for arm in last.levels if arm != last.lowest), key=lambda arm: float(last.levels[arm].mean()))
    bands: list[Layer] = []
    lines: list[Layer] = []
    for arm in nearest[:MOST_DIFFERENCES]:
        points = found.difference(last.lowest, arm)
        known = points[np.isfinite(points["low"])]
        if len(known) > 1:
            bands.append(Band(known["cost"], known["low"], known["high"], colour=arm))
        lines.append(
            Line(points["cost"], points["value"], label=found.title(arm), colour=arm, dash="arm", markers=True)
        )
    limits, cut = _limits(np.concatenate([[0.0], *(layer.columns()["y"] for layer in lines)]), bands)
    y = Axis(f"above {found.title(last.lowest)}", "bits/dim", limits=limits)
    return last, Panel(x, y, [Rule(0.0, across="y", dash="dotted"), *bands, *lines], height=2.3), cut


def _limits(values: np.ndarray, bands: list[Layer]) -> tuple[tuple[float, float], bool]:
    """A scale for values and their bands, and whether it cuts bands that are far wider."""
    low, high = float(values.min()), float(values.max())
    spread = high - low or 0.05 * abs(high) or 0.05
    ends = np.concatenate([values, *(layer.columns()[end] for layer in bands for end in ("low", "high"))])
    least, most = low - (WIDEST_BAND - 1) / 2 * spread, high + (WIDEST_BAND - 1) / 2 * spread
    cut = bool(ends.min() < least or ends.max() > most)
    low, high = max(float(ends.min()), least), min(float(ends.max()), most)
    margin = 0.06 * (high - low) or 0.05
    return (low - margin, high + margin), cut
