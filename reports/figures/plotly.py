"""The interactive renderer: a figure as JSON for plotly, which the page draws over the static one.

Colours are the page's CSS variables, so that they follow its theme. A point of a run carries the run's identifier as
``customdata``, a line as ``meta``: selecting it shows the run.
"""

from __future__ import annotations

from functools import singledispatch
from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.figures.grammar import Band, Bars, Line, Points, Rule, Step
from reports.figures.scales import lower_error, rule_labels, scales
from reports.figures.styles import MARKERS, look_of
from reports.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reports.figures.grammar import Axis, Figure, Layer, Panel
    from reports.figures.scales import Scale
    from reports.figures.styles import Style

INK, FAINT = "var(--ink)", "var(--rule)"
MOST_POINTS = 1200
"""Points of a layer that can be pointed at, shared among the arms; of more, the first are drawn. The static figure has
all, and the page stays small."""
MOST_CURVES = 200
"""Faint lines of runs that can be pointed at in a panel, likewise."""
MOST_OF_CURVES = 20_000
"""Their points, likewise."""
INCH = 100
"""Pixels that stand for an inch of the static figure."""
POINT = INCH / 72
"""Pixels that stand for a point of the static figure."""
FULL = ",.9~g"
"""Whole numbers as labels in a zoom: a logarithmic axis would else have single digits between powers of ten."""
BETWEEN = 0.75
"""Inches between panels, for the labels of the upper one."""
DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot"}
SHAPES = {"pre": "vh", "post": "hv", "mid": "hvh"}


def draw(figure: Figure, styles: Mapping[str, Style]) -> str:
    """The figure as plotly's JSON.

    Args:
        figure: what to draw.
        styles: the look of each arm, or of what else the colour roles name.
    """
    heights = [panel.height for panel in figure.panels]
    space = 0.02 if figure.one_x or len(heights) < 2 else min(BETWEEN / sum(heights), 0.8 / (len(heights) - 1))
    drawn = make_subplots(len(heights), 1, shared_xaxes=figure.one_x, row_heights=heights, vertical_spacing=space)
    labelled: set[str] = set()
    for row, (panel, seen) in enumerate(zip(figure.panels, scales(figure), strict=True), start=1):
        for layer in _few(panel, len(styles)):
            look = look_of(layer.colour, styles)
            fresh = figure.legend and bool(layer.label) and layer.label not in labelled
            for trace in traces(layer, look, panel, _share(MOST_POINTS, len(styles))):
                drawn.add_trace(trace.update(showlegend=fresh), row=row, col=1)
                fresh = False
            labelled |= {layer.label} if layer.label else set()
            if isinstance(layer, Rule):
                _rule(drawn, layer, look, row)
        _rule_labels(drawn, panel, seen[1], row)
        _finish(drawn, panel, seen, row)
    return _json(drawn, round(INCH * sum(heights)), legend=bool(figure.legend))


def _share(most: int, arms: int) -> int:
    """How many of the most each arm may have: its share, or a tenth where arms are more."""
    return most // min(10, max(1, arms))


def _few(panel: Panel, arms: int) -> list[Layer]:
    """The layers without the faint lines that are too many to point at."""
    lines = points = 0
    kept = []
    for layer in panel.layers:
        if isinstance(layer, Line) and layer.run and layer.opacity < 1:
            lines, points = lines + 1, points + len(layer.x)
            if lines > _share(MOST_CURVES, arms) or points > _share(MOST_OF_CURVES, arms):
                continue
        kept.append(layer)
    return kept


def _colour(look: Style) -> str:
    """The colour in the page's theme."""
    return f"var(--{look.name})"


@singledispatch
def traces(layer: Layer, look: Style, panel: Panel, most: int) -> list[go.Scatter | go.Bar]:
    """What plotly draws for a layer, of points the first ``most``."""
    return []


