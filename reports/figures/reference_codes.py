"""Reference codes in figures of bits/dim: lines at them, and sentences on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.reference_codes import kinds, reference_codes
from reports.figures.grammar import Rule
from reports.formatting import listing, quantity

if TYPE_CHECKING:
    from reports.analysis.reference_codes import Code
    from reports.analysis.results import Study
    from reports.figures.grammar import Dash, Layer

LINE_OF: dict[Dash, str] = {"dotted": "dotted", "dashdot": "dash-dotted"}
"""The lines at reference codes in words."""


def dash(code: Code) -> Dash:
    """How the line at a code is broken: otherwise for the model than for the others."""
    return "dashdot" if code.is_model else "dotted"


def code_lines(study: Study, limits: tuple[float, float]) -> tuple[list[Layer], tuple[float, float], list[str]]:
    """Lines at the reference codes near a scale of test bits/dim, the scale with them in it, and sentences on them."""
    low, high = limits
    codes = reference_codes(study)
    shown = [code for code in codes if low - (high - low) <= code.value <= high + (high - low)]
    lines: list[Layer] = [
        Rule(code.value, label=code.label, across="y", dash=dash(code), opacity=0.6, written=True) for code in shown
    ]
    ends = [code.value for code in shown]
    among = [[code for code in shown if code.is_model == is_model] for is_model in (False, True)]
    key = "; ".join(f"{LINE_OF[dash(some[0])]}: {kinds(some)}" for some in among if some)
    dotted = [f"{key[0].upper()}{key[1:]}, of no arm."] if shown else []
    beyond = codes_beyond([code for code in codes if code not in shown])
    return lines, (min([low, *ends]), max([high, *ends])), [*dotted, *beyond]


def codes_beyond(codes: list[Code]) -> list[str]:
    """The reference codes that the scale does not reach, in a sentence."""
    named = listing([f"{code.label} at {quantity(code.value)}" for code in codes])
    return [f"{kinds(codes).capitalize()} beyond this scale: {named}."] if codes else []
