import math

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numpy.testing import assert_allclose

from models.base.distributions import (
    BORDERS_AT_ONCE,
    BROKEN,
    LARGEST_LOG_SCALE,
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    DiscretisedLogistic,
    LogisticMixture,
    as_grey_levels,
    log_mean_exp,
    reparameterise,
    standard_normal_cdf,
    standard_normal_log_prob,
    sum_event,
)

pytestmark = pytest.mark.backend

# Scales from far below a grey level to far above all, means inside and far outside the unit interval.
LOCATIONS, LOG_SCALES = (
    values.ravel()
    for values in np.meshgrid([-30.0, -1.0, 0.0, 0.03, 0.5, 0.999, 2.0, 30.0], np.log([1e-4, 1e-2, 0.1, 1.0, 1e3]))
)


def tensor(values):
    return ops.convert_to_tensor(values, dtype=keras.config.floatx())


def bernoulli(grey_levels):
    return Bernoulli(tensor(np.array([-800.0, -30.0, -1.0, 0.0, 0.3, 40.0])))


def categorical(grey_levels):
    logits = np.random.default_rng(0).standard_normal((7, grey_levels)) * np.array([0, 0.1, 1, 2, 5, 30, 500])[:, None]
    return Categorical(tensor(logits))


def discretised_logistic(grey_levels):
    return DiscretisedLogistic(tensor(LOCATIONS), tensor(LOG_SCALES), grey_levels)


def logistic_mixture(grey_levels):
    rng = np.random.default_rng(0)
    parts = [rng.permutation(len(LOCATIONS)) for _ in range(3)]
    return LogisticMixture(
        tensor(3 * rng.standard_normal((len(LOCATIONS), 3))),
        tensor(np.stack([LOCATIONS[part] for part in parts], axis=-1)),
        tensor(np.stack([LOG_SCALES[part] for part in parts], axis=-1)),
        grey_levels,
    )


FAMILIES = [(bernoulli, 2)] + [
    (family, grey_levels)
    for family in (categorical, discretised_logistic, logistic_mixture)
    for grey_levels in (2, 3, 17, 256)
]
every_family = pytest.mark.parametrize(("family", "grey_levels"), FAMILIES)


@pytest.fixture
def log_probabilities(compiled, array):
    """log P of every grey level, (Q, m), of a distribution over m pixels."""

    def of(distribution, grey_levels):
        x = np.arange(grey_levels, dtype="int32")[:, None]
        return array(compiled(distribution.log_prob)(np.broadcast_to(x, (grey_levels, pixels(distribution)))))

    return of


def pixels(distribution):
    return (distribution.location if isinstance(distribution, DiscretisedLogistic) else distribution.logits).shape[0]


@every_family
def test_probabilities_sum_to_1_over_all_grey_levels(float64, log_probabilities, family, grey_levels):
    distribution = family(grey_levels)
    log_p = log_probabilities(distribution, grey_levels)
    assert np.isfinite(log_p).all()
    assert_allclose(scipy.special.logsumexp(log_p, axis=0), 0, atol=1e-10)


@every_family
def test_probabilities_sum_to_1_in_single_precision(log_probabilities, family, grey_levels):
    distribution = family(grey_levels)
    log_p = log_probabilities(distribution, grey_levels)
    assert log_p.dtype == np.float32
    assert_allclose(scipy.special.logsumexp(log_p, axis=0), 0, atol=2e-3)


@every_family
def test_mean_is_the_sum_of_grey_levels_times_their_probabilities(
    float64, compiled, log_probabilities, array, family, grey_levels
):
    distribution = family(grey_levels)
    p = np.exp(log_probabilities(distribution, grey_levels))
    assert_allclose(array(compiled(distribution.mean)()), np.arange(grey_levels) @ p, rtol=1e-9, atol=1e-9)


