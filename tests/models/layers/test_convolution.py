"""Convolutions as matrix products are Keras's own convolutions, and so are their gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

from bench.runtime.autodiff import gradients
from models.layers.convolution import Convolution, patches, shifted_sum

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]

# More channels out than in, and fewer: either form; one pixel; a kernel larger than the image is high.
SHAPES = [(2, 5, 3), (5, 2, 3), (4, 3, 1), (3, 7, 5), (7, 3, 5)]


def convolution_and_images(perturb, normal, channels, filters, size):
    convolution = Convolution(filters, size)
    convolution.build((None, 4, 6, channels))
    return perturb(convolution), normal(3, 4, 6, channels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_convolution_of_keras(perturb, normal, array, shape):
    convolution, x = convolution_and_images(perturb, normal, *shape)
    expected = ops.conv(x, convolution.kernel, padding="same") + convolution.bias
    assert_allclose(array(convolution(x)), array(expected), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_so_are_its_gradients_to_images_and_kernel(perturb, normal, array, shape):
    convolution, x = convolution_and_images(perturb, normal, *shape)
    images = keras.Variable(x)

    def sine(convolved):
        return ops.sum(ops.sin(convolved + convolution.bias))

    variables = [images, convolution.kernel]
    found = gradients(lambda: ops.sum(ops.sin(convolution(ops.multiply(images, 1.0)))), variables)
    expected = gradients(
        lambda: sine(ops.conv(ops.multiply(images, 1.0), ops.multiply(convolution.kernel, 1.0), padding="same")),
        variables,
    )
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, atol=1e-11)


def test_patches_are_the_transpose_of_the_flipped_shifted_sum(normal, array):
    x, y = normal(2, 4, 6, 3), normal(2, 4, 6, 27, seed=1)
    flipped = ops.reshape(ops.flip(ops.reshape(y, (2, 4, 6, 9, 3)), 3), (2, 4, 6, 27))
    assert_allclose(array(ops.sum(patches(x, 3) * y)), array(ops.sum(x * shifted_sum(flipped, 3))), rtol=1e-12)


def test_a_relu_and_a_zero_kernel_are_what_they_say(normal, array):
    convolution = Convolution(4, 3, activation="relu", kernel_initializer="zeros")
    convolution.build((None, 4, 6, 2))
    convolution.bias.assign(np.array([-1.0, 0.0, 1.0, 2.0]))
    assert_allclose(array(convolution(normal(3, 4, 6, 2)))[0, 0, 0], [0, 0, 1, 2])
