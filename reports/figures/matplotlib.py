"""Figure data -> matplotlib -> SVG.

Text and axes are drawn in `INK`, which `reports.figures.svg` turns into the colour of the text around.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench.core.results import RunState
from reports.analysis.curves import HOLLOW_STATES, fence
from reports.figures.styles import ENDS, UNKNOWN_END
from reports.formatting import visible

if TYPE_CHECKING:
    import pandas as pd

    from reports.analysis.budget import BestSoFar
    from reports.analysis.curves import BoundCurve, LatentProfile, LearningCurves, Response
    from reports.analysis.importance import Importances
    from reports.analysis.trade_offs import TradeOff
    from reports.figures.styles import FamilyStyle

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
        marker = ENDS.get(mark, UNKNOWN_END).marker
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
    """Learning curves against images and, where logged, seconds: trials thin, final runs a band with its mean; SVG."""
    curves = [*data.searched, *data.final]
    axes_of = [("images", "training images seen")]
    if all(np.isfinite(curve.seconds).all() for curve in curves):
        axes_of.append(("seconds", "seconds of training"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.2 * len(axes_of)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(axes_of), 1, sharey=True))
        for axes, (column, label) in zip(panels, axes_of, strict=True):
            _draw_curves(axes, data, column, style)
            axes.set_xlim(0, 1.03 * max(float(getattr(curve, column).max()) for curve in curves))
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: images_label(value)))
            axes.set_xlabel(label)
            _finish_scale(axes)
        low, high = data.limits
        margin = 0.05 * (high - low) or 0.05
        panels[0].set_ylim(low - margin, high + margin)
        figure.supylabel("validation bits/dim", fontsize=10.5)
        return as_svg(figure)


def _draw_curves(axes: Any, data: LearningCurves, column: str, style: FamilyStyle) -> None:
    searched = [np.column_stack([getattr(curve, column), curve.value]) for curve in data.searched]
    lines = LineCollection(searched, colors=style.colour, linewidths=0.9, alpha=0.35)
    lines.set_rasterized(len(searched) > MANY)
    axes.add_collection(lines)
    single = [curve[0] for curve in searched if len(curve) == 1]
    axes.plot(*zip(*single, strict=True) if single else ([], []), style.marker, color=style.colour, alpha=0.35)
    band = data.band
    axes.fill_between(band[column], band["low"], band["high"], color=style.colour, alpha=0.25, linewidth=0)
    axes.plot(band[column], band["mean"], color=style.colour, linewidth=1.9, marker=style.marker, markersize=3.5)


def draw_trade_off(data: TradeOff, styles: dict[str, FamilyStyle], label: str) -> str:
    """Bits/dim of runs of all families against a cost, the Pareto front joined, as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        front = data.front
        axes.step(
            front["cost"],
            front["value"],
            where="pre" if data.higher_is_better else "post",
            color=INK,
            linewidth=1.0,
            alpha=0.55,
            linestyle="--",
        )
        for family, points in data.points.groupby("family", sort=False):
            style = styles[str(family)]
            dense = len(points) > MANY
            for front_too, face in ((True, style.colour), (False, "none")):
                some = points[points["front"] == front_too]
                axes.plot(
                    some["cost"],
                    some["value"],
                    style.marker,
                    color=style.colour,
                    markerfacecolor=face,
                    markersize=6.5,
                    rasterized=dense and not front_too,
                )
        axes.set_xscale("log")
        cost = data.points["cost"]
        wide = float(cost.max()) > 30 * float(cost.min())
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if wide else tuple(range(1, 10))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: images_label(value)))
        low, high = fence(data.points["value"]) or (0.0, 1.0)
        margin = 0.08 * (high - low) or 0.05
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel(label)
        axes.set_ylabel(f"{data.split} bits/dim")
        _finish_scale(axes)
        return as_svg(figure)


def draw_importances(data: Importances, style: FamilyStyle) -> str:
    """Each parameter's share as a bar with the interval over resampled trials, as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 0.9 + 0.55 * len(data.shares)), layout="constrained")
        axes = figure.subplots()
        place = np.arange(len(data.shares))[::-1]
        share, low, high = (data.shares[name].to_numpy() for name in ("share", "low", "high"))
        axes.barh(place, share, height=0.55, color=style.colour, alpha=0.75)
        axes.hlines(place, low, high, color=INK, linewidth=1.2)
        axes.set_yticks(place, [_short(name, 30) for name in data.shares["parameter"]])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the variation that single parameters explain")
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