def _errors(columns: dict[str, np.ndarray], look: Style, panel: Panel) -> dict[str, Any] | None:
    if "error" not in columns:
        return None
    error = columns["error"]
    bars = {"array": _numbers(error), "color": _colour(look), "width": 0, "thickness": 1.2}
    if panel.y.scale == "linear":
        return bars
    return bars | {"symmetric": False, "arrayminus": _numbers(lower_error(columns["y"], error, log=True))}


def _hover(panel: Panel, about: str) -> str:
    """What shows under the pointer: what it is, and the numbers by their axes."""
    named = [(panel.x, "x"), (panel.y, "y")]
    parts = [about] if about else []
    parts += [f"{_text(axis.title)}: %{{{name}}}" for axis, name in named if axis.shown and axis.label]
    return "<br>".join(parts) + "<extra></extra>"


@traces.register(Line)
def _(layer: Line, look: Style, panel: Panel, most: int) -> list[go.Scatter | go.Bar]:
    columns = layer.columns()
    x, y = _numbers(columns["x"]), _numbers(columns["y"])
    shape = SHAPES[layer.where] if isinstance(layer, Step) else "linear"
    dash = DASHES[look.dash if layer.dash == "arm" else layer.dash]
    marked = layer.markers or len(x) == 1
    return [
        go.Scatter(
            x=x,
            y=y,
            mode="lines+markers" if marked else "lines",
            name=_text(layer.label or layer.about),
            line={"color": _colour(look), "width": POINT * layer.width, "dash": dash, "shape": shape},
            marker={"size": POINT * (3 + layer.width), "symbol": MARKERS[look.marker].interactive},
            opacity=layer.opacity,
            meta=layer.run or None,
            error_y=_errors(columns, look, panel),
            hovertemplate=_hover(panel, "%{fullData.name}" if layer.about or layer.label else ""),
        )
    ]


@traces.register(Points)
def _(layer: Points, look: Style, panel: Panel, most: int) -> list[go.Scatter | go.Bar]:
    columns = {name: values[:most] for name, values in layer.columns().items()}
    marker = MARKERS[layer.marker or look.marker]
    about = [_text(str(text)) for text in list(layer.about)[:most]]
    hollow = "" if layer.filled or marker.interactive.endswith("-open") or not marker.hollow else "-open"
    return [
        go.Scatter(
            x=_numbers(columns["x"]),
            y=_numbers(columns["y"]),
            mode="markers",
            name=_text(layer.label),
            marker={
                "symbol": marker.interactive + hollow,
                "size": POINT * layer.size,
                "color": _colour(look),
                "opacity": layer.opacity,
                "line": {"width": 1.4, "color": _colour(look)},
            },
            customdata=[str(run) for run in list(layer.runs)[:most]] or None,
            text=about or None,
            error_y=_errors(columns, look, panel),
            hovertemplate=_hover(panel, "%{text}" if about else _text(layer.label)),
        )
    ]


@traces.register(Band)
def _(layer: Band, look: Style, panel: Panel, most: int) -> list[go.Scatter | go.Bar]:
    columns = layer.columns()
    shape = "hvh" if layer.step else "linear"
    edge = {"mode": "lines", "line": {"width": 0, "color": _colour(look), "shape": shape}, "hoverinfo": "skip"}
    x = _numbers(columns["x"])
    low, high = (np.nan_to_num(columns[name], posinf=1e9, neginf=-1e9) for name in ("low", "high"))
    return [
        go.Scatter(x=x, y=_numbers(low), **edge),
        go.Scatter(
            x=x,
            y=_numbers(high),
            fill="tonexty",
            fillcolor=f"var(--{look.name}-band)",
            **edge,
        ),
    ]


