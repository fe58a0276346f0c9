"""Known answers of the numbers that pages state."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.analysis import statistics
from reports.analysis.results import Study, select


def likelihoods(values, errors=0.012):
    return pd.DataFrame({"value": values, "standard_error": errors})


def test_welch_interval_is_that_of_scipy():
    a, b = [2.31, 2.33, 2.30, 2.35], [1.97, 1.99, 1.90]
    interval = statistics.compare(likelihoods(a), likelihoods(b))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert interval is not None
    assert interval.over_seeds
    assert interval.value == pytest.approx(np.mean(a) - np.mean(b))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_welch_interval_by_hand():
    # Welch-Satterthwaite for two pairs with sd √2·0.1 and √2·0.2: se = √(0.01 + 0.04), df = 0.05² / (0.01² + 0.04²).
    interval = statistics.compare(likelihoods([1.9, 2.1]), likelihoods([0.8, 1.2]))
    degrees = 0.05**2 / (0.01**2 + 0.04**2)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(0.05)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((1 - half, 1 + half))


def test_single_seed_uses_the_error_over_images():
    interval = statistics.compare(likelihoods([2.3], 0.03), likelihoods([2.0], 0.04))
    assert interval is not None
    assert not interval.over_seeds
    assert interval.high - interval.value == pytest.approx(1.959964 * 0.05, rel=1e-5)


def test_seeds_of_one_family_widen_the_interval_of_an_unrepeated_other():
    interval = statistics.compare(likelihoods([2.3, 2.4], 0.03), likelihoods([2.0], 0.04))
    assert interval is not None
    assert not interval.over_seeds
    # Those seeds are two, of one degree of freedom; with the images, four: Satterthwaite.
    variance, of_seeds = 0.03**2 + 0.05**2 + 0.04**2, 0.05**2
    half = stats.t.ppf(0.975, variance**2 / of_seeds**2) * math.sqrt(variance)
    assert interval.high - interval.value == pytest.approx(half, rel=1e-5)
    assert half > 1.4 * 1.96 * math.sqrt(variance)


@pytest.mark.parametrize(
    ("lows", "expected"),
    [
        ({"b": 0.1, "c": 0.2}, "b"),
        ({"b": 0.1, "c": -0.2, "d": -0.3}, "c"),
        ({"b": 0.1, "c": math.nan}, "c"),
        ({"b": 0.0, "c": 0.2}, "b"),
    ],
)
def test_the_lowest_is_compared_with_the_first_that_is_not_separated_from_it(lows, expected):
    assert statistics.rival(lows) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (likelihoods([2.3], np.nan), likelihoods([2.0], 0.04)),
        (likelihoods([2.3, 2.3]), likelihoods([2.0, 2.0])),
        (likelihoods([np.nan]), likelihoods([2.0])),
        (likelihoods([]), likelihoods([2.0])),
    ],
)
def test_no_interval_where_none_can_be_had(a, b):
    assert statistics.compare(a, b) is None


def test_estimate_leaves_out_what_is_not_finite_and_counts_it():
    estimate = statistics.estimate(likelihoods([2.0, 2.2, np.nan, np.inf]))
    assert estimate is not None
    assert (estimate.mean, estimate.seeds, estimate.excluded) == (pytest.approx(2.1), 2, 2)
    assert estimate.error == pytest.approx(0.1)
    assert statistics.estimate(likelihoods([np.nan])) is None


def test_mean_interval_is_students():
    low, high = statistics.mean_interval(np.array([2.0, 2.1, 2.3]))
    expected = stats.ttest_1samp([2.0, 2.1, 2.3], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_best_trial_is_the_lowest_complete_one(study):
    builder = study({"vae": [2.3]})
    pruned = builder.run("vae", "search", "pruned", number=90)
    builder.history(pruned, [0.1])
    broken = builder.run("vae", "search", number=91)
    builder.measure(broken, "validation", "bits_per_dim", float("-inf"))
    trials = Study(builder.results()).trials
    best = trials[trials["best"]].iloc[0]
    complete = trials[(trials["state"] == "complete") & trials["value"].notna()]
    assert best["value"] == complete["value"].min()
    assert math.isnan(trials.set_index("run_id").at[broken["run_id"], "value"])
    assert trials.set_index("run_id").at[pruned["run_id"], "value"] == 0.1


def test_finals_of_an_earlier_choice_are_used_until_the_new_ones_are_there(study):
    builder = study({"vae": [2.3, 2.4]})
    better = builder.run("vae", "search", number=90, param_latent_size=128, param_learning_rate=1e-3)
    builder.measure(better, "validation", "bits_per_dim", 1.0)
    before = Study(builder.results()).finals["vae"]
    assert (len(before.runs), before.superseded, before.left_out) == (2, True, 0)
    builder.final("vae", 0, 1.1, param_latent_size=128, param_learning_rate=1e-3)
    after = Study(builder.results()).finals["vae"]
    assert (len(after.runs), after.superseded, after.left_out) == (1, False, 2)
    assert after.trial is not None
    assert after.trial["number"] == 90


def test_a_repeated_seed_counts_once(study):
    builder = study({"vae": [2.3, 2.4]})
    again = dict(builder.runs[-1], run_id="again", started=pd.Timestamp("2026-01-01", tz="UTC"))
    builder.runs.append(again)
    final = Study(builder.results()).finals["vae"]
    assert (len(final.runs), final.left_out) == (2, 1)
    assert "again" in set(final.runs["run_id"])


def test_the_tightest_bound_of_a_run_is_reported(study):
    builder = study({"vae": [2.3]})
    run = builder.runs[-1]
    builder.measure(run, "test", "bits_per_dim", 2.2, importance_samples=500)
    builder.measure(run, "test", "bits_per_dim", 2.4, importance_samples=1)
    test = select(Study(builder.results()).finals["vae"].measurements, "test", "bits_per_dim")
    assert list(test["value"]) == [2.2]


def test_the_interval_at_each_of_several_points_is_that_of_the_point_by_itself():
    rng = np.random.default_rng(0)
    x, y = rng.normal(2.0, 0.1, (3, 4)), rng.normal(2.1, 0.2, (2, 4))
    x[:, 3], y[:, 3] = 1.0, 2.0  # nothing varies there
    found = statistics.compare_each(x, y)
    for point in range(3):
        frames = [pd.DataFrame({"value": each[:, point], "standard_error": np.nan}) for each in (x, y)]
        one = statistics.compare(*frames)
        assert found.loc[point].to_list() == pytest.approx([one.value, one.low, one.high])
    assert found.loc[3, "value"] == -1.0
    assert found.loc[3, ["low", "high"]].isna().all()
    assert statistics.compare_each(x[:1], y)["low"].isna().all()
