"""What would change the answer: more seeds, more test images, other configurations, or more training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.core.blocks import independent
from bench.core.results import RunState
from reports.analysis import arm_forecasts, differences
from reports.analysis.forecast import FARTHEST, Fit, Unfit, crossing
from reports.analysis.practical import Verdict, practical_size
from reports.analysis.results import LIKELIHOOD
from reports.analysis.statistics import variance_of_mean
from reports.formatting import count, listing, number, quantity

if TYPE_CHECKING:
    from reports.analysis.forecast import Crossing
    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval

POWER = 2.8
"""A difference of so many standard errors is separated from 0 at the 5% level four times in five (1.96 + 0.84)."""
MOST_SEEDS = 1000
HELD = "945 of 1,000 ends of synthetic curves, 80 in 100 of those that begin late, and 10 of 11 of logged curves"
"""Of `reports/benchmarks/forecast_coverage.csv`, rounded."""
UNLIKELY = 0.05
"""A change of order with a smaller probability is not forecast."""


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
    return [*_in_practice(study, low, high, open_order), *order, *_more_training(study, low, high)]


def _in_practice(study: Study, low: str, high: str, open_order: bool) -> list[str]:
    """That the order does not matter, or would not if it were known, where the arms are practically equal."""
    if practical_size(study, low, high).verdict != Verdict.EQUAL:
        return []
    names, region = f"{study.title(low)} and {study.title(high)}", f"{study.results.equivalence:g} bits/dim"
    if not open_order:
        return [
            f"{names} are practically equal: the difference is clear, and too small to matter where less than {region} "
            "does not."
        ]
    return [
        f"{names} are practically equal: more seeds or test images may settle which is lower, but hardly by more than "
        f"{region}."
    ]


def _seeds(study: Study, arm: str) -> np.ndarray:
    """The finite test bits/dim of an arm, one a seed."""
    values = study.finals[arm].measured("test", LIKELIHOOD)["value"].to_numpy(dtype=float)
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
            "images four times in five: more test images would be needed."
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
    return variance_of_mean(independent(paired.to_numpy(), study.kind))


def _more_training(study: Study, low: str, high: str) -> list[str]:
    """What each arm would reach with more training and where the order would change, or why nobody can say."""
    found = {arm: arm_forecasts.forecast(study, arm) for arm in (low, high)}
    fits = {arm: each for arm, each in found.items() if isinstance(each, Fit)}
    sentences = [_reached(study, arm, each) for arm, each in fits.items()]
    if len(fits) == len(found):
        sentences.append(_order(study, low, high, crossing(fits[low], fits[high])))
    if fits:
        sentences.append(
            "Forecasts are no measurements: each is of the best so far of the mean validation curve of these final "
            "runs, trained on by the same recipe, as a saturating power law with drift continues it. At twice the "
            f"budget such 95% intervals held {HELD}."
        )
    reasons: dict[str, list[str]] = {}
    for arm, each in found.items():
        if isinstance(each, Unfit):
            reasons.setdefault(each.reason, []).append(study.title(arm))
    sentences += [
        f"No forecast of more training is made of {listing(arms)}: {reason}." for reason, arms in reasons.items()
    ]
    return [*sentences, *(said for arm in found if (said := _kept_score(study, arm)))]


def _images(budget: float) -> str:
    return f"{quantity(budget)} training images"


def _forecast(value: float, low: float, high: float) -> str:
    """A forecast with its interval, to the digits that the interval gives, of which bits/dim have four at most."""
    wide = (high - low) / 4
    decimals = 4 if wide <= 0 else min(4, max(1, 1 - math.floor(math.log10(wide))))
    return f"{number(value, decimals)} ({number(low, decimals)} to {number(high, decimals)})"


def _reached(study: Study, arm: str, fit: Fit) -> str:
    budget = FARTHEST * fit.end
    value, low, high = fit.at(np.array([budget]))[:, 0]
    return (
        f"From {number(fit.best, 4)} validation bits/dim, the best by {_images(fit.end)}, {study.title(arm)} is "
        f"forecast to reach {_forecast(value, low, high)} at {_images(budget)}, {FARTHEST:g} times its budget (95% "
        "interval)."
    )


def _order(study: Study, low: str, high: str, found: Crossing) -> str:
    """Where two arms change their order on validation."""
    names = f"{study.title(low)} and {study.title(high)}"
    within, chance = f"within {FARTHEST:g} times the budget", _percent(found.probability)
    if found.probability < UNLIKELY:
        return (
            f"The order of {names} on validation is not forecast to change {within}: the probability that it does is "
            f"{chance}."
        )
    if math.isinf(found.budget):
        return (
            f"By these forecasts the order of {names} on validation stays rather than changes {within}: the "
            f"probability that it changes is {chance}, then from {_images(found.low)} on."
        )
    end = "beyond what is forecast" if math.isinf(found.high) else _images(found.high)
    return (
        f"By these forecasts the order of {names} on validation would change at {_images(found.budget)} (95% interval: "
        f"from {_images(found.low)} to {end}); the probability that it changes {within} is {chance}."
    )


def _percent(p: float) -> str:
    """A probability in percent, none of which makes it certain."""
    if p < 0.001:
        return "< 0.1%"
    if p > 0.999:
        return "> 99.9%"
    return f"{p:.1%}" if min(p, 1 - p) < 0.01 else f"{p:.0%}"


def _kept_score(study: Study, arm: str) -> str:
    """How earlier reports' forecasts of an arm turned out; empty where there are none that have come due."""
    scored = arm_forecasts.outcomes(study, arm)
    if scored.empty:
        return ""
    # The budgets of one report are points of one forecast: the farthest that was reached stands for it.
    farthest = scored.sort_values("budget").groupby("made_at").tail(1).sort_values(["budget", "made_at"])
    due, held = farthest.iloc[-1], int(farthest["held"].sum())
    made = (
        f"made at {_images(due['made_at'])} for {_images(due['budget'])}, was "
        f"{_forecast(due['value'], due['low'], due['high'])} bits/dim, and {number(due['measured'], 4)} was measured"
    )
    if len(farthest) == 1:
        outcome = "held" if held else "did not hold"
        return f"The earlier forecast of {study.title(arm)}, {made}: its interval {outcome} it."
    return (
        f"Of {count(len(farthest), 'earlier forecast')} of {study.title(arm)}, {held} held what was measured since; "
        f"the farthest, {made}."
    )