def test_the_mean_over_many_grey_levels_holds_few_borders_at_once(float64, compiled, array, monkeypatch):
    sizes, sigmoid = [], ops.sigmoid
    monkeypatch.setattr(ops, "sigmoid", lambda x: sizes.append(math.prod(x.shape)) or sigmoid(x))
    found = array(compiled(discretised_logistic(1000).mean)())
    above = scipy.special.expit((LOCATIONS - np.arange(1, 1000)[:, None] / 1000) * np.exp(-LOG_SCALES))
    assert_allclose(found, above.sum(axis=0), rtol=1e-9, atol=1e-9)
    assert max(sizes) <= BORDERS_AT_ONCE * len(LOCATIONS)


@every_family
def test_quantile_is_the_generalised_inverse_of_the_distribution_function(
    float64, compiled, log_probabilities, array, family, grey_levels
):
    """The least v with F(v) >= u: hence 1 - F(v - 1) of all u give v or more."""
    distribution = family(grey_levels)
    below = np.cumsum(np.exp(log_probabilities(distribution, grey_levels)), axis=0)[:-1]
    u = np.concatenate([np.linspace(1e-9, 1 - 1e-9, 101), np.random.default_rng(0).uniform(size=200)])
    u = np.broadcast_to(u[:, None], (len(u), pixels(distribution)))
    decided = (np.abs(below - u[:, None]) > 1e-11).all(axis=1)
    expected = (below < u[:, None]).sum(axis=1)
    levels = array(compiled(distribution.quantile)(tensor(u)))
    assert levels.dtype == np.int32
    assert decided.mean() > 0.8
    assert (levels == expected)[decided].all()


def test_the_median_of_a_mixture_lies_between_components_of_equal_weight(compiled, array):
    mixture = LogisticMixture(tensor([[0.0, 0.0]]), tensor([[0.3, 0.6]]), tensor([[-3.0, -3.0]]), 256)
    assert array(compiled(mixture.quantile)(tensor([0.5]))) == [int(0.45 * 256)]


def test_the_most_extreme_quantiles_of_a_mixture_lie_in_its_tails_in_single_precision(compiled, array):
    """Whatever the rounded sum of its weights: the most that u can be is a rounding below 1."""
    logits = tensor(3 * np.random.default_rng(0).standard_normal((200, 5)))
    mixture = LogisticMixture(logits, ops.full((200, 5), 0.3), ops.full((200, 5), -5.0), 256)
    u = standard_normal_cdf(tensor(np.broadcast_to(np.array([[-40.0], [40.0]]), (2, 200))))
    lowest, highest = array(compiled(mixture.quantile)(u))
    # 0.3 ± 16 scales of e^-5.
    assert lowest.min() > 40
    assert highest.max() < 115


@every_family
def test_quantiles_stay_within_the_grey_levels_for_the_most_extreme_noise(compiled, array, family, grey_levels):
    distribution = family(grey_levels)
    extremes = tensor(np.broadcast_to(np.array([[-40.0], [0.0], [40.0]]), (3, pixels(distribution))))
    levels = array(compiled(lambda noise: distribution.quantile(standard_normal_cdf(noise)))(extremes))
    assert levels.min() >= 0
    assert levels.max() < grey_levels


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("grey_levels", [2, 256])
def test_gradients_of_the_discretised_logistic_are_finite_in_its_tails(gradient, precision, grey_levels):
    x = np.arange(grey_levels, dtype="int32")[:, None]
    parameters = np.stack([LOCATIONS, LOG_SCALES]).astype(precision)

    def log_prob(parameters):
        return DiscretisedLogistic(parameters[0], parameters[1], grey_levels).log_prob(x)

    def mixture_log_prob(parameters):
        location, log_scale = parameters[0][:, None], parameters[1][:, None]
        both = ops.concatenate([location, -location], axis=-1), ops.concatenate([log_scale, log_scale], axis=-1)
        return LogisticMixture(both[0], *both, grey_levels).log_prob(x)

    for function in (log_prob, mixture_log_prob):
        slope = gradient(function, parameters)
        assert slope.dtype == precision
        assert np.isfinite(slope).all()
        assert np.abs(slope[0]).max() > 1


