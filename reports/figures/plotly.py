"""The interactive renderer: a figure as JSON for plotly, which the page draws over the static one.

It is written by plotly.js's own names: plotly's Python package would check each as it is set, which took a third of a
report's time. Colours are the page's CSS variables, so that they follow its theme. A point of a run carries the run's
identifier as ``customdata``, a line as ``meta``: selecting it shows the run.
"""

from __future__ import annotations

import json
from functools import singledispatch
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from reports.figures.grammar import Band, Bars, Line, Points, Rule, Step
from reports.figures.scales import lower_error, rule_labels, scales
from reports.figures.styles import MARKERS, look_of
from reports.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.figures.grammar import Axis, Figure, Layer, Panel
    from reports.figures.scales import Scale
    from reports.figures.styles import Style

Drawn: TypeAlias = dict[str, Any]
"""A trace, an axis, a shape or an annotation."""
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
_TITLE = {"font": {"size": 13}, "standoff": 8}
_STYLE: dict[str, Any] = {
    "gridcolor": FAINT,
    "tickcolor": FAINT,
    "ticks": "outside",
    "zeroline": False,
    "automargin": True,
    "title": _TITLE,
}
"""What all axes share."""
SHAPES = {"pre": "vh", "post": "hv", "mid": "hvh"}


def draw(figure: Figure, styles: Mapping[str, Style]) -> str:
    """The figure as plotly's JSON.

    Args:
        figure: what to draw.
        styles: the look of each arm, or of what else the colour roles name.
    """
    data: list[Drawn] = []
    layout: dict[str, Any] = _layout(figure)
    labelled: set[str] = set()
    heights = [panel.height for panel in figure.panels]
    of_panels = zip(figure.panels, _domains(heights, one_x=figure.one_x), scales(figure), strict=True)
    for row, (panel, domain, seen) in enumerate(of_panels, start=1):
        names = _names(row)
        for layer in _few(panel, len(styles)):
            look = look_of(layer.colour, styles)
            # A band has no line to show in the legend, and belongs to one.
            named = bool(layer.label) and not isinstance(layer, Band)
            fresh = figure.legend and named and layer.label not in labelled
            for trace in traces(layer, look, panel, _share(MOST_POINTS, len(styles))):
                data.append({**trace, **names, "showlegend": fresh})
                fresh = False
            labelled |= {layer.label} if named else set()
            if isinstance(layer, Rule) and np.isfinite(layer.at):
                layout["shapes"].append(_rule(layer, look, names))
        layout["annotations"] += _rule_labels(panel, seen[1], names)
        below = figure.one_x and row < len(heights)
        layout |= _axes(panel, seen, row, domain, below=_names(len(heights))["xaxis"] if below else None)
        if panel.shaded:
            layout["shapes"].append(_ground(names))
        if panel.note:
            layout["annotations"].append(_note(panel.note, names))
    # Numbers of NumPy's, as a user's figure may give.
    known = {"data": data, "layout": layout}
    return json.dumps(known, allow_nan=False, separators=(",", ":"), default=lambda number: number.item())


def _names(row: int) -> dict[str, str]:
    """What plotly calls the axes of the panel in a row, counted from 1."""
    number = "" if row == 1 else str(row)
    return {"xaxis": f"x{number}", "yaxis": f"y{number}"}


