"""The figures of the trials: responses to swept parameters, which of them matters, and the best against the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.core.results import RunState
from reports.analysis import budget, curves, selection
from reports.analysis.curves import HOLLOW_STATES
from reports.analysis.importance import importances as importances_of
from reports.figures.axes import BARS, IMAGES, SECONDS, VALIDATION, standard_errors, widened, with_bars
from reports.figures.grammar import Axis, Band, Bars, Figure, Panel, Points, Step
from reports.figures.registry import register_figure
from reports.figures.styles import ENDS, UNKNOWN_END, arm_styles
from reports.formatting import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from reports.analysis.results import Study
    from reports.figures.grammar import Layer

RESPONSE_NOTE = (
    "Each mark is a trial. Hollow marks are trials that ended early or still run, at the last validation value they "
    "reached. Trials that have no place on the scale stand in the strip at the top edge, so that none is left out."
)


@register_figure("response", "Likelihood against each swept parameter", section="trials", note=RESPONSE_NOTE)
def responses(study: Study) -> Iterator[Figure]:
    """Validation bits/dim against each swept parameter of each arm, sizes and learning rates first."""
    for arm, parameter in selection.by_interest(study):
        data = curves.response(study, arm, parameter)
        if data is not None:
            yield response(study, data)


def response(study: Study, data: curves.Response) -> Figure:
    """A response curve with its strip of trials that have no place on the scale."""
    strip, body = (data.points[data.points["strip"] == there] for there in (True, False))
    whole = bool((data.points["x"] % 1 == 0).all())
    scale: Literal["linear", "log"] = "log" if data.log else "linear"
    x = Axis(data.parameter, scale=scale, ticks=data.ticks or (), named=data.named, whole=whole)
    complete = body[body["mark"] == RunState.COMPLETE]
    errors = standard_errors(study, "validation", complete["run_id"])
    layers: list[Layer] = [_trials(complete, data.arm, error=errors, opacity=0.85)]
    for state in HOLLOW_STATES:
        marker = "" if state == RunState.PRUNED else "lozenge"
        layers.append(_trials(body[body["mark"] == state], data.arm, marker=marker, filled=False))
    chosen = body[body["selected"]]
    layers.append(Points(chosen["x"], chosen["value"], label="selected", marker="circle", filled=False, size=13))
    layers = [layer for layer in layers if not isinstance(layer, Points) or len(layer.x)]
    note = "" if data.limits is not None else "no trial has a finite value"
    limits = None if data.limits is None else with_bars(data.limits, complete["value"], errors)
    y = Axis(VALIDATION, limits=None if limits is None else widened(*limits, share=0.08))
    panels = [Panel(x, y, layers, height=2.8, note=note)]
    if len(strip):
        panels.insert(0, _strip(strip, x, data.arm))
    title = f"{study.title(data.arm)}: {VALIDATION} against {data.parameter}"
    stem = f"{data.arm}-{data.parameter}"
    return Figure(title, panels, _response_caption(study, data), one_x=True, stem=stem)


def _trials(points: pd.DataFrame, arm: str, **known: object) -> Points:
    label = str(points["mark"].iloc[0]) if len(points) else ""
    about = {"runs": points["run_id"], "about": points["about"], "label": label, "colour": arm}
    return Points(points["x"], points["value"], **(about | known))  # type: ignore[arg-type]


def _strip(strip: pd.DataFrame, x: Axis, arm: str) -> Panel:
    """The marks that have no place on the scale; those that share a place are stacked, so that each shows."""
    rank = strip.groupby("x").cumcount()
    strip = strip.assign(value=(rank + 1) / (rank.groupby(strip["x"]).transform("size") + 1))
    layers = [
        _trials(some, arm, marker=ENDS.get(str(mark), UNKNOWN_END).marker, size=7.5)
        for mark, some in strip.groupby("mark", sort=False)
    ]
    hidden = Axis(scale=x.scale, shown=False)
    return Panel(hidden, Axis(limits=(0.0, 1.0), shown=False), layers, height=0.6, shaded=True)


def _response_caption(study: Study, data: curves.Response) -> str:
    style = arm_styles(study.families)[data.arm]
    body = data.points[~data.points["strip"]]
    counts = body["mark"].value_counts()
    complete = body.loc[body["mark"] == RunState.COMPLETE, "run_id"]
    bars = f" with {BARS}" if np.isfinite(standard_errors(study, "validation", complete)).any() else ""
    key = [
        f"{symbol} {counts[mark]} {words}"
        for mark, symbol, words in (
            (RunState.COMPLETE, style.filled, f"complete{bars}"),
            (RunState.PRUNED, style.hollow, "pruned"),
            (RunState.INTERRUPTED, "◊", "interrupted"),
            (RunState.RUNNING, "◊", "running"),
        )
        if mark in counts
    ]
    if body["selected"].any():
        key.append("◯ the selected one")
    edge = data.points.loc[data.points["strip"], "mark"].value_counts(sort=False)
    strip = [ENDS.get(mark, UNKNOWN_END).caption(n) for mark, n in edge.items()]
    sentences = [f"{', '.join(key)}." if key else "", f"In the strip: {', '.join(strip)}." if strip else ""]
    if data.without:
        sentences.append(f"{count(data.without, 'trial')} without a value of this parameter not drawn.")
    return " ".join(filter(None, sentences))


@register_figure("importance", "Which parameter matters", section="trials")
def importances(study: Study) -> Iterator[Figure]:
    """Which swept parameter the likelihood depends on, of each arm with enough complete trials."""
    for data in importances_of(study):
        shares = data.shares
        bars = Bars(list(shares["parameter"]), shares["share"], shares["low"], shares["high"], colour=data.arm)
        x = Axis("share of the variation that single parameters explain", limits=(0.0, 1.0))
        yield Figure(
            f"{study.title(data.arm)}: which swept parameter matters",
            [Panel(x, Axis(), [bars], height=0.9 + 0.55 * len(shares))],
            f"Shares of the variation of {VALIDATION} over the swept ranges, by functional ANOVA on "
            f"{count(data.trials, 'complete trial')}; the line is the range over resampled trials.",
            stem=data.arm,
        )


@register_figure("budget", "Best so far against the budget", section="trials")
def budgets(study: Study) -> Iterator[Figure]:
    """The best validation bits/dim so far against what the search has spent, of each arm."""
    for data in budget.best_so_far(study):
        best = data.observed["best"]
        inside = [] if data.band is None else list(data.band["median"][np.isfinite(data.band["median"])])
        found = study.trials[(study.trials["arm"] == data.arm) & study.trials["best"]]
        error = standard_errors(study, "validation", found["run_id"])
        ends = [float(best.iloc[-1]) + side * float(by) for by in error if np.isfinite(by) for side in (-1, 1)]
        low, high = widened(
            min([float(best.min()), *inside, *ends]), max([float(best.max()), *inside, *ends]), share=0.1
        )
        y = Axis("best bits/dim so far", limits=(low, high))
        panels = []
        for column, axis in (("trials", Axis("trials", whole=True)), ("images", IMAGES), ("seconds", SECONDS)):
            spent = data.observed[column]
            layers: list[Layer] = [
                Step(spent, best, colour=data.arm, label="this study"),
                Points(spent.iloc[-1:], best.iloc[-1:], error, colour=data.arm, size=5, label="this study"),
            ]
            if column == "trials" and data.band is not None:
                band = data.band.clip(lower=low - 1, upper=high + 1)  # infinite ends leave the scale
                n, label = data.band["trials"], "median of random trials"
                layers.append(Band(n, band["low"], band["high"], colour=data.arm, step=True))
                layers.append(
                    Step(n, band["median"], where="mid", colour=data.arm, dash="dashed", width=1.2, label=label)
                )
            limits = (0.0, 1.03 * max(float(spent.max()), 1e-9))
            panels.append(Panel(Axis(axis.label, axis.unit, limits=limits, whole=axis.whole), y, layers, height=2.3))
        title = f"{study.title(data.arm)}: best {VALIDATION} so far against the budget"
        bar = " The bar at the line's end is one standard error over images." if ends else ""
        yield Figure(title, panels, f"{_budget_caption(data)}{bar}", stem=data.arm)


def _budget_caption(data: budget.BestSoFar) -> str:
    if data.band is None:
        how = f" by the {data.sampler} sampler" if data.sampler else ""
        trials = int(data.observed["trials"].iloc[-1])
        if data.sampler == "random":
            reason = "no trial is a random draw yet"
        elif data.sampler == "tpe" and trials <= budget.TPE_STARTUP_TRIALS:
            reason = (
                "its trials are the arm's own configuration and random draws, as the tpe sampler proposes none "
                f"before {budget.TPE_STARTUP_TRIALS} trials have completed, and they are too few"
            )
        else:
            reason = f"its trials were proposed{how} and not drawn independently"
        return (
            f"The line is what this one study found, in its order. No interval is drawn: {reason}, so only repeated "
            "studies could say how far another one would differ."
        )
    sentences = [
        "Solid: what this study found, in its order.",
        "Dashed: the median best of so many random trials, with its 95% band, from "
        f"{count(data.draws, 'independent draw')} (the first trial is the arm's own configuration and no draw). Where "
        "the band leaves the scale, the trials are too few to bound it.",
        "Trials that failed, diverged or were pruned count as infinitely bad, as they cannot be selected.",
    ]
    if data.pruned:
        sentences.append("Pruning depends on earlier trials, so that here the band holds only approximately.")
    return " ".join(sentences)