@traces.register(Bars)
def _(layer: Bars, look: Style, panel: Panel, most: int) -> list[go.Scatter | go.Bar]:
    columns = layer.columns()
    place = [_text(shortened(name, 30)) for name in layer.names][::-1]
    errors = None
    if "low" in columns:
        up, down = (columns["high"] - columns["x"])[::-1], (columns["x"] - columns["low"])[::-1]
        errors = {"array": _numbers(up), "arrayminus": _numbers(down), "symmetric": False, "color": INK, "width": 0}
    bar = {"color": _colour(look), "opacity": 0.75 * layer.opacity}
    x = _numbers(columns["x"][::-1])
    return [go.Bar(x=x, y=place, orientation="h", width=0.55, marker=bar, error_x=errors, name=_text(layer.label))]


def _rule(drawn: go.Figure, layer: Rule, look: Style, row: int) -> None:
    line = {"color": _colour(look), "width": 1, "dash": DASHES[look.dash if layer.dash == "arm" else layer.dash]}
    add = drawn.add_vline if layer.across == "x" else drawn.add_hline
    # A rule may come before all else in its panel, which plotly would take for an empty one.
    add(layer.at, line=line, opacity=layer.opacity, row=row, col=1, exclude_empty_subplots=False)


def _rule_labels(drawn: go.Figure, panel: Panel, scale: Scale, row: int) -> None:
    for place, label in rule_labels(panel, scale):
        drawn.add_annotation(
            text=_text(label),
            x=1,
            y=float(np.log10(place)) if scale.log else place,
            xref="x domain",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11},
            row=row,
            col=1,
        )


def _finish(drawn: go.Figure, panel: Panel, seen: tuple[Scale, Scale], row: int) -> None:
    bars = any(isinstance(layer, Bars) for layer in panel.layers)
    drawn.update_xaxes(**_axis(panel.x, seen[0]), row=row, col=1)
    if not bars:
        drawn.update_yaxes(**_axis(panel.y, seen[1]), row=row, col=1)
    if panel.shaded:
        ends = {"x0": 0, "x1": 1, "y0": 0, "y1": 1, "xref": "x domain", "yref": "y domain"}
        ground = {"fillcolor": "var(--ink-band)", "opacity": 0.3, "line_width": 0, "layer": "below"}
        drawn.add_shape(type="rect", **ends, **ground, row=row, col=1)
    if panel.note:
        drawn.add_annotation(
            text=_text(panel.note), x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False, row=row, col=1
        )


def _axis(axis: Axis, scale: Scale) -> dict[str, Any]:
    """An axis with the ticks of the static figure, which the page's script replaces by plotly's own in a zoom."""
    return {
        "title_text": _lines(scale.title),
        "visible": axis.shown,
        "type": "log" if scale.log else "linear",
        "range": [float(np.log10(end)) if scale.log else end for end in (scale.low, scale.high)],
        "tickmode": "array",
        "tickvals": [place for place, _ in scale.ticks],
        "ticktext": [_lines(label) for _, label in scale.ticks],
        "tickformat": FULL,
    }


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Seven digits, as more would fill the page and show nowhere; None for what is not finite."""
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values]


def _text(text: str) -> str:
    """Text that plotly, which knows some HTML and its own templates, shows as it is."""
    return escape(text).replace("%{", "&#37;{")


def _lines(text: str) -> str:
    return "<br>".join(map(_text, text.split("\n")))


def _json(figure: go.Figure, height: int, *, legend: bool) -> str:
    axis: dict[str, Any] = {
        "gridcolor": FAINT,
        "tickcolor": FAINT,
        "ticks": "outside",
        "zeroline": False,
        "automargin": True,
    }
    axis |= {"title_font": {"size": 13}, "title_standoff": 8}
    figure.update_xaxes(**axis, showgrid=False, showline=True, linecolor=FAINT)
    figure.update_yaxes(**axis)
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "itemclick": False,
            "traceorder": "normal",
        },
        hovermode="closest",
        font={"color": "var(--soft)", "size": 13, "family": "system-ui, sans-serif"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"bgcolor": "var(--raised)", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
        dragmode="zoom",
    )
    return cast(str, figure.to_json(remove_uids=True))
