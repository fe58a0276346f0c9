"""Tests of arms over data sets, held to closed forms and to published tables."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from reports.analysis.ranks import (
    LEVEL,
    PERMUTATIONS,
    data_sets_needed,
    least_p,
    rank_test,
    ranks_within,
)

DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""Demšar (2006), Table 6: the AUC of C4.5 in four forms on 14 data sets; .975 of the 13th is ranked as the third."""
NEMENYI = {3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850}
"""Demšar (2006), Table 5(a): q of Nemenyi's test at 5%, by the number of classifiers."""
EXACT = {
    (3, 3, 4.667): 0.194,
    (3, 3, 6.0): 0.028,
    (3, 4, 6.5): 0.042,
    (3, 4, 8.0): 0.0046,
    (4, 3, 7.4): 0.033,
    (4, 3, 9.0): 0.0017,
}
"""Friedman's exact distribution as tabulated by Siegel (1956), Table N: p by k, N and χ²."""


def orders_with(k: int, n: int, statistic: float) -> np.ndarray:
    """Ranks of k arms on n data sets with this χ², found among all."""
    orders = [np.array(each) for each in stats.rankdata(list(map(list, _orders(k))), axis=1)]
    for rows in product(orders, repeat=n - 1):
        ranks = np.array([orders[0], *rows])
        chi = 12 * n / (k * (k + 1)) * (np.sum(ranks.mean(axis=0) ** 2) - k * (k + 1) ** 2 / 4)
        if abs(chi - statistic) < 0.04:
            return ranks
    raise AssertionError(f"no order of {k} arms on {n} data sets has {statistic}")


def _orders(k: int) -> list[tuple[int, ...]]:
    return [order for order in product(range(k), repeat=k) if len(set(order)) == k]


def test_the_worked_example_of_demsar():
    ranks = ranks_within(-DEMSAR)
    assert ranks[5].tolist() == [1, 2.5, 4, 2.5]
    assert ranks[9].tolist() == [2.5] * 4
    found = rank_test(ranks)
    assert found.average == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.statistic == pytest.approx(9.28, abs=5e-3)
    # As published, F(3, 39) = 3.69, by Iman & Davenport's approximation, which leaves ties aside.
    f = 13 * found.statistic / (14 * 3 - found.statistic)
    assert f == pytest.approx(3.69, abs=5e-3)
    assert found.p == pytest.approx(stats.f.sf(f, 3, 39), abs=0.008)
    assert not found.exact
    # "... at 0.10 C4.5 is worse than C4.5+m and C4.5+m+cf", and no other pair.
    assert {pair for pair, p in found.pairs.items() if p <= 0.1} == {(0, 1), (0, 3)}


def test_the_critical_difference_of_demsar_without_ties():
    ranks = np.array([np.roll([1.0, 2.0, 3.0, 4.0], i) for i in range(14)])
    found = rank_test(ranks)
    assert found.critical is not None
    # 2.569 (4 · 5 / (6 · 14))^½ = 1.25, and average ranks go in steps of 1/14.
    assert abs(found.critical - 1.25) <= 1 / 14


@pytest.mark.parametrize("arms", NEMENYI)
def test_the_critical_difference_of_many_data_sets_is_nemenyis(arms):
    data_sets = 60
    ranks = np.array([np.roll(np.arange(1.0, arms + 1), i) for i in range(data_sets)])
    found = rank_test(ranks)
    expected = NEMENYI[arms] * math.sqrt(arms * (arms + 1) / (6 * data_sets))
    # A step of the average ranks, and the error of the share of random arrangements.
    assert found.critical == pytest.approx(expected, abs=1 / data_sets + 0.02 * expected)


@pytest.mark.parametrize(("arms", "data_sets", "statistic"), EXACT, ids=str)
def test_the_exact_distribution_is_friedmans(arms, data_sets, statistic):
    found = rank_test(orders_with(arms, data_sets, statistic))
    assert found.exact
    assert found.statistic == pytest.approx(statistic, abs=1e-3)
    assert found.p == pytest.approx(EXACT[arms, data_sets, statistic], abs=6e-4)


@pytest.mark.parametrize(("wins", "data_sets"), [(3, 3), (6, 6), (5, 6), (4, 8), (9, 11)])
def test_two_arms_are_tested_by_the_sign_test(wins, data_sets):
    ranks = np.array([[1.0, 2.0]] * wins + [[2.0, 1.0]] * (data_sets - wins))
    found = rank_test(ranks)
    expected = stats.binomtest(wins, data_sets).pvalue
    assert found.p == pytest.approx(expected)
    assert found.pairs == {(0, 1): pytest.approx(expected)}


def test_few_data_sets_have_no_critical_difference():
    assert rank_test(np.array([[1.0, 2.0]] * 5)).critical is None
    assert rank_test(np.array([[1.0, 2.0]] * 6)).critical == 1.0


@pytest.mark.parametrize(("arms", "needed"), [(2, 6), (3, 3), (4, 3), (9, 3)])
def test_the_number_of_data_sets_that_can_reach_the_level(arms, needed):
    assert data_sets_needed(arms) == needed
    if arms < 5:
        same = np.array([np.arange(1.0, arms + 1)] * needed)
        assert rank_test(same).p == pytest.approx(least_p(needed, arms))
        assert rank_test(same).p <= LEVEL


def test_arms_that_are_always_equal_do_not_differ():
    found = rank_test(ranks_within(np.ones((4, 3))))
    assert found.average.tolist() == [2, 2, 2]
    assert (found.statistic, found.p, found.critical) == (0, 1, None)
    assert set(found.pairs.values()) == {1}


def test_random_arrangements_give_the_same_each_time_and_no_p_value_of_0():
    ranks = np.array([[1.0, 2.0, 3.0, 4.0]] * 20)
    assert math.factorial(4) ** 20 > PERMUTATIONS
    first, second = rank_test(ranks), rank_test(ranks)
    assert first.pairs == second.pairs
    assert first.p == second.p == 1 / (PERMUTATIONS + 1)
    assert min(first.pairs.values()) == 1 / (PERMUTATIONS + 1)


def test_the_false_alarms_of_few_data_sets_stay_below_the_level():
    orders = np.array(_orders(3)) + 1.0
    tables = [np.array(rows) for rows in product(orders, repeat=3)]
    alarms = [min(rank_test(table).pairs.values()) <= LEVEL for table in tables]
    assert np.mean(alarms) <= LEVEL


@pytest.mark.parametrize("shape", [(2, 4), (5, 1)], ids=str)
def test_too_few_data_sets_or_arms_are_refused(shape):
    with pytest.raises(ValueError, match="3 and 2 or more are needed"):
        rank_test(np.ones(shape))