def _domains(heights: Sequence[float], *, one_x: bool) -> list[list[float]]:
    """Where each panel begins and ends, the first at the top: shares of the height."""
    gaps = len(heights) - 1
    space = 0.02 if one_x or not gaps else min(BETWEEN / sum(heights), 0.8 / gaps)
    unit = (1 - space * gaps) / sum(heights)
    ends = [1.0, *(1 - unit * high - space * number for number, high in enumerate(accumulate(heights), start=1))]
    return [[max(0.0, top - unit * height), top] for top, height in zip(ends, heights, strict=False)]


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
def traces(layer: Layer, look: Style, panel: Panel, most: int) -> list[Drawn]:
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
def _(layer: Line, look: Style, panel: Panel, most: int) -> list[Drawn]:
    columns = layer.columns()
    x, y = _numbers(columns["x"]), _numbers(columns["y"])
    shape = SHAPES[layer.where] if isinstance(layer, Step) else "linear"
    dash = DASHES[look.dash if layer.dash == "arm" else layer.dash]
    marked = layer.markers or len(x) == 1
    return [
        _scatter(
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
def _(layer: Points, look: Style, panel: Panel, most: int) -> list[Drawn]:
    columns = {name: values[:most] for name, values in layer.columns().items()}
    marker = MARKERS[layer.marker or look.marker]
    about = [_text(str(text)) for text in list(layer.about)[:most]]
    hollow = "" if layer.filled or marker.interactive.endswith("-open") or not marker.hollow else "-open"
    return [
        _scatter(
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
def _(layer: Band, look: Style, panel: Panel, most: int) -> list[Drawn]:
    columns = layer.columns()
    shape = "hvh" if layer.step else "linear"
    edge: Drawn = {"mode": "lines", "line": {"width": 0, "color": _colour(look), "shape": shape}, "hoverinfo": "skip"}
    x = _numbers(columns["x"])
    low, high = (np.nan_to_num(columns[name], posinf=1e9, neginf=-1e9) for name in ("low", "high"))
    return [
        _scatter(x=x, y=_numbers(low), **edge),
        _scatter(
            x=x,
            y=_numbers(high),
            fill="tonexty",
            fillcolor=f"var(--{look.name}-band)",
            **edge,
        ),
    ]


@traces.register(Bars)
def _(layer: Bars, look: Style, panel: Panel, most: int) -> list[Drawn]:
    columns = layer.columns()
    place = [_text(shortened(name, 30)) for name in layer.names][::-1]
    errors = None
    if "low" in columns:
        up, down = (columns["high"] - columns["x"])[::-1], (columns["x"] - columns["low"])[::-1]
        errors = {"array": _numbers(up), "arrayminus": _numbers(down), "symmetric": False, "color": INK, "width": 0}
    bar = {"color": _colour(look), "opacity": 0.75 * layer.opacity}
    x = _numbers(columns["x"][::-1])
    return [
        _trace("bar", x=x, y=place, orientation="h", width=0.55, marker=bar, error_x=errors, name=_text(layer.label))
    ]


def _rule(layer: Rule, look: Style, names: dict[str, str]) -> Drawn:
    """A line across the panel."""
    x, y = (names["xaxis"], f"{names['yaxis']} domain"), (f"{names['xaxis']} domain", names["yaxis"])
    at = float(layer.at)
    ends: dict[str, float] = {"x0": at, "x1": at, "y0": 0, "y1": 1}
    if layer.across == "y":
        ends = {"x0": 0, "x1": 1, "y0": at, "y1": at}
    line = {"color": _colour(look), "width": 1, "dash": DASHES[look.dash if layer.dash == "arm" else layer.dash]}
    refs = dict(zip(("xref", "yref"), x if layer.across == "x" else y, strict=True))
    return {"type": "line", **ends, **refs, "line": line, "opacity": layer.opacity}


def _rule_labels(panel: Panel, scale: Scale, names: dict[str, str]) -> list[Drawn]:
    return [
        {
            "text": _text(label),
            "x": 1,
            "y": float(np.log10(place) if scale.log else place),
            "xref": f"{names['xaxis']} domain",
            "yref": names["yaxis"],
            "xanchor": "right",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 11},
        }
        for place, label in rule_labels(panel, scale)
    ]


def _whole(names: dict[str, str]) -> dict[str, str]:
    """Places as shares of the panel."""
    return {"xref": f"{names['xaxis']} domain", "yref": f"{names['yaxis']} domain"}


def _ground(names: dict[str, str]) -> Drawn:
    ends = {"x0": 0, "x1": 1, "y0": 0, "y1": 1, **_whole(names)}
    return {
        "type": "rect",
        **ends,
        "fillcolor": "var(--ink-band)",
        "opacity": 0.3,
        "line": {"width": 0},
        "layer": "below",
    }


def _note(text: str, names: dict[str, str]) -> Drawn:
    return {"text": _text(text), "x": 0.5, "y": 0.5, **_whole(names), "showarrow": False}


def _axes(
    panel: Panel, seen: tuple[Scale, Scale], row: int, domain: list[float], *, below: str | None
) -> dict[str, Drawn]:
    """Both axes of a panel; ``below`` is the x-axis whose range and ticks it shares, if any."""
    names = _names(row)
    shared = {} if below is None else {"matches": below, "showticklabels": False}
    line = {"showgrid": False, "showline": True, "linecolor": FAINT}
    bars = any(isinstance(layer, Bars) for layer in panel.layers)
    x = {"anchor": names["yaxis"], "domain": [0.0, 1.0], **shared, **_axis(panel.x, seen[0]), **line}
    y = {"anchor": names["xaxis"], "domain": domain, **(_STYLE if bars else _axis(panel.y, seen[1]))}
    number = "" if row == 1 else str(row)
    return {f"xaxis{number}": x, f"yaxis{number}": y}


def _axis(axis: Axis, scale: Scale) -> dict[str, Any]:
    """An axis with the ticks of the static figure, which the page's script replaces by plotly's own in a zoom."""
    return {
        **_STYLE,
        "title": {**_TITLE, "text": _lines(scale.title)},
        "visible": axis.shown,
        "type": "log" if scale.log else "linear",
        "range": [float(np.log10(end) if scale.log else end) for end in (scale.low, scale.high)],
        "tickmode": "array",
        "tickvals": [float(place) for place, _ in scale.ticks],
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


def _scatter(**of_trace: Any) -> Drawn:
    return _trace("scatter", **of_trace)


def _trace(kind: str, **of_trace: Any) -> Drawn:
    """A trace with what is known of it."""
    return {"type": kind, **{name: value for name, value in of_trace.items() if value is not None}}


def _layout(figure: Figure) -> dict[str, Any]:
    """What all panels share."""
    return {
        "height": round(INCH * sum(panel.height for panel in figure.panels)),
        "shapes": [],
        "annotations": [],
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "showlegend": bool(figure.legend),
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "itemclick": False,
            "traceorder": "normal",
        },
        "hovermode": "closest",
        "font": {"color": "var(--soft)", "size": 13, "family": "system-ui, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "var(--raised)", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
        "dragmode": "zoom",
    }
