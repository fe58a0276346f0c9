"""Differences between arms: the soundest interval that a study allows, effect sizes, and p-values together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import FLOOR_SUFFIX, METRICS, own_metrics
from reports.analysis import statistics
from reports.analysis.once import once
from reports.analysis.results import LIKELIHOOD, in_order, metric_of, select, variants

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.metrics import Metric
    from reports.analysis.results import Study, Variant
    from reports.analysis.statistics import Interval

LIKELIHOODS = [LIKELIHOOD, "elbo_nats", "effective_sample_size"]
"""The metrics on test of which differences are tested: NLL is bits/dim in another unit."""
NOT_COMPARED = ("train", "validation", "out_of_distribution", "cost")
"""Splits and groups of which none are tested: cost is mostly settled by the configuration."""


@dataclass(frozen=True)
class Difference:
    """How two arms differ in one metric.

    Attributes:
        metric: the metric's name.
        about: what the metric is.
        variant: the conditions under which both were measured.
        first: an arm; the difference is its mean less that of ``second``.
        second: the other arm.
        interval: the difference with its interval and p-value.
        effect: Hedges' g, over training seeds.
        split: the split of the metric, or its group.
        adjusted: the p-value adjusted by Holm's method over all differences of the study.
    """

    metric: str
    about: Metric
    variant: Variant
    first: str
    second: str
    interval: Interval
    effect: float
    split: str
    adjusted: float = math.nan


def _finite(frame: pd.DataFrame) -> pd.DataFrame:
    finite: pd.DataFrame = frame[np.isfinite(frame["value"])]
    return finite


def finite_seeds(study: Study, arm: str) -> int:
    """The number of an arm's final runs with finite test bits/dim, one a seed."""
    return len(_finite(study.finals[arm].measured("test", LIKELIHOOD)))


def likelihood_units(study: Study, split: str = "test") -> list[str]:
    """The units in which the likelihoods of all runs on a split stand: arms in several are neither ranked nor drawn."""
    return sorted(map(str, study.measured(split, LIKELIHOOD)["unit"].dropna().unique()))


@once
def likelihood(study: Study, first: str, second: str) -> Interval | None:
    """The difference of test bits/dim, first - second, with the soundest interval that the study allows.

    Paired image by image, over seeds and images, where both arms left the likelihood of each image, on the same images
    (:func:`reports.analysis.statistics.compare_paired`); else :func:`reports.analysis.statistics.compare`.
    """
    bits = [study.bits_by_image[arm] for arm in (first, second)]
    if bits[0] is not None and bits[1] is not None and bits[0].columns.equals(bits[1].columns):
        return statistics.compare_paired(bits[0].to_numpy(), bits[1].to_numpy(), study.kind)
    frames = [study.finals[arm].measured("test", LIKELIHOOD) for arm in (first, second)]
    return statistics.compare(*frames)


def differences(study: Study) -> list[Difference]:
    """Every difference that is tested, with p-values adjusted over all of them.

    Two arms are compared in each metric that has a better direction and that both have from at least two seeds under
    the same conditions. Three arms and more are compared pair by pair in test bits/dim alone.
    """
    measured = [arm for arm in study.arms if len(study.finals[arm].measurements)]
    found = [
        difference
        for first, second in combinations(measured, 2)
        for difference in _of_pair(study, first, second, only_likelihood=len(measured) > 2)
    ]
    adjusted = statistics.holm(np.array([difference.interval.p for difference in found]))
    return [replace(difference, adjusted=float(p)) for difference, p in zip(found, adjusted, strict=True)]


def _of_pair(study: Study, first: str, second: str, *, only_likelihood: bool) -> list[Difference]:
    frames = [_finite(study.finals[arm].measurements) for arm in (first, second)]
    found = []
    splits = ["test"] if only_likelihood else [split for split in in_order(study) if split not in NOT_COMPARED]
    for split in splits:
        of_split = frames[0][frames[0]["split"] == split]
        names = set(map(str, of_split["metric"]))
        if split == "test":
            own = {name for name in names if name not in METRICS} | {metric.name for metric in own_metrics()}
            names &= {LIKELIHOOD} if only_likelihood else {*LIKELIHOODS, *own}
        for name in statistics.metric_order(names, of_split["size"].max()):
            a, b = (select(frame, split, name) for frame in frames)
            about = metric_of(name, a)
            if name.endswith(FLOOR_SUFFIX) or about.higher_is_better is None:
                continue
            for variant in variants(a):
                difference = _difference(study, split, about, variant, (first, variant.of(a)), (second, variant.of(b)))
                if difference is not None:
                    found.append(difference)
    return found


def _difference(
    study: Study, split: str, about: Metric, variant: Variant, a: tuple[str, pd.DataFrame], b: tuple[str, pd.DataFrame]
) -> Difference | None:
    (first, x), (second, y), name = a, b, about.name
    if min(len(x), len(y)) < 2 or set(x["unit"].dropna()) != set(y["unit"].dropna()):
        return None
    if name == "effective_sample_size" and set(x["importance_samples"]) != set(y["importance_samples"]):
        return None  # it is out of k, so that it means another thing under another k
    interval = likelihood(study, first, second) if name == LIKELIHOOD else statistics.compare(x, y)
    if interval is None:
        return None
    effect = statistics.hedges_g(x["value"].to_numpy(dtype=float), y["value"].to_numpy(dtype=float))
    return Difference(name, about, variant, first, second, interval, effect, split)
