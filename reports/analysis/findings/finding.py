"""A finding, and what several kinds of findings are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.analysis.results import LIKELIHOOD

if TYPE_CHECKING:
    from reports.analysis.results import Study

MATERIAL = 0.05
"""Share of the gap between arms from which a change of one arm's likelihood matters."""


@dataclass(frozen=True)
class Finding:
    """A sentence about an arm's results, or about the whole study's where it names none, and whether it is an alarm."""

    text: str
    alarm: bool = False
    arm: str = ""


def finite_values(study: Study, arm: str, split: str, metric: str) -> np.ndarray:
    """The finite values of a metric, one a seed."""
    values = study.finals[arm].measured(split, metric)["value"]
    finite: np.ndarray = values[np.isfinite(values)].to_numpy(dtype=float)
    return finite


def over_seeds(values: np.ndarray) -> str:
    """Over what values of one metric, one a seed, a mean was taken."""
    return "of one seed" if len(values) == 1 else f"mean over {len(values)} seeds"


def gap_to_nearest(study: Study, arm: str) -> float | None:
    """How far the mean test bits/dim of an arm are from those of the nearest other; None where there is none."""
    levels = {name: finite_values(study, name, "test", LIKELIHOOD) for name in study.arms}
    means = {name: float(values.mean()) for name, values in levels.items() if len(values)}
    if arm not in means:
        return None
    return min((abs(mean - means[arm]) for name, mean in means.items() if name != arm), default=None)
