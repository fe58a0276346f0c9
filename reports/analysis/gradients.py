"""The gradient study's frames: verdicts on the closed forms, and the names of the estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy.stats import t

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

CONFIDENCE = 0.99
"""Of all closed-form comparisons together."""
DEGREES_OF_FREEDOM = 63
"""Every Monte Carlo error is a jackknife over 64 blocks of draws."""
NAMES = {
    "pathwise": "pathwise",
    "iwae": "IWAE",
    "score_function": "score function",
    "score_function_baseline": "score function with baseline",
    "sticking_the_landing": "sticking the landing",
    "doubly_reparameterised": "doubly reparameterised",
}


def verdicts(compared: pd.DataFrame) -> pd.DataFrame:
    """The outcomes with ``allowed``, the largest difference that chance and rounding explain, and ``within``."""
    random = int((compared["standard_error"] > 0).sum())
    factor = float(t.ppf(1 - (1 - CONFIDENCE) / (2 * max(1, random)), DEGREES_OF_FREEDOM))
    allowed = factor * compared["standard_error"] + compared["tolerance"]
    within = (compared["measured"] - compared["closed_form"]).abs() <= allowed
    return compared.assign(allowed=allowed, within=within)


def rows_of(frame: pd.DataFrame) -> Iterable[Any]:
    """The frame's rows, their columns as attributes."""
    return frame.itertuples(index=False)


def row_of(frame: pd.DataFrame, **where: object) -> Any:
    """The first row that has these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return next(iter(rows_of(frame)))


def name_of(estimator: str, samples: int = 1) -> str:
    """An estimator's name as people write it; the pathwise gradient of several samples is the IWAE's."""
    return NAMES["iwae"] if estimator == "pathwise" and samples > 1 else NAMES.get(estimator, estimator)
