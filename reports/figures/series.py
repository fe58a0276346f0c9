"""The gradient study's figures: points with error bars and the lines that theory draws through them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.figures.matplotlib import INK, STYLE
from reports.figures.styles import GLOW, OTHERS, VAE, FamilyStyle

STYLES: dict[str, FamilyStyle] = {
    "pathwise": VAE,
    "iwae": VAE,
    "score_function": GLOW,
    "score_function_baseline": OTHERS[0],
    "sticking_the_landing": OTHERS[1],
    "doubly_reparameterised": OTHERS[2],
}
"""Colour and marker of each estimator, the same throughout the report."""


@dataclass(frozen=True)
class Series:
    """One estimator in a figure.

    Attributes:
        estimator: its name, a key of :data:`STYLES`.
        label: its name in the legend.
        x: places of the measured points.
        y: measured values; those that a logarithmic axis cannot show are left out.
        error: their standard errors, empty for none.
        line: a curve (x, y) drawn without marks: the closed form, or a fit.
        joined: whether a line joins the points themselves.
    """

    estimator: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()
    line: tuple[Sequence[float], Sequence[float]] = field(default=((), ()))
    joined: bool = False


@dataclass(frozen=True)
class Axes:
    """The axes of a figure: labels, scales, places of ticks where they are chosen, and a marked place."""

    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[float] = ()
    marked: float | None = None
    limits: tuple[float, float] | None = None


def draw(series: Sequence[Series], axes: Axes) -> str:
    """The figure as raw SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.6), layout="constrained")
        drawn = figure.subplots()
        if axes.log_x:
            drawn.set_xscale("log")
        if axes.log_y:
            drawn.set_yscale("log")
        labelled: set[str] = set()
        for one in series:
            _draw_series(drawn, one, axes.log_y, one.label not in labelled)
            labelled.add(one.label)
        if axes.marked is not None:
            drawn.axvline(axes.marked, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        _place_ticks(drawn, axes)
        drawn.set_xlabel(axes.x)
        drawn.set_ylabel(axes.y)
        drawn.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
        columns = 1 if max(map(len, labelled)) > 30 else 2
        figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=9.5, handletextpad=0.5)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def _draw_series(drawn: Any, one: Series, log_y: bool, named: bool) -> None:
    style = STYLES[one.estimator]
    x, y = np.asarray(one.x, dtype=float), np.asarray(one.y, dtype=float)
    error = np.asarray(one.error, dtype=float) if len(one.error) else np.zeros_like(y)
    shown = np.isfinite(y) & ((y > 0) | (not log_y))
    x, y, error = x[shown], y[shown], error[shown]
    # On a logarithmic axis an error as large as its value would reach down to nothing.
    low = np.minimum(error, 0.9 * y) if log_y else error
    drawn.errorbar(
        x,
        y,
        yerr=np.stack([low, error]),
        marker=style.marker,
        markersize=5.5,
        linestyle="-" if one.joined else "none",
        linewidth=1.4,
        elinewidth=1.2,
        color=style.colour,
        label=one.label if named else None,
    )
    drawn.plot(*one.line, color=style.colour, linewidth=1.1, alpha=0.8)


def _place_ticks(drawn: Any, axes: Axes) -> None:
    plain = FuncFormatter(lambda value, _: _short(value))
    drawn.xaxis.set_minor_locator(NullLocator())
    drawn.yaxis.set_minor_locator(NullLocator())
    if axes.limits is not None:
        drawn.set_ylim(*axes.limits)
    if axes.ticks:
        drawn.xaxis.set_major_locator(FixedLocator(list(axes.ticks)))
    if not axes.log_y:
        drawn.yaxis.set_major_locator(MaxNLocator(5))
    else:
        low, high = drawn.get_ylim()
        drawn.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=7))
    drawn.xaxis.set_major_formatter(plain)
    drawn.yaxis.set_major_formatter(plain)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _short(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-2):
        exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
        factor = value / 10.0**exponent
        power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
        return power if abs(factor - 1) < 1e-6 else f"{factor:.3g}·{power}".replace("-", "−")
    if abs(value) >= 1e3:
        return f"{value / 1e3:g} k"
    return f"{value:g}".replace("-", "−")
