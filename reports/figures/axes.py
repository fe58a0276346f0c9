"""Axes that several figures share: what they are called, limits with room for error bars, and rows with names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.analysis.results import LIKELIHOOD
from reports.figures.grammar import Axis, Panel
from reports.figures.scales import LONGEST

if TYPE_CHECKING:
    import pandas as pd

    from reports.analysis.results import Study
    from reports.figures.grammar import Layer

VALIDATION = "validation bits/dim"
BARS = "bars of one standard error over images"
IMAGES, SECONDS = Axis("training images seen"), Axis("training time", "s")


def widened(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A scale with a margin at both ends."""
    margin = share * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def standard_errors(study: Study, split: str, runs: pd.Series) -> np.ndarray:
    """The standard errors of the bits/dim of some runs, NaN where none was measured."""
    measured = study.measured(split, LIKELIHOOD).drop_duplicates("run_id").set_index("run_id")
    return runs.map(measured["standard_error"]).to_numpy(dtype=float)


def with_bars(limits: tuple[float, float], values: pd.Series, errors: np.ndarray) -> tuple[float, float]:
    """A scale with the error bars of the values that are on it."""
    inside = values.between(*limits).to_numpy() & np.isfinite(errors)
    ends = [values.to_numpy()[inside] + sign * errors[inside] for sign in (-1, 1)]
    return float(np.min([limits[0], *ends[0]])), float(np.max([limits[1], *ends[1]]))


def beyond(values: pd.Series, limits: tuple[float, float]) -> list[str]:
    """How many marks a scale leaves out, in a sentence."""
    above = int((values > limits[1]).sum())
    return [f"{above} above this scale {'is' if above == 1 else 'are'} not shown."] if above else []


def rows_panel(x: Axis, names: list[str], layers: list[Layer]) -> Panel:
    """A panel with a row for each name, the first on top."""
    ticks = [(float(len(names) - row), name) for row, name in enumerate(names)]
    y = Axis(ticks=ticks, named=True, limits=(0.4, len(names) + 0.6))
    inches = 0.34 if max(map(len, names)) <= LONGEST else 0.46
    return Panel(x, y, layers, height=0.8 + inches * len(names))
