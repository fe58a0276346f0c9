"""Figure data -> matplotlib -> SVG.

Families have one colour and one marker each, from the palette of Okabe and Ito (2008), which colour-blind readers
tell apart. Text and axes are drawn in `INK`, which `reports.svg` turns into the colour of the text around.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench.results import RunState
from reports.figures import HOLLOW_STATES, NO_VALUE, OFF_SCALE, LearningCurves, Response
from reports.formatting import visible

if TYPE_CHECKING:
    import pandas as pd

    from reports.budget import BestSoFar
    from reports.figures import BoundCurve, LatentProfile

INK = "#010203"
MANY = 400
"""Above so many marks or lines of a kind the figure holds them as one picture: size grows no further, none is lost."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reparam-bench",
    "text.parse_math": False,
    "font.size": 10.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class FamilyStyle:
    """A family's style class, colour on light paper, marker, and that marker as a character, filled and hollow."""

    name: str
    colour: str
    marker: str
    filled: str
    hollow: str


VAE = FamilyStyle("vae", "#0072b2", "o", "●", "○")
GLOW = FamilyStyle("glow", "#d55e00", "s", "■", "□")
OTHERS = (
    FamilyStyle("other-1", "#009e73", "v", "▼", "▽"),
    FamilyStyle("other-2", "#cc79a7", "p", "⬟", "⬠"),
    FamilyStyle("other-3", "#e69f00", "h", "⬢", "⬡"),
    FamilyStyle("other-4", "#56b4e9", "D", "◆", "◇"),
)
STRIP_MARKS: dict[str, tuple[str, str]] = {
    RunState.DIVERGED: ("x", "× {} diverged"),
    RunState.OUT_OF_MEMORY: ("+", "+ {} out of memory"),
    RunState.FAILED: ("2", "⅄ {} failed"),
    RunState.INTERRUPTED: ("|", "| {} interrupted"),
    RunState.RUNNING: ("_", "– {} running"),
    RunState.PRUNED: (".", "⚬ {} pruned without a value"),
    NO_VALUE: ("*", "★ {} complete without a finite value"),
    OFF_SCALE: ("^", "▲ {} above the scale"),
}
UNKNOWN_MARK = ("x", "× {} in another state")


def family_styles(families: list[str]) -> dict[str, FamilyStyle]:
    """One style a family, the same throughout a report; after six families they repeat."""
    others = iter([*OTHERS] * (1 + len(families) // len(OTHERS)))
    known = {"vae": VAE, "glow": GLOW}
    return {family: known.get(family) or next(others) for family in families}


def draw_response(data: Response, style: FamilyStyle) -> str:
    """A response curve with its strip of trials that have no place on the scale, as raw SVG."""
    strip = data.points[data.points["strip"]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        if strip.empty:
            axes = figure.subplots()
        else:
            edge, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 5], gridspec_kw={"hspace": 0})
            _draw_strip(edge, strip, style)
        _draw_points(axes, data, style)
        axes.set_xlabel(_short(data.parameter, 40))
        axes.set_ylabel("validation bits/dim")
        _place_ticks(axes, data)
        return as_svg(figure)


def _draw_points(axes: Any, data: Response, style: FamilyStyle) -> None:
    points = data.points[~data.points["strip"]]
    dense = {"rasterized": len(points) > MANY}
    plain: dict[str, Any] = {"linestyle": "none", "markersize": 6.5, "markeredgecolor": style.colour, **dense}
    complete = points[points["mark"] == RunState.COMPLETE]
    axes.plot(complete["x"], complete["value"], marker=style.marker, color=style.colour, alpha=0.85, **plain)
    for state in HOLLOW_STATES:
        early = points[points["mark"] == state]
        marker = style.marker if state == RunState.PRUNED else "d"
        axes.plot(early["x"], early["value"], marker=marker, markerfacecolor="none", **plain)
    chosen = points[points["selected"]]
    axes.plot(chosen["x"], chosen["value"], "o", markersize=14, markerfacecolor="none", markeredgecolor=INK)
    if data.limits is not None:
        low, high = data.limits
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no trial has a finite value", ha="center", va="center", transform=axes.transAxes)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)


def _draw_strip(edge: Any, strip: pd.DataFrame, style: FamilyStyle) -> None:
    """Stack the marks that share a place, so that each of them shows."""
    rank = strip.groupby("x").cumcount()
    height = (rank + 1) / (rank.groupby(strip["x"]).transform("size") + 1)
    for mark in strip["mark"].unique():
        some = strip["mark"] == mark
        marker = STRIP_MARKS.get(mark, UNKNOWN_MARK)[0]
        edge.plot(
            strip.loc[some, "x"],
            height[some],
            marker,
            color=style.colour,
            markersize=7.5,
            markeredgewidth=1.4,
            rasterized=int(some.sum()) > MANY,
        )
    edge.set(ylim=(0, 1), yticks=[])
    edge.axhspan(0, 1, color=INK, alpha=0.05, linewidth=0)
    edge.tick_params(bottom=False, labelbottom=False)
    for side in edge.spines.values():
        side.set_visible(False)


def _place_ticks(axes: Any, data: Response) -> None:
    places = data.points["x"]
    low, high = float(places.min()), float(places.max())
    if data.log:
        axes.set_xscale("log")
        factor = (high / low) ** 0.05
        axes.set_xlim(low / factor, high * factor)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high < 1000 * low else (1.0,)))
    else:
        margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    if data.ticks is not None:
        labels = {place: _short(label, 12) for place, label in data.ticks}
        axes.xaxis.set_major_locator(FixedLocator(list(labels)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: labels.get(value, "")))


