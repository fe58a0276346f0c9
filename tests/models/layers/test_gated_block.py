"""Gated residual blocks against their formula in NumPy, and the gradient that the activation brings along."""

import numpy as np
import pytest
import scipy.special
from keras import ops
from numpy.testing import assert_allclose

from models.layers.gated_block import GatedBlock, concat_elu

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def both(x):
    return np.concatenate([elu(x), elu(-x)], axis=-1)


def test_concat_elu_is_both_elus_and_so_is_its_gradient(normal, gradient, array):
    x, weights = normal(3, 2, 2, 4), array(normal(3, 2, 2, 8, seed=1))
    assert_allclose(array(concat_elu(x)), both(array(x)), atol=1e-14)
    found = gradient(lambda x: ops.sum(concat_elu(x) * weights), x)
    step = 1e-6
    slopes = [(f(array(x) + step) - f(array(x) - step)) / (2 * step) for f in (elu, lambda x: elu(-x))]
    assert_allclose(found, weights[..., :4] * slopes[0] + weights[..., 4:] * slopes[1], atol=1e-8)


@pytest.mark.slow_on_jax
def test_a_block_is_the_normalised_sum_of_its_input_and_its_gated_branch(perturb, normal, array):
    block = GatedBlock(3)
    block.build((None, 4, 5, 3))
    perturb(block)
    x = array(normal(2, 4, 5, 3))
    first, second = block.convolutions
    branch = array(first(ops.convert_to_tensor(both(x))))
    value, gate = np.split(both(branch) @ array(second.kernel)[0, 0] + array(second.bias), 2, axis=-1)
    y = x + value * scipy.special.expit(gate)
    normalised = (y - y.mean(axis=-1, keepdims=True)) / np.sqrt(y.var(axis=-1, keepdims=True) + 1e-5)
    assert_allclose(
        array(block(ops.convert_to_tensor(x))), normalised * array(block.scale) + array(block.shift), atol=1e-12
    )
