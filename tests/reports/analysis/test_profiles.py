"""Performance profiles by hand, and what missing and worthless costs do to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.analysis.profiles import profiles

NAN = float("nan")


def frame(**arms):
    return pd.DataFrame(arms, dtype=float)


def test_a_profile_counts_data_sets_within_a_ratio_of_the_best():
    found = profiles(frame(a=[1, 4, 3, 10], b=[2, 2, 3, 11]))
    assert found["a"].ratios.tolist() == [1, 1, 1, 2]
    assert found["b"].ratios.tolist() == pytest.approx([1, 1, 1.1, 2])
    assert [found["b"].within(ratio) for ratio in (1.0, 1.05, 1.1, 1.99, 2.0, 99.0)] == [2, 2, 3, 3, 4, 4]
    assert all(each.is_complete for each in found.values())


def test_a_profile_has_no_unit():
    costs = frame(a=[1, 4, 3], b=[2, 2, 3])
    scaled = costs.mul([1, 1000, 0.01], axis=0)
    for arm, profile in profiles(costs).items():
        assert profiles(scaled)[arm].ratios == pytest.approx(profile.ratios)


def test_its_steps_are_where_data_sets_come_in():
    places, shares = profiles(frame(a=[1, 1, 1, 1], b=[1, 2, 2, 5]))["b"].steps(4.0)
    assert places.tolist() == [1, 2, 4]
    assert shares.tolist() == [0.25, 0.75, 0.75]


def test_an_arm_without_a_cost_is_within_nothing_there():
    found = profiles(frame(a=[1, 1, 1], b=[2, NAN, 1], c=[NAN, NAN, NAN]))
    assert found["b"].within(1e9) == 2
    assert not found["b"].is_complete
    assert found["b"].steps(3.0)[1].max() == pytest.approx(2 / 3)
    assert found["c"].within(1e9) == 0
    assert found["c"].steps(3.0)[1].tolist() == [0, 0]


@pytest.mark.parametrize("cost", [0.0, -1.0])
def test_a_cost_that_has_no_ratio_counts_as_not_measured(cost):
    found = profiles(frame(a=[cost, 1], b=[2, 2]))
    assert found["a"].ratios.tolist() == [1]
    assert found["b"].ratios.tolist() == [1, 2]
    assert np.isfinite(np.concatenate([each.ratios for each in found.values()])).all()
