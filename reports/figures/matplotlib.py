"""The static renderer: a figure as SVG, by matplotlib.

Text and axes are drawn in `INK`, which `reports.figures.svg` turns into the colour of the text around.
"""

from __future__ import annotations

import io
import warnings
from functools import singledispatch
from itertools import groupby
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import Normal
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from reports.figures.grammar import Band, Bars, Line, Points, Rule, Step
from reports.figures.scales import lower_error, rule_labels, scales
from reports.figures.styles import INK, MARKERS, look_of
from reports.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.figures.grammar import Axis, Figure, Layer, Panel
    from reports.figures.scales import Scale
    from reports.figures.styles import Style

MANY = 400
"""Above so many marks or lines of a kind the figure holds them as one picture: size grows no further, none is lost."""
PDF_DPI = 200
"""Dots per inch of that picture in a PDF, which is printed."""
DASHES: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (4, 2.5)),
    "dotted": (0, (1.2, 1.8)),
    "dashdot": (0, (5, 2, 1, 2)),
}

STYLE: dict[str, Any] = {
    # The user's matplotlibrc, in part or whole, would change the figures.
    **{name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")},
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


def draw_with_pdf(figure: Figure, styles: Mapping[str, Style]) -> tuple[str, bytes]:
    """The figure as matplotlib's raw SVG, and as PDF from the same canvas."""
    with mpl.rc_context(STYLE):
        canvas = canvas_of(figure, styles)
        return as_svg(canvas), as_pdf(canvas)


def draw(figure: Figure, styles: Mapping[str, Style]) -> str:
    """The figure as matplotlib's raw SVG.

    Args:
        figure: what to draw.
        styles: the look of each arm, or of what else the colour roles name.
    """
    with mpl.rc_context(STYLE):
        return as_svg(canvas_of(figure, styles))


def canvas_of(figure: Figure, styles: Mapping[str, Style]) -> Canvas:
    """The figure as matplotlib's."""
    panels = figure.panels
    canvas = Canvas(figsize=(figure.width, sum(panel.height for panel in panels)), layout="constrained")
    grid = {"hspace": 0.0} if figure.one_x else {}
    all_axes = canvas.subplots(
        len(panels),
        1,
        squeeze=False,
        height_ratios=[panel.height for panel in panels],
        gridspec_kw=grid,
    )
    for axes, panel, seen in zip(all_axes[:, 0], panels, scales(figure), strict=True):
        _draw_panel(axes, panel, seen, styles)
    if figure.legend:
        _draw_legend(canvas, all_axes[:, 0])
    return canvas


def _draw_panel(axes: Any, panel: Panel, seen: tuple[Scale, Scale], styles: Mapping[str, Style]) -> None:
    for scale, name in zip(seen, "xy", strict=True):
        if scale.log:
            getattr(axes, f"set_{name}scale")("log")
    for _, same in groupby(panel.layers, key=_kind_of_line):
        layers = list(same)
        if len(layers) > 1:
            _draw_lines(axes, layers, look_of(layers[0].colour, styles))
        else:
            draw_layer(layers[0], axes, look_of(layers[0].colour, styles), seen[1].log)
    for place, label in rule_labels(panel, seen[1]):
        axes.text(1.0, place, label, ha="right", va="bottom", fontsize=9, transform=axes.get_yaxis_transform())
    bars = any(isinstance(layer, Bars) for layer in panel.layers)
    if panel.note:
        axes.text(0.5, 0.5, panel.note, ha="center", va="center", transform=axes.transAxes)
    if panel.y.shown and not bars:
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
    if panel.shaded:
        axes.patch.set(facecolor=INK, alpha=0.05)
    _finish_axis(axes, panel.x, seen[0], "x")
    if not bars:
        _finish_axis(axes, panel.y, seen[1], "y")


def _kind_of_line(layer: Layer) -> tuple[Any, ...]:
    """The same for plain lines that one collection can draw at once, and for no other layers."""
    if type(layer) is Line and not layer.label and not layer.markers and not len(layer.error):
        return layer.colour, layer.opacity, layer.dash, layer.width
    return (id(layer),)


@singledispatch
def draw_layer(layer: Layer, axes: Any, look: Style, log_y: bool) -> None:
    """Draw a layer with the look of its colour role."""
    raise TypeError(f"{type(layer).__name__} is no layer of a figure")


def _draw_lines(axes: Any, lines: Sequence[Any], look: Style) -> None:
    drawn = [np.column_stack([*line.columns().values()]) for line in lines]
    collection = LineCollection(
        [points for points in drawn if len(points) > 1],
        colors=look.light,
        linewidths=lines[0].width,
        alpha=lines[0].opacity,
        linestyles=[_dash(lines[0].dash, look)],
    )
    collection.set_rasterized(len(lines) > MANY)
    axes.add_collection(collection)
    single = np.concatenate([points for points in drawn if len(points) <= 1] or [np.empty((0, 2))])
    marker = MARKERS[look.marker].static
    axes.plot(single[:, 0], single[:, 1], marker, color=look.light, markersize=5, alpha=lines[0].opacity)
    axes.autoscale_view()


def _dash(dash: str, look: Style) -> Any:
    return DASHES[look.dash if dash == "arm" else dash]


def _visible(layer: Line | Points, log_y: bool) -> dict[str, np.ndarray]:
    """The layer's numbers without those that a logarithmic axis cannot show."""
    columns = layer.columns()
    shown = (columns["y"] > 0) | ~np.isfinite(columns["y"]) if log_y else np.ones(len(columns["y"]), dtype=bool)
    return {name: values[shown] for name, values in columns.items()}


def _draw_errors(axes: Any, columns: dict[str, np.ndarray], look: Style, opacity: float, log_y: bool) -> None:
    if "error" in columns:
        y, error = columns["y"], columns["error"]
        bars = axes.errorbar(
            columns["x"],
            y,
            yerr=np.stack([lower_error(y, error, log=log_y), error]),
            fmt="none",
            ecolor=look.light,
            elinewidth=1.2,
            alpha=opacity,
        )
        for each in bars.get_children():
            each.set_rasterized(len(y) > MANY)


@draw_layer.register(Line)
def _(layer: Line, axes: Any, look: Style, log_y: bool) -> None:
    columns = _visible(layer, log_y)
    marked = layer.markers or len(columns["x"]) == 1
    axes.plot(
        columns["x"],
        columns["y"],
        color=look.light,
        alpha=layer.opacity,
        linewidth=layer.width,
        linestyle=_dash(layer.dash, look),
        marker=MARKERS[look.marker].static if marked else None,
        markersize=3 + layer.width,
        label=layer.label or None,
        drawstyle=f"steps-{layer.where}" if isinstance(layer, Step) else None,
    )
    _draw_errors(axes, columns, look, layer.opacity, log_y)


@draw_layer.register(Points)
def _(layer: Points, axes: Any, look: Style, log_y: bool) -> None:
    columns = _visible(layer, log_y)
    axes.plot(
        columns["x"],
        columns["y"],
        linestyle="none",
        marker=MARKERS[layer.marker or look.marker].static,
        color=look.light,
        markerfacecolor=look.light if layer.filled else "none",
        markersize=layer.size,
        markeredgewidth=1.4 if layer.marker and not MARKERS[layer.marker].hollow else 1.0,
        alpha=layer.opacity,
        rasterized=len(columns["x"]) > MANY,
        label=layer.label or None,
    )
    _draw_errors(axes, columns, look, layer.opacity, log_y)


@draw_layer.register(Band)
def _(layer: Band, axes: Any, look: Style, log_y: bool) -> None:
    columns = layer.columns()
    axes.fill_between(
        columns["x"],
        columns["low"],
        columns["high"],
        step="mid" if layer.step else None,
        color=look.light,
        alpha=0.2 * layer.opacity,
        linewidth=0,
    )


@draw_layer.register(Bars)
def _(layer: Bars, axes: Any, look: Style, log_y: bool) -> None:
    columns = layer.columns()
    place = np.arange(len(columns["x"]))[::-1]
    axes.barh(place, columns["x"], height=0.55, color=look.light, alpha=0.75 * layer.opacity)
    if "low" in columns:
        axes.hlines(place, columns["low"], columns["high"], color=INK, linewidth=1.2)
    axes.set_yticks(place, [shortened(name, 30) for name in layer.names])
    axes.tick_params(axis="y", length=0)


@draw_layer.register(Rule)
def _(layer: Rule, axes: Any, look: Style, log_y: bool) -> None:
    line = axes.axvline if layer.across == "x" else axes.axhline
    dash = _dash(layer.dash, look)
    line(layer.at, color=look.light, linewidth=0.9, linestyle=dash, alpha=layer.opacity, label=layer.label or None)


def _finish_axis(axes: Any, axis: Axis, scale: Scale, name: str) -> None:
    one: Any = getattr(axes, f"{name}axis")
    getattr(axes, f"set_{name}lim")(scale.low, scale.high)
    one.set_minor_locator(NullLocator())
    one.set_major_locator(FixedLocator([place for place, _ in scale.ticks]))
    one.set_major_formatter(FixedFormatter([label for _, label in scale.ticks]))
    if axis.shown:
        getattr(axes, f"set_{name}label")(scale.title)
    else:
        for side in axes.spines.values():
            side.set_visible(False)


def _draw_legend(canvas: Canvas, all_axes: Iterable[Any]) -> None:
    found: dict[str, Any] = {}
    for axes in all_axes:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(shortened(label, 48), handle)
    if found:
        columns = 1 if max(map(len, found)) > 28 else 2 if max(map(len, found)) > 16 else 3
        canvas.legend(
            found.values(),
            found.keys(),
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=9.5,
            handletextpad=0.5,
        )


def as_svg(canvas: Canvas) -> str:
    """A canvas as matplotlib's raw SVG, the same bytes each time."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser draws the text in its own fonts: what matplotlib's font lacks only blurs the measuring.
        warnings.filterwarnings("ignore", message=r"(Glyph|Matplotlib currently)", category=UserWarning)
        FigureCanvasSVG(canvas).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def as_pdf(canvas: Canvas) -> bytes:
    """A canvas that was drawn before as PDF, the same bytes each time, its layout as it was.

    Text becomes outlines: many publishers refuse matplotlib's Type 3 fonts, and to embed TrueType ones takes longer
    than to draw the figure.
    """
    canvas.set_layout_engine("none")
    canvas.set_dpi(PDF_DPI)
    for text in canvas.findobj(Text):
        text.set_path_effects([Normal()])
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(Glyph|Matplotlib currently)", category=UserWarning)
        FigureCanvasPdf(canvas).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()