def _short(text: str, length: int) -> str:
    text = visible(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def draw_learning_curves(data: LearningCurves, style: FamilyStyle) -> str:
    """Learning curves, search trials thin and reported final runs bold, as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        for curves, width, alpha in ((data.searched, 0.9, 0.4), (data.final, 1.9, 1.0)):
            lines = LineCollection(curves, colors=style.colour, linewidths=width, alpha=alpha)
            lines.set_rasterized(len(curves) > MANY)
            axes.add_collection(lines)
            points = [curve[0] for curve in curves if len(curve) == 1]
            axes.plot(*zip(*points, strict=True) if points else ([], []), style.marker, color=style.colour, alpha=alpha)
        low, high = data.limits
        axes.set_ylim(low - (0.05 * (high - low) or 0.05), high + (0.05 * (high - low) or 0.05))
        axes.set_xlim(0, 1.03 * max(float(curve[:, 0].max()) for curve in (*data.searched, *data.final)))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: images_label(value)))
        axes.set_xlabel("training images seen")
        axes.set_ylabel("validation bits/dim")
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
        return as_svg(figure)


def draw_bound_curve(data: BoundCurve, style: FamilyStyle) -> str:
    """Test bits/dim against the number of importance samples, with a band of two Monte Carlo errors, as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        samples, value = data.points["importance_samples"], data.points["value"]
        error = 2 * data.points["error"].fillna(0.0)
        axes.fill_between(samples, value - error, value + error, color=style.colour, alpha=0.2, linewidth=0)
        axes.plot(samples, value, marker=style.marker, color=style.colour, markersize=5)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("importance samples k")
        axes.set_ylabel("test bits/dim")
        _finish_scale(axes)
        return as_svg(figure)


def draw_latent_profile(data: LatentProfile, style: FamilyStyle) -> str:
    """KL of each latent, in descending order, active ones filled, as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        rank = np.arange(1, len(data.points) + 1)
        dense = len(rank) > MANY
        for active, fill in ((True, style.colour), (False, "none")):
            some = (data.points["active"] == active).to_numpy()
            axes.plot(
                rank[some],
                data.points.loc[some, "kl_nats"],
                style.marker,
                color=style.colour,
                markerfacecolor=fill,
                markersize=5,
                rasterized=dense,
            )
        most, least = float(data.points["kl_nats"].max()), float(data.points["kl_nats"].min())
        axes.set_ylim(bottom=min(0.0, least) - 0.04 * (most or 1.0))  # so that marks at 0 show whole
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("latent, by its KL")
        axes.set_ylabel("KL to the prior (nats)")
        _finish_scale(axes)
        return as_svg(figure)


def draw_budget(data: BestSoFar, style: FamilyStyle) -> str:
    """The best value so far against trials, images and seconds, one panel each on one scale, as raw SVG."""
    best = data.observed["best"]
    limits = (float(best.min()), float(best.max()))
    if data.band is not None:
        inside = data.band["median"][np.isfinite(data.band["median"])]
        limits = (min([limits[0], *inside]), max([limits[1], *inside]))
    margin = 0.1 * (limits[1] - limits[0]) or 0.05
    low, high = limits[0] - margin, limits[1] + margin
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 6.6), layout="constrained")
        for axes, (column, label) in zip(
            figure.subplots(3, 1, sharey=True),
            (("trials", "trials"), ("images", "training images seen"), ("seconds", "seconds")),
            strict=True,
        ):
            spent = data.observed[column]
            axes.step(spent, best, where="post", color=style.colour, linewidth=1.6)
            axes.plot(spent.iloc[-1:], best.iloc[-1:], style.marker, color=style.colour, markersize=5)
            if column == "trials" and data.band is not None:
                band = data.band.clip(lower=low - 1, upper=high + 1)  # infinite ends leave the scale
                n = data.band["trials"]
                axes.fill_between(n, band["low"], band["high"], step="mid", color=style.colour, alpha=0.18, linewidth=0)
                axes.step(n, band["median"], where="mid", color=style.colour, linewidth=1.2, linestyle="--")
            axes.set_xlim(0, 1.03 * max(float(spent.max()), 1e-9))
            axes.set_ylim(low, high)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=column == "trials"))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: images_label(value)))
            axes.set_xlabel(label)
            _finish_scale(axes)
        figure.supylabel("best validation bits/dim", fontsize=10.5)
        return as_svg(figure)


def _finish_scale(axes: Any) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)


def images_label(value: float) -> str:
    """A number of images as a tick label, such as ``40 k``."""
    factor, suffix = (1e6, " M") if value >= 1e6 else (1e3, " k") if value >= 1e3 else (1.0, "")
    return f"{value / factor:g}{suffix}"


def as_svg(figure: Figure) -> str:
    """A figure as matplotlib's raw SVG, the same bytes each time."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser draws the text in its own fonts: what matplotlib's font lacks only blurs the measuring.
        warnings.filterwarnings("ignore", message=r"(Glyph|Matplotlib currently)", category=UserWarning)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()
