"""The maps of single values that couplings apply: closed forms, slopes, inverses, tails."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.bijections.elementwise import Additive, Affine, MixtureLogistic

pytestmark = pytest.mark.backend

MAPS = {"additive": Additive(), "affine": Affine(), "one": MixtureLogistic(1), "four": MixtureLogistic(4)}
SHAPE = (3, 2, 4, 2)


@pytest.fixture(params=MAPS)
def elementwise(request):
    return MAPS[request.param]


def theta_of(elementwise, normal, scale=1.0):
    return scale * normal(*SHAPE[:-1], SHAPE[-1] * elementwise.parameters, seed=1)


def mixture(shift=0.0, log_scale=0.0, logits=(0.0,), means=(0.0,), log_scales=(0.0,), n=1):
    """A mixture of these components and its θ for n values (n, 1, 1, P), the means less the ones it begins with."""
    components = len(means)
    starts = np.linspace(-1.0, 1.0, components) if components > 1 else np.zeros(1)
    row = np.concatenate([[shift, log_scale], logits, means - starts, log_scales])
    return MixtureLogistic(components), np.broadcast_to(row, (n, 1, 1, len(row)))


def both_ways(elementwise, x, theta, dtype="float64"):
    """Y, log-slope, and the x that y came from, of values (n,)."""
    x = ops.convert_to_tensor(np.reshape(x, (-1, 1, 1, 1)), dtype=dtype)
    theta = ops.convert_to_tensor(np.array(theta), dtype=dtype)
    y, log_slope = elementwise.forward(x, theta)
    return [ops.convert_to_numpy(t).ravel() for t in (y, log_slope, elementwise.inverse(y, theta))]


def test_inverse_undoes_forward_also_far_out(elementwise, float64, normal, array):
    theta = theta_of(elementwise, normal, 0.5)
    for x in (normal(*SHAPE), 30.0 * normal(*SHAPE), 1e4 * normal(*SHAPE)):
        y, _ = elementwise.forward(x, theta)
        assert_allclose(array(elementwise.inverse(y, theta)), array(x), rtol=1e-10, atol=1e-10)


def test_log_slope_is_that_of_automatic_differentiation(elementwise, float64, normal, gradient, array):
    theta = theta_of(elementwise, normal)
    for x in (normal(*SHAPE), 30.0 * normal(*SHAPE)):
        slope = gradient(lambda x: ops.sum(elementwise.forward(x, theta)[0]), x)
        assert slope.min() > 0
        assert_allclose(array(elementwise.forward(x, theta)[1]), np.log(slope), rtol=1e-9, atol=1e-9)


def test_one_standard_logistic_without_scale_is_the_identity(float64):
    x = np.linspace(-700, 700, 301)
    y, log_slope, back = both_ways(*_with(mixture(n=301), x))
    assert_allclose(y, x, rtol=1e-14, atol=1e-14)
    assert_allclose(log_slope, 0, atol=1e-12)
    assert_allclose(back, x, rtol=1e-14, atol=1e-14)


def _with(made, x):
    elementwise, theta = made
    return elementwise, x, theta


def test_u_is_the_logit_of_scipys_mixture_and_the_slope_that_of_its_density(float64):
    means, log_scales, logits = np.array([-1.5, 0.2, 2.0]), np.array([-1.0, 0.3, -0.5]), np.array([0.4, -0.3, 0.1])
    x, weights, scales = np.linspace(-12, 14, 201), scipy.special.softmax(logits), np.exp(log_scales)
    made = mixture(0.7, 0.4, logits, means, log_scales, n=201)
    y, log_slope, back = both_ways(*_with(made, x))
    columns = (x[:, None], means, scales)
    cdf, survival = (getattr(scipy.stats.logistic, name)(*columns) @ weights for name in ("cdf", "sf"))
    density = scipy.stats.logistic.pdf(*columns) @ weights
    a = np.tanh(0.4)
    assert_allclose(y, (np.log(cdf) - np.log(survival)) * np.exp(a) + 0.7, rtol=1e-12, atol=1e-12)
    assert_allclose(log_slope, np.log(density / cdf / survival) + a, atol=1e-11)
    assert_allclose(back, x, atol=1e-11)


@pytest.mark.slow_on_jax
def test_equal_components_are_as_one(float64):
    x = np.linspace(-5, 5, 51)
    one = both_ways(*_with(mixture(0.1, 0.2, [0.0], np.array([0.5]), [-0.7], 51), x))
    three = both_ways(*_with(mixture(0.1, 0.2, [0.3, -1.0, 2.0], np.full(3, 0.5), [-0.7] * 3, 51), x))
    for found, expected in zip(three, one, strict=True):
        assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("components", [1, 2, 8])
def test_it_begins_near_the_identity_and_its_components_apart(float64, components):
    x = np.linspace(-4, 4, 41)
    elementwise = MixtureLogistic(components)
    y, log_slope, _ = both_ways(elementwise, x, np.zeros((41, 1, 1, elementwise.parameters)))
    assert np.abs(y - x).max() < (1e-12 if components == 1 else 1.1)
    assert np.abs(log_slope).max() < (1e-12 if components == 1 else 0.3)


def test_components_have_gradients_of_their_own(float64, normal, gradient):
    """Equal ones would stay equal however long they are trained."""
    elementwise, x = MixtureLogistic(3), normal(5, 1, 1, 1)

    def of(theta):
        y, log_slope = elementwise.forward(x, theta)
        return ops.sum(log_slope - 0.5 * ops.square(y), axis=(1, 2, 3))

    found = gradient(of, np.zeros((5, 1, 1, elementwise.parameters))).sum(axis=(0, 1, 2))
    for parameter in np.split(found[2:], 3):
        assert len(np.unique(np.round(parameter, 9))) == 3


TAILS = np.array([-3e4, -300.0, -30.0, -3.0, 0.0, 0.1, 3.0, 30.0, 300.0, 3e4])


@pytest.mark.slow_on_jax
def test_tails_of_narrow_and_wide_components_lose_nothing_in_single_precision():
    means, log_scales = np.array([-0.4, 0.3, 0.0]), np.array([-3.0, -1.0, 1.0])
    elementwise, theta = mixture(0.2, -0.3, np.array([0.5, 0.0, -1.0]), means, log_scales, n=len(TAILS))
    exact = both_ways(elementwise, TAILS, theta)
    y, log_slope, back = both_ways(elementwise, TAILS, theta, "float32")
    assert np.isfinite(y).all()
    assert_allclose(y, exact[0], rtol=1e-5, atol=1e-6)
    assert_allclose(log_slope, exact[1], atol=1e-4 + 1e-6 * np.abs(TAILS).max())
    assert_allclose(back, TAILS, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_on_jax
def test_what_bisection_finds_has_the_value_even_between_components_far_apart():
    """Where F is flat, x is lost to rounding, and y is still right."""
    elementwise, theta = mixture(0.0, 0.0, [0.0, 0.0], np.array([-1.0, 1.0]), [-3.0, -5.0], n=201)
    y = ops.convert_to_tensor(np.linspace(-50, 50, 201).reshape(-1, 1, 1, 1), dtype="float32")
    theta = ops.convert_to_tensor(np.array(theta, "float32"))
    found, _ = elementwise.forward(elementwise.inverse(y, theta), theta)
    assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(y), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("log_scale", [-12.0, -7.0, 5.0])
def test_gradients_are_finite_however_far_a_value_lies_from_its_components(gradient, log_scale):
    elementwise, theta = mixture(0.0, 0.0, [0.0, 0.0], np.array([-1.0, 1.0]), [log_scale, -1.0], n=len(TAILS))
    x = ops.convert_to_tensor(TAILS.reshape(-1, 1, 1, 1), dtype="float32")

    def of(theta):
        y, log_slope = elementwise.forward(x, theta)
        return ops.sum(log_slope, axis=(1, 2, 3)) + ops.sum(y, axis=(1, 2, 3))

    assert np.isfinite(gradient(of, theta.astype("float32"))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_does_not_come_back_as_one(bad):
    elementwise, theta = mixture(0.0, 0.0, [0.0, 0.0], np.array([-1.0, 1.0]), [0.0, 0.0], n=2)
    theta, y = np.array(theta, "float32"), np.array([bad, 0.5], "float32").reshape(2, 1, 1, 1)
    back = ops.convert_to_numpy(elementwise.inverse(ops.convert_to_tensor(y), ops.convert_to_tensor(theta)))
    assert (np.isfinite(back).ravel() == [False, True]).all()
    theta[0, ..., 4] = np.nan
    back = elementwise.inverse(ops.full((2, 1, 1, 1), 0.5), ops.convert_to_tensor(theta))
    assert (np.isfinite(ops.convert_to_numpy(back)).ravel() == [False, True]).all()
