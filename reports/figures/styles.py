"""How a family and a trial's end look, the same in every figure of a report.

Families have one colour and one marker each, from the palette of Okabe and Ito (2008), which colour-blind readers
distinguish.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.results import RunState
from reports.analysis.curves import NO_VALUE, OFF_SCALE


@dataclass(frozen=True)
class FamilyStyle:
    """A family's look.

    Attributes:
        name: its style class, and the CSS variable of its colour.
        colour: on light paper.
        marker: matplotlib's.
        symbol: plotly's, filled; ``-open`` behind it makes it hollow.
        filled: the marker as a character.
        hollow: the same, hollow.
    """

    name: str
    colour: str
    marker: str
    symbol: str
    filled: str
    hollow: str


@dataclass(frozen=True)
class EndStyle:
    """How a trial that has no place on the scale is marked: matplotlib's marker, plotly's symbol, and the caption."""

    marker: str
    symbol: str
    caption: str


VAE = FamilyStyle("vae", "#0072b2", "o", "circle", "●", "○")
GLOW = FamilyStyle("glow", "#d55e00", "s", "square", "■", "□")
OTHERS = (
    FamilyStyle("other-1", "#009e73", "v", "triangle-down", "▼", "▽"),
    FamilyStyle("other-2", "#cc79a7", "p", "pentagon", "⬟", "⬠"),
    FamilyStyle("other-3", "#e69f00", "h", "hexagon", "⬢", "⬡"),
    FamilyStyle("other-4", "#56b4e9", "D", "diamond", "◆", "◇"),
)
ENDS: dict[str, EndStyle] = {
    RunState.DIVERGED: EndStyle("x", "x-thin-open", "× {} diverged"),
    RunState.OUT_OF_MEMORY: EndStyle("+", "cross-thin-open", "+ {} out of memory"),
    RunState.FAILED: EndStyle("2", "y-up-open", "⅄ {} failed"),
    RunState.INTERRUPTED: EndStyle("|", "line-ns-open", "| {} interrupted"),
    RunState.RUNNING: EndStyle("_", "line-ew-open", "– {} running"),
    RunState.PRUNED: EndStyle(".", "circle-open-dot", "⚬ {} pruned without a value"),
    NO_VALUE: EndStyle("*", "star", "★ {} complete without a finite value"),
    OFF_SCALE: EndStyle("^", "triangle-up", "▲ {} above the scale"),
}
UNKNOWN_END = EndStyle("x", "x-thin-open", "× {} in another state")


def family_styles(families: list[str]) -> dict[str, FamilyStyle]:
    """One style a family, the same throughout a report; after six families they repeat."""
    others = iter([*OTHERS] * (1 + len(families) // len(OTHERS)))
    known = {"vae": VAE, "glow": GLOW}
    return {family: known.get(family) or next(others) for family in families}
