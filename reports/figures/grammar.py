"""A figure as data: panels of axes and layers, which two renderers draw, one as SVG and one for plotly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from reports.figures.styles import MARKERS

INK = "ink"
"""The colour role of what belongs to no arm: the colour of the text."""
Dash = Literal["solid", "dashed", "dotted", "dashdot", "arm"]
"""How a line is broken; ``arm`` is how the arms of a family differ."""
Place = Literal["pre", "mid", "post"]
Values = Sequence[float] | np.ndarray | pd.Series
COLUMNS = ("x", "y", "error", "low", "high")
"""The numbers of a layer, and their columns in the CSV."""


def _numbers(values: Values) -> np.ndarray:
    return np.asarray(values, dtype=float)


@dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        label: what it shows.
        unit: of its values, in parentheses behind the label.
        scale: ``linear``, ``log``, or ``log2`` with ticks at powers of two.
        limits: lowest and highest value shown; None for those of the data.
        ticks: places and their labels; where there are none, or where they would touch, round numbers stand instead. An
            axis along which nothing is drawn, and that has no limits, has no ticks.
        named: whether the labels of ``ticks`` are names, which all stand.
        whole: whether only whole numbers get a tick.
        shown: whether ticks and label are drawn.
    """

    label: str = ""
    unit: str = ""
    scale: Literal["linear", "log", "log2"] = "linear"
    limits: tuple[float, float] | None = None
    ticks: Sequence[tuple[float, str]] = ()
    named: bool = False
    whole: bool = False
    shown: bool = True

    def __post_init__(self) -> None:
        if self.limits is not None:
            low, high = self.limits
            log = self.scale != "linear"
            if not (0 if log else -math.inf) < low < high < math.inf:
                accepted = "two numbers above 0" if log else "two finite numbers"
                raise ValueError(f"limits {low:g} and {high:g} of {self.label!r}: {accepted}, the lower one first")

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is drawn in a panel.

    Attributes:
        label: its name in the legend, in what shows under the pointer, and in the CSV.
        colour: its colour role: the name of an arm, a name of :data:`reports.figures.styles.HUES`, or ``ink``.
        opacity: from 0 to 1.
    """

    label: str = ""
    colour: str = INK
    opacity: float = 1.0

    def __post_init__(self) -> None:
        if len({len(values) for values in self.columns().values()}) > 1:
            lengths = ", ".join(f"{len(values)} of {name}" for name, values in self.columns().items())
            raise ValueError(f"a {type(self).__name__} labelled {self.label!r} has {lengths}: it needs as many of each")

    def columns(self) -> dict[str, np.ndarray]:
        """Its numbers by the column of the CSV that holds them."""
        known = {name: _numbers(getattr(self, name)) for name in COLUMNS if hasattr(self, name)}
        optional = ("error", "low", "high")
        return {name: each for name, each in known.items() if len(each) or name not in optional or not len(known["x"])}


@dataclass(frozen=True)
class Line(Layer):
    """Points in their order, joined by a line.

    Attributes:
        x: places.
        y: values; one that is not finite leaves a gap.
        error: standard errors, drawn as bars; empty for none.
        dash: how the line is broken.
        width: of the line, in points.
        markers: whether each point is marked.
        run: the run that the line is of, which selecting it shows.
        about: that run in words.
    """

    x: Values
    y: Values
    error: Values = ()
    dash: Dash = field(default="solid", kw_only=True)
    width: float = field(default=1.5, kw_only=True)
    markers: bool = field(default=False, kw_only=True)
    run: str = field(default="", kw_only=True)
    about: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Step(Line):
    """A line of steps, each with the value of the point before it (``pre``), after it (``post``) or around it."""

    where: Place = field(default="post", kw_only=True)


@dataclass(frozen=True)
class Points(Layer):
    """Marks.

    Attributes:
        x: places.
        y: values.
        error: standard errors, drawn as bars; empty for none.
        marker: a name of :data:`reports.figures.styles.MARKERS`; empty for the arm's own.
        filled: whether the mark is filled.
        size: of a mark, in points.
        runs: the run of each point, which selecting it shows; empty for none.
        about: each point in words.
    """

    x: Values
    y: Values
    error: Values = ()
    marker: str = field(default="", kw_only=True)
    filled: bool = field(default=True, kw_only=True)
    size: float = field(default=6.5, kw_only=True)
    runs: Sequence[str] | pd.Series = field(default=(), kw_only=True)
    about: Sequence[str] | pd.Series = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.marker and self.marker not in MARKERS:
            raise ValueError(f"marker {self.marker!r}: one of {', '.join(MARKERS)}, or empty for the arm's own")


@dataclass(frozen=True)
class Band(Layer):
    """The area from ``low`` to ``high``, in steps around each place where ``step`` says so."""

    x: Values
    low: Values
    high: Values
    step: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Bars(Layer):
    """Horizontal bars, the first at the top, each with the interval from ``low`` to ``high`` where there is one."""

    names: Sequence[str]
    x: Values
    low: Values = ()
    high: Values = ()


@dataclass(frozen=True)
class Rule(Layer):
    """A line across the panel ``at`` a place of the axis that ``across`` names.

    ``written`` has its label stand at its right end, of lines at places of the vertical axis.
    """

    at: float
    across: Literal["x", "y"] = field(default="x", kw_only=True)
    dash: Dash = field(default="dashed", kw_only=True)
    written: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.written and (self.across != "y" or not self.label):
            raise ValueError(f"a written rule needs across='y' and a label: {self.across!r} and {self.label!r}")

    def columns(self) -> dict[str, np.ndarray]:
        """Its place."""
        return {self.across: np.array([self.at])}


@dataclass(frozen=True)
class Panel:
    """Axes with what is drawn in them.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        layers: what is drawn, the first at the bottom.
        height: in inches, of a panel 4.8 inches wide.
        note: a sentence in the middle, where there is nothing to draw.
        shaded: whether the panel has a ground of its own.
    """

    x: Axis
    y: Axis
    layers: Sequence[Layer]
    height: float = 3.4
    note: str = ""
    shaded: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        title: its heading, and its name for screen readers.
        panels: one below the other.
        caption: what is to be seen.
        legend: whether the layers' labels are listed above.
        one_x: whether the panels share their horizontal axis and touch.
        width: in inches.
        stem: a part of its file's name; the title where empty.
        numbers: the file of the report that holds its numbers already; empty for a CSV of its own.
    """

    title: str
    panels: Sequence[Panel]
    caption: str = ""
    legend: bool = False
    one_x: bool = False
    width: float = 4.8
    stem: str = ""
    numbers: str = ""

    def frame(self) -> pd.DataFrame:
        """Its numbers: ``panel layer label colour`` and the layer's columns, ``name`` and ``run`` among them."""
        parts = []
        for number, panel in enumerate(self.panels, start=1):
            for layer in panel.layers:
                known: dict[str, object] = {"panel": number, "layer": type(layer).__name__.lower()}
                known |= {"label": layer.label, "colour": layer.colour, **layer.columns()}
                if isinstance(layer, Bars):
                    known["name"] = list(layer.names)
                if isinstance(layer, Line) and layer.run:
                    known["run"] = layer.run
                if isinstance(layer, Points) and len(layer.runs):
                    known["run"] = list(layer.runs)
                parts.append(pd.DataFrame(known))
        if not parts:
            return pd.DataFrame(columns=["panel", "layer", "label", "colour"])
        return pd.concat(parts, ignore_index=True)
