"""Practical size: how probably one arm is better than another by more than what matters to the reader.

The reader sets a region of practical equivalence r in bits/dim. The difference of two arms' mean test bits/dim,
δ = first - second, lower being better, is given the posterior δ ~ d + e t_ν: d is the observed difference, e its
standard error over training seeds and test images and ν its degrees of freedom, those of the reported interval
(:func:`reports.analysis.statistics.compare_paired`). With F_ν the distribution function of Student's t,

    P(first better by more than r) = P(δ < -r) = F_ν((-r - d) / e),
    P(second better by more than r) = P(δ > r) = F_ν((d - r) / e),
    P(practically equal) = the rest.

This is the Bayesian t test with a region of practical equivalence of Benavoli et al. (2017, "Time for a change"),
with the variances of this project's interval in place of theirs for cross-validation. One variance known
from n values makes it the posterior under the prior 1/σ; with the sum of three it is an approximation, Satterthwaite's
(1946). The reported 95% interval is the central 95% of this posterior, so that the two never contradict each other.

The prior over δ is flat. Simulated, a difference at the edge of the region is called practically equal, or larger, with
95% or more at most 5 times in 100 where seeds vary alike in both arms. Where they vary in one arm alone it is so at
most 6 times with three seeds and 9 with two, as Satterthwaite's approximation is then at its worst, in the interval
too. Over differences spread far wider than their errors what is called so probable holds 97 times in 100 or more
(``tests/reports/analysis/test_practical.py``). A single seed says nothing of how another would come out: there is no
probability then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from reports.analysis import differences, statistics
from reports.analysis.results import LIKELIHOOD

if TYPE_CHECKING:
    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval

DECIDED = 0.95
"""Probability from which on a size counts as decided, as the level of the intervals."""


class Verdict(StrEnum):
    """What is decided of the first of two arms."""

    BETTER = "better"
    EQUAL = "equal"
    WORSE = "worse"
    OPEN = "open"


@dataclass(frozen=True)
class Probabilities:
    """Of the first of two arms, against the second; they add up to 1.

    Attributes:
        better: that its mean bits/dim are lower by more than the region.
        equal: that the two differ by no more than it.
        worse: that they are higher by more.
    """

    better: float
    equal: float
    worse: float

    @property
    def verdict(self) -> Verdict:
        """Which of the three is probable enough to count as decided."""
        for verdict in (Verdict.BETTER, Verdict.EQUAL, Verdict.WORSE):
            if getattr(self, verdict.value) >= DECIDED:
                return verdict
        return Verdict.OPEN


@dataclass(frozen=True)
class PracticalSize:
    """How two arms differ in practice.

    Attributes:
        first: an arm; the difference is its mean test bits/dim less that of ``second``.
        second: the other.
        interval: the difference with its interval; None where it has none.
        probabilities: None where the runs allow none.
        reason: why they do not.
    """

    first: str
    second: str
    interval: Interval | None
    probabilities: Probabilities | None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """What is decided; open where nothing can be said."""
        return self.probabilities.verdict if self.probabilities else Verdict.OPEN


@dataclass(frozen=True)
class RegionSize:
    """What a region of equivalence in bits/dim is as file size.

    Attributes:
        bits_per_dim: the region.
        image_bytes: in an ideal code of one image.
        images: the number of test images.
        all_bytes: in that of all test images.
        share: of the lowest arm's mean bits/dim.
        nats: in nats an image, the unit in which likelihoods of images of two levels are published; None for others.
    """

    bits_per_dim: float
    image_bytes: float
    images: int
    all_bytes: float
    share: float
    nats: float | None


def probabilities(interval: Interval, region: float) -> Probabilities:
    """The probabilities of a difference, first less second, lower being better.

    Args:
        interval: the difference with its standard error and degrees of freedom.
        region: half the width of the region of equivalence, in the difference's unit.
    """
    posterior = stats.t(interval.freedom, interval.value, interval.error)
    below, within = float(posterior.cdf(-region)), float(posterior.cdf(region))
    return Probabilities(below, max(0.0, within - below), float(posterior.sf(region)))


def practical_size(study: Study, first: str, second: str) -> PracticalSize:
    """How one arm differs from another in practice, for the reader's region of equivalence."""
    seeds = [differences.finite_seeds(study, arm) for arm in (first, second)]
    interval = differences.likelihood(study, first, second)
    if min(seeds) < 2:
        names = " and ".join(f"{n} of {study.title(arm)}" for n, arm in zip(seeds, (first, second), strict=True))
        return PracticalSize(first, second, interval, None, f"both arms need two training seeds or more, not {names}")
    if interval is None:
        return PracticalSize(first, second, None, None, "all seeds of both arms gave the same values")
    if _other_images(study, first, second):
        return PracticalSize(first, second, interval, None, "they were measured on different test images")
    return PracticalSize(first, second, interval, probabilities(interval, study.results.equivalence))


def practical_sizes(study: Study) -> list[PracticalSize]:
    """Of every pair of arms, the one with the lower mean test bits/dim first; none where units differ."""
    ranked = by_mean(study)
    if set(differences.likelihood_units(study)) - {"bits/dim"}:
        return []
    return [practical_size(study, first, second) for first, second in combinations(ranked, 2)]


def by_mean(study: Study) -> list[str]:
    """The arms that have finite test bits/dim, the lowest mean first."""
    means = {
        arm: level.mean
        for arm, final in study.finals.items()
        if (level := statistics.estimate(final.measured("test", LIKELIHOOD))) is not None
    }
    return sorted(means, key=lambda arm: means[arm])


def region_size(study: Study) -> RegionSize | None:
    """What the study's region of equivalence is as file size; None where no arm or no image's size is known."""
    ranked, dimensions, region = by_mean(study), study.dimensions, study.results.equivalence
    if not ranked or not dimensions:
        return None
    rows = study.finals[ranked[0]].measured("test", LIKELIHOOD)
    rows = rows[np.isfinite(rows["value"])]
    images, mean = rows["n"].max(), float(rows["value"].mean())
    if not images > 0 or not mean > 0:
        return None
    bits = region * dimensions
    return RegionSize(
        bits_per_dim=region,
        image_bytes=bits / 8,
        images=int(images),
        all_bytes=bits / 8 * int(images),
        share=region / mean,
        nats=bits * math.log(2) if study.results.dataset.get("grey_levels") == 2 else None,
    )


def _other_images(study: Study, first: str, second: str) -> bool:
    """Whether two arms are known to have been measured on different test images."""
    bits = [study.bits_by_image[arm] for arm in (first, second)]
    if bits[0] is not None and bits[1] is not None:
        return not bits[0].columns.equals(bits[1].columns)
    sizes = [set(study.finals[arm].measured("test", LIKELIHOOD)["n"].dropna()) for arm in (first, second)]
    return sizes[0] != sizes[1]
