"""Sums and elementary functions where XLA runs on a processor: those of NumPy, in value and in slope."""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from models.base import distributions
from models.base.distributions import (
    log_sigmoid,
    log_sum_exp,
    one_minus_exp,
    softplus,
    sum_event,
    sum_last,
    tanh,
)

pytestmark = pytest.mark.backend

PLACES = np.array([-math.inf, -1e4, -3.0, -0.0, 0.0, 0.5, 1e4, math.inf, math.nan])


@pytest.fixture(params=[True, False], ids=["in a loop of their own", "Keras's"])
def _way(request, monkeypatch):
    monkeypatch.setattr(distributions, "runs_by_xla_on_a_processor", lambda: request.param)


def slopes(function, x):
    """The derivative of an elementwise function at each x."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: ops.sum(function(x)))(x))
    import tensorflow as tf

    tensor = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = ops.sum(function(tensor))
    return tape.gradient(value, tensor).numpy()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softplus_and_log_sigmoid_are_those_of_numpy_with_their_slopes(array, dtype):
    x = PLACES.astype(dtype)
    with np.errstate(invalid="ignore"):
        expected, of_negative = np.logaddexp(0, x), np.logaddexp(0, -x)
    tolerance = {"rtol": 1e-6 if dtype == "float32" else 1e-14, "atol": 1e-7 if dtype == "float32" else 1e-14}
    np.testing.assert_allclose(array(softplus(ops.convert_to_tensor(x))), expected, **tolerance)
    np.testing.assert_allclose(array(log_sigmoid(ops.convert_to_tensor(x))), -of_negative, **tolerance)
    finite = x[np.isfinite(x)]
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-finite))
    np.testing.assert_allclose(slopes(softplus, finite), sigmoid, **tolerance)
    np.testing.assert_allclose(slopes(log_sigmoid, finite), 1 - sigmoid, **tolerance)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float64", 1e-10)])
def test_one_minus_exp_keeps_its_digits_near_0_and_its_slope_ends(array, dtype, error):
    x = np.array([0.0, 1e-30, 1e-8, 1e-4, 1e-3, 0.1, 1.0, 5.0, 12.0, 30.0, 60.0, 1e3, 1e20], dtype)
    found = array(one_minus_exp(ops.convert_to_tensor(x)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, -np.expm1(-x.astype("float64")), rtol=error)
    slope = slopes(one_minus_exp, x)
    np.testing.assert_allclose(slope, np.exp(-x.astype("float64")), rtol=0, atol=error)
    assert (slope[-3:] < 1e-25).all()


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float64", 1e-14)])
def test_tanh_keeps_the_type_of_its_argument(array, dtype, error):
    x = np.array([-math.inf, -30.0, -2.0, -0.1, 0.0, 1e-3, 0.5, 5.0, 1e4], dtype)
    found = array(tanh(ops.convert_to_tensor(x)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.tanh(x), rtol=0, atol=error)
    finite = x[np.isfinite(x)]
    np.testing.assert_allclose(slopes(tanh, finite), 1 - np.tanh(finite) ** 2, rtol=0, atol=error)


@pytest.mark.usefixtures("_way")
def test_log_sum_exp_is_that_of_numpy_also_of_nothing_and_of_too_much(array):
    rows = np.array([*itertools.product([-math.inf, -1e3, 0.0, 1e3], repeat=2), [math.inf, 0.0], [math.nan, 0.0]])
    with np.errstate(invalid="ignore"):
        expected = np.logaddexp(*rows.T)
    np.testing.assert_allclose(array(log_sum_exp(ops.convert_to_tensor(rows))), expected, rtol=1e-14)


@pytest.mark.usefixtures("_way")
def test_sums_are_those_of_numpy_and_count_what_is_no_fraction(array):
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    np.testing.assert_allclose(array(sum_last(ops.convert_to_tensor(x))), x.sum(-1), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(array(sum_event(ops.convert_to_tensor(x))), x.sum((1, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(array(sum_event(ops.convert_to_tensor(x), 2)), x.sum((2, 3)), rtol=1e-13, atol=1e-13)
    assert array(sum_last(ops.ones((2, 300), dtype="bool"))).tolist() == [300, 300]
    assert array(sum_event(ops.ones((2, 10, 30, 1), dtype="int32"))).tolist() == [300, 300]
