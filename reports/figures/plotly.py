"""Figure data -> plotly, as JSON: the same figures once more for readers who want to look closer.

The page draws them over the static ones where its script runs. Colours are the page's CSS variables, so that they
follow its theme. A point of a run carries the run's identifier as ``customdata``, a curve as ``meta``: selecting it
shows the run.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bench.core.results import RunState
from reports.analysis.curves import HOLLOW_STATES
from reports.figures.styles import ENDS, UNKNOWN_END
from reports.formatting import plain, quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from reports.analysis.curves import Curve, LearningCurves, Response
    from reports.analysis.trade_offs import TradeOff
    from reports.figures.styles import FamilyStyle

INK, FAINT = "var(--ink)", "var(--rule)"
MOST_POINTS = 1000
"""Trials of a family that can be pointed at; of more, the best are drawn, and the static figure has all."""
MOST_CURVES = 200
"""Learning curves of trials that can be pointed at, likewise."""


def colour(style: FamilyStyle) -> str:
    """The family's colour in the page's theme."""
    return f"var(--{style.name})"


def response(data: Response, style: FamilyStyle) -> str:
    """A response curve with its strip."""
    strip, body = (data.points[data.points["strip"] == there].head(MOST_POINTS) for there in (True, False))
    heights = [1.0] if strip.empty else [0.15, 0.85]
    rows = len(heights)
    figure = make_subplots(rows=rows, shared_xaxes=True, row_heights=heights, vertical_spacing=0.02)
    for mark, points in strip.groupby("mark", sort=False):
        rank = points.groupby("x").cumcount()
        end = ENDS.get(str(mark), UNKNOWN_END)
        marker = {"symbol": end.symbol, "size": 9, "color": colour(style), "line": {"width": 1.5}}
        figure.add_trace(_points(points, "x", rank + 1, end.caption.format("").strip(), marker), row=1, col=1)
    for mark, points in body.groupby("mark", sort=False):
        symbol = style.symbol if mark in (RunState.COMPLETE, RunState.PRUNED) else "diamond-tall"
        hollow = "-open" if mark in HOLLOW_STATES else ""
        marker = {"symbol": symbol + hollow, "size": 9, "color": colour(style), "opacity": 0.85}
        figure.add_trace(_points(points, "x", points["value"], str(mark), marker), row=rows, col=1)
    chosen = body[body["selected"]]
    ring = {"symbol": "circle-open", "size": 17, "color": INK}
    figure.add_trace(_points(chosen, "x", chosen["value"], "selected", ring), row=rows, col=1)
    if data.log:
        figure.update_xaxes(type="log", dtick="D3")
    if data.ticks is not None:
        figure.update_xaxes(tickvals=[x for x, _ in data.ticks], ticktext=[_text(label) for _, label in data.ticks])
    figure.update_xaxes(title_text=_text(data.parameter), row=rows, col=1)
    figure.update_yaxes(title_text="validation bits/dim", row=rows, col=1)
    if not strip.empty:
        figure.update_yaxes(visible=False, row=1, col=1)
    return _json(figure)


def learning_curves(data: LearningCurves, style: FamilyStyle) -> str:
    """Learning curves against training images seen: trials thin, final runs bold."""
    figure = go.Figure()
    best = sorted(data.searched, key=lambda curve: float(curve.value[-1]))[:MOST_CURVES]
    for curves, width, opacity in ((best, 1, 0.45), (data.final, 2.5, 1.0)):
        for curve in curves:
            figure.add_trace(_line(curve, {"color": colour(style), "width": width}, opacity))
    low, high = data.limits
    margin = 0.05 * (high - low) or 0.05
    figure.update_xaxes(title_text="training images seen")
    figure.update_yaxes(title_text="validation bits/dim", range=[low - margin, high + margin])
    return _json(figure)


def trade_off(data: TradeOff, styles: dict[str, FamilyStyle], label: str) -> str:
    """Bits/dim of runs of all families against a cost, the Pareto front joined."""
    front = data.front
    shape = "vh" if data.higher_is_better else "hv"
    line = {"color": INK, "width": 1, "dash": "dash", "shape": shape}
    x, y = _numbers(front["cost"]), _numbers(front["value"])
    figure = go.Figure(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip"))
    best = data.points.sort_values("value", kind="stable")
    for family, points in best.groupby("family", sort=False):
        points, style = points.head(MOST_POINTS), styles[str(family)]
        symbols = [style.symbol if on_front else f"{style.symbol}-open" for on_front in points["front"]]
        marker = {"symbol": symbols, "size": 9, "color": colour(style)}
        words = [f"{about}, {plain(cost)} {label}" for about, cost in points[["about", "cost"]].itertuples(index=False)]
        figure.add_trace(_points(points.assign(about=words), "cost", points["value"], str(family), marker))
    wide = float(best["cost"].max()) > 30 * float(best["cost"].min())
    figure.update_xaxes(title_text=_text(label), type="log", dtick="D2" if wide else "D1")
    figure.update_yaxes(title_text=f"{data.split} bits/dim")
    return _json(figure)


def _points(frame: pd.DataFrame, x: str, y: pd.Series, name: str, marker: dict[str, Any]) -> go.Scatter:
    values = ["" if np.isnan(value) else f"<br>{quantity(float(value))} bits/dim" for value in frame["value"]]
    return go.Scatter(
        x=_numbers(frame[x]),
        y=_numbers(y),
        mode="markers",
        name=_text(name),
        marker=marker,
        customdata=list(frame["run_id"].map(str)),
        hovertext=[_text(about) + value for about, value in zip(frame["about"], values, strict=True)],
        hoverinfo="text",
    )


def _line(curve: Curve, line: dict[str, Any], opacity: float) -> go.Scatter:
    return go.Scatter(
        x=_numbers(curve.images),
        y=_numbers(curve.value),
        mode="lines+markers",
        line=line,
        marker={"size": 3 + line["width"]},
        opacity=opacity,
        meta=curve.run_id,
        hovertext=_text(curve.about),
        hoverinfo="x+y+text",
    )


def _numbers(values: Iterable[float]) -> list[float]:
    """Seven digits: more would fill the page and show nowhere."""
    return [float(f"{value:.7g}") for value in values]


def _text(text: str) -> str:
    """Text that plotly, which knows some HTML, shows as it is."""
    return escape(text)


def _json(figure: go.Figure) -> str:
    axis = {"gridcolor": FAINT, "tickcolor": FAINT, "ticks": "outside", "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis, showgrid=False, showline=True, linecolor=FAINT)
    figure.update_yaxes(**axis)
    figure.update_layout(
        template="none",
        height=340,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        showlegend=False,
        hovermode="closest",
        font={"color": "var(--soft)", "size": 13, "family": "system-ui, sans-serif"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"bgcolor": "var(--raised)", "bordercolor": FAINT, "font": {"color": INK}, "align": "left"},
        dragmode="zoom",
    )
    return cast(str, figure.to_json(remove_uids=True))
