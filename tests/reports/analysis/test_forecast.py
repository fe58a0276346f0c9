"""Forecasts of learning curves: closed forms without noise, coverage with it, and what has no forecast."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis.forecast import FARTHEST, FEWEST_POINTS, Fit, Unfit, crossing, fit
from tests.benchmarks import forecast_coverage

IMAGES = 1000.0 * np.arange(1, 41)


def law(budgets, asymptote=1.2, gap=0.3, exponent=0.7, end=40_000.0):
    return asymptote + gap * (np.asarray(budgets) / end) ** -exponent


@pytest.mark.parametrize("exponent", [0.1, 0.7, 2.5])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_curve_without_noise_is_recovered_exactly(seeds, exponent):
    offsets = 0.01 * np.arange(seeds)
    found = fit(IMAGES, law(IMAGES, exponent=exponent) + offsets[:, None])
    assert isinstance(found, Fit)
    budgets = np.array([80_000.0, 400_000.0])
    np.testing.assert_allclose(found.at(budgets), [law(budgets, exponent=exponent) + offsets.mean()] * 3, rtol=1e-8)
    np.testing.assert_allclose(found.limit(), [1.2 + offsets.mean()] * 3, rtol=1e-6)
    np.testing.assert_allclose(np.median(found.exponent), exponent, rtol=1e-7)


def test_at_the_end_of_the_measured_range_the_forecast_is_the_best_that_was_measured():
    values = law(IMAGES) + 0.002 * np.random.default_rng(0).standard_normal(40)
    found = fit(IMAGES, values[None])
    assert isinstance(found, Fit)
    np.testing.assert_allclose(found.at(IMAGES[-1:])[:, 0], values.min(), rtol=1e-9)


def test_a_forecast_never_rises_above_the_best_so_far():
    rng = np.random.default_rng(3)
    for scale in (0.0005, 0.005, 0.02):
        values = law(IMAGES, gap=0.01) + scale * rng.standard_normal(40)
        found = fit(IMAGES, values[None])
        assert isinstance(found, Fit)
        ahead = found.at(found.end * np.array([1.0, 1.25, 1.5, 2.0]))
        assert ahead.max() <= values.min()
        assert (np.diff(ahead, axis=1) <= 0).all()


def test_the_interval_widens_with_the_horizon_and_with_the_noise():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, 40))
    widths = []
    for scale in (0.0005, 0.005):
        found = fit(IMAGES, law(IMAGES) + scale * noise)
        assert isinstance(found, Fit)
        _, low, high = found.at(40_000.0 * np.array([2.0, 4.0, 8.0]))
        widths.append(high - low)
    assert (np.diff(widths, axis=1) > 0).all()
    assert (widths[1] > 3 * widths[0]).all()


def test_seeds_that_agree_narrow_the_interval():
    noise = 0.003 * np.random.default_rng(2).standard_normal((5, 40))
    one, five = (fit(IMAGES, law(IMAGES) + noise[:seeds]) for seeds in (1, 5))
    assert isinstance(one, Fit)
    assert isinstance(five, Fit)
    widths = [np.ptp(found.at(np.array([80_000.0]))[1:, 0]) for found in (one, five)]
    assert widths[1] < widths[0]


def test_a_curve_that_bends_has_a_wider_interval_than_one_that_does_not():
    straight = law(IMAGES)
    bent = straight + 0.003 * np.maximum(np.log(IMAGES / 10_000), 0) ** 2
    noise = 0.0003 * np.random.default_rng(8).standard_normal((3, 40))
    widths = []
    for mean in (straight, bent):
        found = fit(IMAGES, mean + noise)
        assert isinstance(found, Fit)
        widths.append(np.ptp(found.at(np.array([160_000.0]))[1:, 0]))
    assert widths[1] > 2 * widths[0]


def test_the_scale_of_the_values_and_of_the_images_does_not_matter():
    values = law(IMAGES) + 0.001 * np.random.default_rng(4).standard_normal((2, 40))
    first, second = fit(IMAGES, values), fit(64 * IMAGES, 100 * values)
    assert isinstance(first, Fit)
    assert isinstance(second, Fit)
    budgets = np.array([80_000.0, 400_000.0])
    np.testing.assert_allclose(second.at(64 * budgets), 100 * first.at(budgets), rtol=1e-6)


def test_a_long_curve_is_forecast_from_its_own_end():
    images = 100.0 * np.arange(1, 402)
    found = fit(images, law(images, end=40_100.0)[None])
    assert isinstance(found, Fit)
    assert found.end == 40_100.0
    assert len(found.images) <= 100
    np.testing.assert_allclose(found.at(np.array([80_200.0]))[0], law(80_200.0, end=40_100.0), rtol=1e-3)


def test_a_crossing_without_noise_is_where_the_curves_cross():
    first = law(IMAGES, 1.2, 0.3, 0.7)
    second = law(IMAGES, 1.3, 0.15, 0.4)
    budgets = np.geomspace(40_000, 80_000, 100_001)
    apart = law(budgets, 1.2, 0.3, 0.7) - law(budgets, 1.3, 0.15, 0.4)
    truth = budgets[np.flatnonzero(np.diff(np.sign(apart)))[0]]
    fits = [fit(IMAGES, values[None]) for values in (first, second)]
    assert all(isinstance(each, Fit) for each in fits)
    for pair in (fits, fits[::-1]):
        found = crossing(*pair)
        np.testing.assert_allclose([found.budget, found.low, found.high], truth, rtol=1e-3)
        assert found.probability == 1.0


def test_curves_that_run_apart_cross_nowhere():
    fits = [fit(IMAGES, law(IMAGES, asymptote)[None]) for asymptote in (1.2, 1.4)]
    found = crossing(*fits)
    assert found.probability == 0.0
    assert np.isinf([found.budget, found.low, found.high]).all()


def test_a_crossing_starts_where_both_were_measured():
    longer = 2 * IMAGES
    fits = [fit(IMAGES, law(IMAGES, 1.2, 0.3)[None]), fit(longer, law(longer, 1.3, 0.15)[None])]
    assert crossing(*fits).start == 40_000.0


def rising(images):
    return law(images) + 0.3 * np.maximum(images / images[-1] - 0.6, 0)


def bent(images):
    """A steep start, a plateau, another fall and a standstill."""
    t = images / images[-1]
    return 2.1 + 0.3 / (1 + np.exp((t - 0.35) * 18)) + 0.5 * np.exp(-t * 20)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (rising(IMAGES), "validation rose before the end"),
        (law(IMAGES) - 0.2 * (IMAGES > 28_500), "a forecast from the first 70% of the curve misses its end"),
        (law(IMAGES[-9:]), f"there are 9 evaluations, and a forecast takes {FEWEST_POINTS} or more"),
        (law(IMAGES[:1]), f"there is 1 evaluation, and a forecast takes {FEWEST_POINTS} or more"),
        (2 + 1e-4 * np.log(IMAGES), "the curve is no saturating power law"),
        (0.4 - 0.1 * np.log(IMAGES / 1000), "the curve is no saturating power law"),
        # Falls ever faster and then stands still: only drift can follow, at the corner of its grid.
        (bent(IMAGES), "the curve is no saturating power law"),
    ],
)
def test_what_does_not_fit_has_no_forecast_and_a_reason(values, reason):
    assert fit(IMAGES[-len(values) :], values[None]) == Unfit(reason)


@pytest.mark.parametrize(
    ("images", "values", "message"),
    [
        (IMAGES, np.ones(40), "shape"),
        (IMAGES[:-1], np.ones((2, 40)), "shape"),
        (IMAGES, np.ones((0, 40)), "shape"),
        (IMAGES[::-1], np.ones((1, 40)), "ascending"),
        (np.zeros(40), np.ones((1, 40)), "above 0"),
        (np.full(40, np.nan), np.ones((1, 40)), "finite"),
        (np.empty(0), np.empty((1, 0)), "one evaluation or more"),
        (IMAGES, np.full((1, 40), np.inf), "40 values of a learning curve are not finite"),
    ],
)
def test_what_is_no_curve_is_refused(images, values, message):
    with pytest.raises(ValueError, match=message) as raised:
        fit(images, values)
    assert "\n" not in str(raised.value)


def test_a_curve_that_has_ended_stays_where_it_is():
    noise = 0.0005 * np.random.default_rng(5).standard_normal((2, 40))
    found = fit(IMAGES, law(IMAGES, 1.2, 1e-4, 3.0) + noise)
    assert isinstance(found, Fit)
    _, low, high = found.at(FARTHEST * IMAGES[-1:])[:, 0]
    later = 1.2 + 0.0005 / np.sqrt(2) * np.random.default_rng(6).standard_normal((200, 40))
    best = np.minimum(found.best, later.min(axis=1))
    assert ((low <= best) & (best <= high)).mean() > 0.9
    assert high - low < 0.01


def held(frame):
    return forecast_coverage.rates(frame, ["quantity"])


@pytest.mark.slow
def test_the_intervals_hold_the_truth_of_a_few_curves():
    rows = held(forecast_coverage.on_synthetic(24, ["medium"]))
    # Of 16 intervals that hold 95 in 100, fewer than 12 hold the truth once in 1,000 times.
    curves = rows.loc[list(forecast_coverage.QUANTITIES)]
    assert (curves["forecasts"] >= 16).all()
    assert (curves["held"] >= 0.75).all()
    assert rows.loc[forecast_coverage.CROSSING, "held"] >= 0.75
    # They say something: they are no wider than a few times what is still to be gained.
    assert rows.loc["at 2 times the budget", "width"] < 0.03


@pytest.mark.slow
def test_the_intervals_hold_the_truth_as_often_as_they_say():
    rows = held(forecast_coverage.on_synthetic())
    assert rows["held"].between(0.90, 0.98).all(), rows["held"].to_dict()


def test_logged_curves_are_read_and_forecast():
    curves = list(forecast_coverage.logged())
    assert {source for source, *_ in curves} == {"published models", "recipes"}
    assert {decay for _, _, decay, *_ in curves} >= {"cosine", "staged", "plateau", "constant"}
    for _, _, _, images, values in curves:
        assert (np.diff(images) > 0).all()
        assert np.isfinite(values).all()