def test_bernoulli_is_that_of_scipy(float64, log_probabilities):
    logits = np.linspace(-6, 6, 13)
    log_p = log_probabilities(Bernoulli(tensor(logits)), 2)
    assert_allclose(log_p, scipy.stats.bernoulli.logpmf([[0], [1]], scipy.special.expit(logits)), rtol=1e-10)


def test_categorical_is_the_log_softmax_of_scipy(float64, log_probabilities):
    distribution = categorical(17)
    log_p = log_probabilities(distribution, 17)
    assert_allclose(log_p.T, scipy.special.log_softmax(distribution.logits, axis=-1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("grey_levels", [16, 256, 65536])
def test_slopes_from_the_least_scale_to_the_largest_are_in_single_precision_those_of_double(gradient, grey_levels):
    """In the middle of a cell, where nothing cancels."""
    level = grey_levels // 2
    log_scales = np.linspace(-60, 60, 121)
    parameters = np.stack([np.full(121, (level + 0.5) / grey_levels), log_scales])

    def log_prob(parameters):
        return DiscretisedLogistic(parameters[0], parameters[1], grey_levels).log_prob(np.full(121, level))

    single, double = (gradient(log_prob, parameters.astype(precision))[1] for precision in ("float32", "float64"))
    assert_allclose(single, double, rtol=1e-5, atol=1e-5)
    half_cell = 0.5 / grey_levels * np.exp(-log_scales)
    with np.errstate(over="ignore"):
        slope = np.where(np.abs(log_scales) > LARGEST_LOG_SCALE, 0.0, -half_cell / np.sinh(half_cell))
    assert_allclose(double, slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_scale", [-200.0, -60.0, -20.0, 15.0, 40.0, 87.0, 95.0, 200.0])
def test_a_scale_of_any_size_has_finite_gradients_and_its_own_probabilities(gradient, array, log_scale):
    """A scale may grow without end: half of the mass below the lowest level and half above suits black and white."""
    x = tensor(np.array([0, 1, 128, 254, 255]))
    parameters = tensor(np.stack([np.full(5, 0.4), np.full(5, log_scale)]))

    def log_prob(parameters):
        return DiscretisedLogistic(parameters[0], parameters[1], 256).log_prob(x)

    def mixture(parameters):
        both = [ops.stack([each, ops.zeros_like(each) - 3.0], axis=-1) for each in parameters]
        return LogisticMixture(ops.zeros_like(both[0]), *both, 256).log_prob(x)

    for function in (log_prob, mixture):
        assert np.isfinite(array(function(parameters))).all()
        assert np.isfinite(gradient(function, parameters)).all()
    if log_scale > 10:
        # Half of the mass at each end, and between them the density's maximum, 1/(4s), over a cell.
        inside = -min(log_scale, LARGEST_LOG_SCALE) - np.log(4 * 256)
        assert_allclose(array(log_prob(parameters)), [np.log(0.5), *[inside] * 3, np.log(0.5)], rtol=1e-5)


def test_impossible_levels_take_nothing_from_a_categorical_s_others_and_no_gradient(compiled, array, gradient):
    logits = np.array([[0.0, 1.0, -np.inf], [-np.inf, 2.0, -np.inf], [0.0, 0.0, -np.inf]], "float32")
    levels = np.array([1, 1, 2])
    found = array(compiled(lambda logits: Categorical(logits).log_prob(levels))(tensor(logits)))
    assert_allclose(found, [1 - np.log(1 + np.e), 0, -np.inf], rtol=1e-5, atol=1e-6)
    slope = gradient(lambda logits: Categorical(logits).log_prob(levels[:2]), tensor(logits[:2]))
    other = 1 / (1 + np.e)
    assert_allclose(slope, [[-other, other, 0], [0, 0, 0]], atol=1e-6)


def scipy_logistic_cells(locations, log_scales, grey_levels):
    """P of every grey level (Q, ...) from differences of scipy's distribution functions."""
    borders = np.concatenate([[-np.inf], np.arange(1, grey_levels) / grey_levels, [np.inf]])
    logistic = scipy.stats.logistic(locations, np.exp(log_scales))
    borders = borders.reshape(-1, *(1 for _ in np.shape(locations)))
    lower, upper = borders[:-1], borders[1:]
    # Right of the location, survival functions lose no digits.
    return np.where(
        lower > locations, logistic.sf(lower) - logistic.sf(upper), logistic.cdf(upper) - logistic.cdf(lower)
    )


@pytest.mark.parametrize("grey_levels", [2, 3, 17, 256])
def test_discretised_logistic_is_a_difference_of_scipy_distribution_functions(float64, log_probabilities, grey_levels):
    expected = scipy_logistic_cells(LOCATIONS, LOG_SCALES, grey_levels)
    log_p = log_probabilities(discretised_logistic(grey_levels), grey_levels)
    assert_allclose(np.exp(log_p), expected, rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("grey_levels", [2, 256])
def test_logistic_mixture_is_the_weighted_sum_of_its_components(float64, log_probabilities, array, grey_levels):
    mixture = logistic_mixture(grey_levels)
    parts = mixture.components
    weights = scipy.special.softmax(array(mixture.logits), axis=-1)
    components = scipy_logistic_cells(array(parts.location), array(parts.log_scale), grey_levels)
    log_p = log_probabilities(mixture, grey_levels)
    assert_allclose(np.exp(log_p), (weights * components).sum(axis=-1), rtol=1e-6, atol=1e-300)


def test_diagonal_gaussian_is_that_of_scipy(float64, normal, array):
    z, mean, log_scale = (normal(5, 4, seed=seed) for seed in range(3))
    gaussian = DiagonalGaussian(mean, log_scale)
    assert_allclose(array(gaussian.log_prob(z)), scipy.stats.norm.logpdf(z, mean, np.exp(log_scale)), rtol=1e-10)
    assert_allclose(array(standard_normal_log_prob(z)), scipy.stats.norm.logpdf(z), rtol=1e-10)


def test_kl_to_standard_is_its_integral(float64, normal, array):
    mean, log_scale = normal(6), normal(6, seed=1)
    gaussian = DiagonalGaussian(mean, log_scale)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # E over ε of a quadratic polynomial: exact
    z = array(gaussian.sample(tensor(np.broadcast_to(nodes[:, None], (20, 6)))))
    log_ratio = scipy.stats.norm.logpdf(z, mean, np.exp(log_scale)) - scipy.stats.norm.logpdf(z)
    assert_allclose(array(gaussian.kl_to_standard()), weights / weights.sum() @ log_ratio, rtol=1e-10)


def test_gradients_pass_through_the_reparameterised_sample(float64, normal, gradient, array):
    mean, log_scale, noise = (normal(5, seed=seed) for seed in range(3))
    assert_allclose(gradient(lambda mean: reparameterise(mean, log_scale, noise), mean), np.ones(5))
    slope = gradient(lambda log_scale: DiagonalGaussian(mean, log_scale).sample(noise), log_scale)
    assert_allclose(slope, np.exp(array(log_scale)) * array(noise))


def test_standard_normal_cdf_is_that_of_scipy(float64, array):
    x = np.linspace(-8, 8, 101)
    assert_allclose(array(standard_normal_cdf(tensor(x))), scipy.stats.norm.cdf(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_standard_normal_cdf_stays_strictly_between_0_and_1(array, precision):
    u = array(standard_normal_cdf(ops.convert_to_tensor([-100.0, -9.0, -6.0, 6.0, 9.0, 100.0], dtype=precision)))
    assert u.dtype == precision
    assert u.min() > 0
    assert u.max() < 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6))
def test_log_mean_exp_is_stable(values):
    x = np.reshape(values, (3, 2))
    for axis in (0, 1):
        expected = scipy.special.logsumexp(x, axis=axis) - np.log(x.shape[axis])
        result = ops.convert_to_numpy(log_mean_exp(ops.convert_to_tensor(x, dtype="float64"), axis=axis))
        assert_allclose(result, expected, rtol=1e-10, atol=1e-10)


def test_sum_event_keeps_the_batch_axes_alone(float64, normal, array):
    x = normal(2, 3, 4, 5)
    assert_allclose(array(sum_event(x)), np.sum(x, axis=(1, 2, 3)))
    assert_allclose(array(sum_event(x, batch_axes=2)), np.sum(x, axis=(2, 3)))


def test_grey_levels_are_cells_of_the_line_and_what_is_no_number_is_none(compiled, array):
    x = np.array([-np.inf, -1e30, -0.1, 0.0, 0.99, 1.0, 4.7, 5.0, 1e30, np.inf, np.nan], "float32")
    levels = array(compiled(lambda x: as_grey_levels(x, 5))(x))
    assert levels.dtype == np.int32
    assert levels.tolist() == [BROKEN, 0, 0, 0, 0, 1, 4, 4, 4, BROKEN, BROKEN]


NAN = np.nan
NO_DISTRIBUTIONS = {
    "bernoulli": lambda: Bernoulli(tensor([NAN, 0.0])),
    "categorical": lambda: Categorical(tensor([[0.0, NAN, 0.0], [0.0, 0.0, 1.0]])),
    "categorical, infinite": lambda: Categorical(tensor([[0.0, np.inf, 0.0], [0.0, 0.0, 1.0]])),
    "categorical, all impossible": lambda: Categorical(tensor([[-np.inf] * 3, [0.0, -np.inf, -np.inf]])),
    "logistic, location": lambda: DiscretisedLogistic(tensor([NAN, 0.5]), tensor([0.0, 0.0]), 4),
    "logistic, scale": lambda: DiscretisedLogistic(tensor([0.5, 0.5]), tensor([NAN, 0.0]), 4),
    "mixture": lambda: LogisticMixture(
        tensor([[0.0, NAN], [0.0, 0.0]]), tensor([[0.5, 0.5]] * 2), tensor([[0.0, 0.0]] * 2), 4
    ),
    "mixture, location": lambda: LogisticMixture(
        tensor([[0.0, 0.0]] * 2), tensor([[np.inf, 0.5], [0.5, 0.5]]), tensor([[0.0, 0.0]] * 2), 4
    ),
    "mixture, scale": lambda: LogisticMixture(
        tensor([[0.0, 0.0]] * 2), tensor([[0.5, 0.5]] * 2), tensor([[NAN, 0.0], [0.0, 0.0]]), 4
    ),
}


@pytest.mark.parametrize("kind", NO_DISTRIBUTIONS)
def test_a_distribution_whose_parameters_are_no_numbers_has_no_grey_level(compiled, array, kind):
    broken, whole = array(compiled(lambda u: NO_DISTRIBUTIONS[kind]().quantile(u))(tensor([0.7, 0.7])))
    assert broken == BROKEN
    assert whole >= 0


def test_the_likeliest_level_is_that_of_the_highest_probability_and_none_where_there_are_none(compiled, array):
    logits = [[0.0, 3.0, 1.0], [2.0, -np.inf, 2.0], [NAN, 0.0, 9.0], [-np.inf] * 3]
    found = array(compiled(lambda logits: Categorical(logits).likeliest())(tensor(logits)))
    np.testing.assert_array_equal(found, [1, 0, NAN, NAN])
    found = array(compiled(lambda logits: Bernoulli(logits).likeliest())(tensor([-1.0, 0.0, 2.0, NAN])))
    np.testing.assert_array_equal(found, [0, 0, 1, NAN])
