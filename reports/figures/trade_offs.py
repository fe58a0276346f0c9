"""The figures of what likelihood costs: training time, size and sampling speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.analysis.curves import fence
from reports.analysis.trade_offs import trade_offs as trade_offs_of
from reports.figures.axes import BARS, beyond, standard_errors, widened, with_bars
from reports.figures.grammar import Axis, Figure, Panel, Points, Step
from reports.figures.reference_codes import code_lines
from reports.figures.registry import register_figure
from reports.figures.styles import arm_styles
from reports.formatting import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.results import Study
    from reports.figures.grammar import Layer, Place

COSTS = {
    "training_seconds": ("training time", Axis("training time", "s", scale="log")),
    "parameters": ("size", Axis("trainable parameters", scale="log")),
    "sample_images_per_second": ("sampling speed", Axis("images sampled per second", scale="log")),
}


@register_figure("trade-off", "Likelihood against its cost", section="comparison")
def trade_offs(study: Study) -> Iterator[Figure]:
    """Likelihood against training time, size and sampling speed, each with its Pareto front."""
    styles = arm_styles(study.families)
    for data in trade_offs_of(study):
        cost, axis = COSTS[data.metric]
        front = data.front
        where: Place = "pre" if data.higher_is_better else "post"
        layers: list[Layer] = [Step(front["cost"], front["value"], where=where, dash="dashed", width=1.0, opacity=0.55)]
        points = data.points.sort_values("value", kind="stable")
        for arm in study.arms:
            for on_front in (False, True):
                some = points[(points["arm"] == arm) & (points["front"] == on_front)]
                layers.append(
                    Points(
                        some["cost"],
                        some["value"],
                        standard_errors(study, data.split, some["run_id"]),
                        label=study.title(arm),
                        colour=arm,
                        filled=on_front,
                        runs=some["run_id"],
                        about=some["about"],
                    )
                )
        errors = standard_errors(study, data.split, data.points["run_id"])
        limits = with_bars(fence(data.points["value"]) or (0.0, 1.0), data.points["value"], errors)
        lines, limits, about_codes = code_lines(study, limits) if data.split == "test" else ([], limits, [])
        limits = widened(*limits, share=0.08)
        layers = [*lines, *layers]
        runs = "complete trials" if data.split == "validation" else "final runs"
        arms = [arm for arm in study.arms if arm in set(data.points["arm"])]
        key = [f"{styles[arm].filled} {study.title(arm)}" for arm in arms]
        counts = front["arm"].value_counts()
        joined = " and joined" if len(front) > 1 else ""
        bars = f", with {BARS}" if np.isfinite(errors).any() else ""
        caption = (
            f"{', '.join(key)}: {len(data.points)} {runs}{bars}. Filled{joined}: the Pareto front, runs that no other "
            f"beats in both, {listing([f'{counts[arm]} of {study.title(arm)}' for arm in counts.index])}."
        )
        caption = " ".join([caption, *about_codes, *beyond(data.points["value"], limits)])
        under = f" ({data.conditions})" if data.conditions else ""
        title = f"{data.split.capitalize()} bits/dim against {cost}{under}"
        yield Figure(title, [Panel(axis, Axis(f"{data.split} bits/dim", limits=limits), layers)], caption, stem=cost)
