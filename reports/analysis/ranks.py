"""Arms ranked over data sets: the Friedman test and its post-hoc test on ranks within each data set.

Notation (Demšar 2006, https://jmlr.org/papers/v7/demsar06a.html): r_{ij} is the rank of arm j = 1..k on data set
i = 1..N, 1 for the best, equal values sharing the mean of their ranks; R_j = Σ_i r_{ij} / N.

Only the order on each data set enters, so that data sets may differ in unit and scale. The signed-rank test and its
Bayesian form (Benavoli et al. 2017) would rank differences of one data set with those of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

LEVEL = 0.05
LEAST_DATA_SETS = 3
"""Fewer are described and not tested: a general statement from two data sets would rest on one repetition."""
PERMUTATIONS = 50_000
"""Arrangements up to which the test is exact; of more, so many are drawn."""


@dataclass(frozen=True)
class RankTest:
    """Whether arms differ over data sets, and which.

    Attributes:
        average: R_j, one an arm.
        statistic: Friedman's χ².
        p: its p-value over arrangements of the ranks within data sets.
        exact: whether that is over all arrangements, and not over :data:`PERMUTATIONS` random ones.
        pairs: for each two arms, by their places, the p-value of the difference of their average ranks, adjusted for
            all pairs.
        critical: the least difference of average ranks whose adjusted p-value is at most :data:`LEVEL`; None where no
            difference is that large.
    """

    average: np.ndarray
    statistic: float
    p: float
    exact: bool
    pairs: dict[tuple[int, int], float]
    critical: float | None


def ranks_within(values: np.ndarray) -> np.ndarray:
    """The ranks r_{ij} of values of which less is better, ``(data sets, arms)``."""
    return np.asarray(stats.rankdata(values, axis=1), dtype=float)


def least_p(data_sets: int, arms: int) -> float:
    """The smallest p-value that the test of so many data sets and arms can give: that of one order on all of them.

    Of the (k!)^N arrangements, which are equally likely where arms do not differ, k! have one order throughout.
    """
    return math.exp((1 - data_sets) * math.lgamma(arms + 1))


def data_sets_needed(arms: int) -> int:
    """The least number of data sets with which the test of so many arms can reach :data:`LEVEL`."""
    needed = LEAST_DATA_SETS
    while least_p(needed, arms) > LEVEL:
        needed += 1
    return needed


def rank_test(ranks: np.ndarray) -> RankTest:
    """Friedman's test, and Nemenyi's of all pairs, by permutation of the ranks within data sets.

    χ² = 12 N / (k (k + 1)) (Σ_j R_j² - k (k + 1)² / 4), without a correction for ties, which no arrangement changes.
    Where arms do not differ, every arrangement of each data set's ranks is equally likely. The p-value of χ² is the
    share of arrangements that reach it; that of two arms is the share in which max R - min R reaches |R_j - R_l|, so
    that the chance of any false difference stays below the level. For many data sets the latter is Nemenyi's test,
    whose critical difference is q_α (k (k + 1) / 6 N)^½; for few that is too small: with two arms and four data sets
    it would call equal orders a difference, whose p-value is 1/8.

    Args:
        ranks: r_{ij}, ``(data sets, arms)``, two arms or more.

    Raises:
        ValueError: there are fewer than :data:`LEAST_DATA_SETS` data sets or two arms.
    """
    data_sets, arms = ranks.shape
    if data_sets < LEAST_DATA_SETS or arms < 2:
        raise ValueError(f"{data_sets} data sets and {arms} arms: {LEAST_DATA_SETS} and 2 or more are needed")

    def squares(*columns: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.sum([column.mean(axis=axis) ** 2 for column in columns], axis=0))

    def spread(*columns: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.ptp([column.mean(axis=axis) for column in columns], axis=0))

    overall, widest = (
        stats.permutation_test(
            tuple(ranks.T),
            statistic,
            permutation_type="samples",
            vectorized=True,
            n_resamples=PERMUTATIONS,
            batch=5_000,
            alternative="greater",
            rng=np.random.default_rng(0),
        )
        for statistic in (squares, spread)
    )
    exact = math.factorial(arms) ** data_sets <= PERMUTATIONS
    null = np.sort(widest.null_distribution)
    average = ranks.mean(axis=0)

    def reached(difference: float) -> float:
        """The share of arrangements with so wide a spread; of random ones, with the observed one among them."""
        found = len(null) - int(np.searchsorted(null, difference - 1e-9))
        return found / len(null) if exact else (found + 1) / (len(null) + 1)

    pairs = {(i, j): reached(abs(average[i] - average[j])) for i, j in combinations(range(arms), 2)}
    critical = next((float(each) for each in np.unique(null.round(9)) if reached(each) <= LEVEL), None)
    chi_squared = 12 * data_sets / (arms * (arms + 1)) * (float(overall.statistic) - arms * (arms + 1) ** 2 / 4)
    return RankTest(average, chi_squared, float(overall.pvalue), exact, pairs, critical)
