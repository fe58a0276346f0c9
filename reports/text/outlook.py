"""What would change the answer: more seeds, more test images, other configurations, or more training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.core.results import RunState
from reports.analysis import differences
from reports.analysis.convergence import ended_by_itself
from reports.analysis.curves import final_band
from reports.analysis.practical import Verdict, practical_size
from reports.analysis.results import LIKELIHOOD, select
from reports.formatting import count, listing, number, quantity

if TYPE_CHECKING:
    import pandas as pd

    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval

POWER = 2.8
"""A difference of so many standard errors is separated from 0 at the 5% level four times in five (1.96 + 0.84)."""
MOST_SEEDS = 1000
MOST_DOUBLINGS = 10


def outlook(study: Study, low: str, high: str) -> list[str]:
    """What would decide the order of two arms where it is open, and what it holds for where it is not.

    Args:
        study: the study.
        low: the arm with the lower mean test bits/dim.
        high: the other.
    """
    interval = differences.likelihood(study, high, low)
    if interval is None:
        return []
    open_order = interval.contains_zero
    order = _to_decide(study, low, high, interval) if open_order else _over_configurations(study, low, high)
    return [*_in_practice(study, low, high), *order, *_more_training(study, low, high, interval.value)]


def _in_practice(study: Study, low: str, high: str) -> list[str]:
    """That a better known order would not matter, where the arms are practically equal."""
    if practical_size(study, low, high).verdict != Verdict.EQUAL:
        return []
    return [
        f"{study.title(low)} and {study.title(high)} are practically equal: more seeds or test images may settle which "
        f"is lower, but hardly by more than {study.results.equivalence:g} bits/dim."
    ]


def _seeds(study: Study, arm: str) -> np.ndarray:
    """The finite test bits/dim of an arm, one a seed."""
    values = select(study.finals[arm].measurements, "test", LIKELIHOOD)["value"].to_numpy(dtype=float)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _over_configurations(study: Study, low: str, high: str) -> list[str]:
    """How the gap compares with the spread over the configurations that were tried, and what the order holds for."""
    scope = "The order holds for these implementations and this search space, not for the families as such"
    complete = study.trials[study.trials["state"] == RunState.COMPLETE].dropna(subset=["value"])
    values = [complete.loc[complete["arm"] == arm, "value"] for arm in (low, high)]
    if min(map(len, values)) < 2:
        return [f"{scope}."]
    ranges = listing(
        [
            f"from {quantity(float(values_of.min()))} to {quantity(float(values_of.max()))} for {study.title(arm)} "
            f"({len(values_of)})"
            for arm, values_of in zip((low, high), values, strict=True)
        ]
    )
    if max(values_of.min() for values_of in values) <= min(values_of.max() for values_of in values):
        above = int((values[0] > values[1].min()).sum())
        overlap = (
            f"the ranges overlap, with {above} of {count(len(values[0]), 'trial')} of {study.title(low)} above the "
            f"best of {study.title(high)}: which arm is lower depends on how well each is configured"
        )
    else:
        overlap = "the ranges do not overlap"
    return [f"Over the complete trials, validation bits/dim go {ranges}: {overlap}. {scope}."]


def _to_decide(study: Study, low: str, high: str, interval: Interval) -> list[str]:
    """How many seeds would separate a difference of the observed size from 0, four times in five."""
    values = [_seeds(study, arm) for arm in (low, high)]
    if min(map(len, values)) < 2:
        return ["Seeds were not repeated in both arms; final runs from more seeds come first (--seeds)."]
    images = _variance_over_images(study, low, high)
    left = (interval.value / POWER) ** 2 - images
    if left <= 0:
        return [
            "If the difference is what it appears to be, no number of seeds would separate it from 0 on these test "
            "images: more test images would be needed."
        ]
    needed = math.ceil(sum(float(v.var(ddof=1)) for v in values) / left)
    if needed > MOST_SEEDS:
        return [f"If the difference is what it appears to be, more than {MOST_SEEDS} seeds would be needed to find it."]
    return [
        f"If the difference is what it appears to be, about {count(max(needed, 2), 'seed')} of each arm would "
        "separate it from 0 four times in five."
    ]


def _variance_over_images(study: Study, low: str, high: str) -> float:
    """Of the mean difference, where each image's likelihood is known for both arms; else 0."""
    bits = [study.bits_by_image[arm] for arm in (low, high)]
    if bits[0] is None or bits[1] is None or not bits[0].columns.equals(bits[1].columns):
        return 0.0
    paired = bits[1].mean(axis=0) - bits[0].mean(axis=0)
    return float(paired.var(ddof=1) / len(paired))


def _more_training(study: Study, low: str, high: str, gap: float) -> list[str]:
    """What the second half of training gained, and for how long that would have to continue."""
    if all(ended_by_itself(study, arm) for arm in (low, high)):
        return [
            f"All final runs of {study.title(low)} and {study.title(high)} ended by patience before their budget was "
            "spent: a larger one would train them no longer."
        ]
    gain_low, gain_high = (_last_doubling(final_band(study, arm)) for arm in (low, high))
    if gain_low is None or gain_high is None:
        return []
    sentence = (
        f"Over the second half of training the best validation bits/dim of {study.title(low)} changed by "
        f"{_signed(0.0 - gain_low)} and that of {study.title(high)} by {_signed(0.0 - gain_high)}"
    )
    closing = gain_high - gain_low
    if closing <= 0:
        return [f"{sentence}: if that continues, a longer budget would not bring {study.title(high)} closer."]
    doublings = gap / closing
    if doublings > MOST_DOUBLINGS:
        return [
            f"{sentence}: over {MOST_DOUBLINGS} doublings of the budget would have to gain as much to close the gap."
        ]
    return [
        f"{sentence}: if every further doubling of the budget gained as much, {number(doublings, 1)} of them would "
        "close the gap. They mostly gain less and less."
    ]


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{quantity(value)}"


def _last_doubling(band: pd.DataFrame) -> float | None:
    """By how much the best of the mean curve so far fell from half of its images to all of them."""
    if len(band) < 2:
        return None
    images, mean = band["images"].to_numpy(dtype=float), band["mean"].cummin().to_numpy(dtype=float)
    half = images[-1] / 2
    return float(np.interp(half, images, mean) - mean[-1]) if images[0] <= half else None
