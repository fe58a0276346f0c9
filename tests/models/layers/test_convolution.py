"""Convolutions and their transposes are Keras's own, and so are their gradients, whichever way they are computed."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

from models.base.processor import traced_for_xla
from models.base.window import pair
from models.layers import convolution
from models.layers.convolution import (
    FEW_CHANNELS,
    Convolution,
    convolve,
    convolve_transposed,
    laid_out,
    patches,
    shifted_sum,
)
from tests.models.gradients import gradients

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]

MANY = FEW_CHANNELS + 1
# Channels in and out, size, stride, image. Products of either form; one pixel; a kernel larger than the image is high.
PRODUCTS = [
    (2, 5, 3, 1, (4, 6)),
    (5, 2, 3, 1, (4, 6)),
    (4, 3, 1, 1, (4, 6)),
    (3, 7, 5, 1, (4, 6)),
    (7, 3, 5, 1, (4, 6)),
]
# The backend's, whose gradient has patches of x where it has the fewer channels; images of which the stride is a
# divisor, and others.
CONVOLUTIONS = [
    (MANY, MANY + 1, 3, 1, (4, 5)),
    (MANY + 1, MANY, 5, 1, (6, 5)),
    (2, 3, 3, 2, (4, 6)),
    (3, 2, 3, 2, (5, 6)),
    (2, 3, 5, 2, (5, 7)),
    (2, 3, 1, 2, (5, 4)),
    (3, 2, 3, 3, (4, 5)),
]


# On a line, an image of height 1: products of either form, the backend's, strides that divide the length or do not.
LINES = [
    (2, 5, (1, 3), (1, 1), (1, 6)),
    (5, 2, (1, 5), (1, 1), (1, 6)),
    (MANY, MANY + 1, (1, 3), (1, 1), (1, 5)),
    (2, 3, (1, 3), (1, 2), (1, 6)),
    (3, 2, (1, 3), (1, 2), (1, 5)),
    (3, 2, (1, 5), (1, 3), (1, 7)),
]


# Fewer pixels than the kernel has: in x, or in y alone; strides that divide the image or do not.
SMALL = [
    (MANY, MANY + 1, 3, 1, (2, 2)),
    (MANY + 1, MANY, 5, 1, (2, 3)),
    (2, 3, 3, 2, (2, 3)),
    (3, 2, 5, 2, (4, 5)),
    (2, 3, 3, 2, (4, 4)),
    (3, 2, 3, 2, (5, 3)),
    (2, 3, 3, 3, (7, 2)),
    (2, 3, 3, 4, (5, 6)),
    (MANY, MANY + 1, (1, 3), (1, 1), (1, 2)),
    (2, 3, (1, 3), (1, 2), (1, 3)),
]


@pytest.fixture
def our_gradient(monkeypatch):
    """On any backend."""
    monkeypatch.setattr(convolution, "runs_by_xla_on_a_processor", lambda: True)


def sum_of_sines(function, variables):
    """The gradient of Σ sin of a function in each of its tensors."""
    values = [keras.Variable(variable) for variable in variables]
    return gradients(lambda: ops.sum(ops.sin(function(*(ops.multiply(value, 1.0) for value in values)))), values)


def shortened_on_jax(shapes, some):
    """Shapes, of which JAX compiles ``some``: what it computes by products is the same on every backend."""
    return [pytest.param(each, marks=() if each in some else pytest.mark.slow_on_jax) for each in shapes]


@pytest.mark.usefixtures("our_gradient")
@pytest.mark.parametrize(
    "shape",
    shortened_on_jax(
        PRODUCTS + CONVOLUTIONS + LINES + SMALL, [PRODUCTS[0], *CONVOLUTIONS, LINES[3], SMALL[0], SMALL[3], SMALL[6]]
    ),
    ids=str,
)
def test_value_and_gradients_are_those_of_keras_s_convolution(normal, array, shape):
    channels, filters, size, stride, image = shape
    x, kernel = normal(3, *image, channels), normal(*pair(size), channels, filters, seed=1)
    layer = keras.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    assert_allclose(array(convolve(x, kernel, stride)), array(layer(x)), atol=1e-12)
    found = sum_of_sines(lambda x, kernel: convolve(x, kernel, stride), [x, kernel])
    expected = sum_of_sines(lambda x, kernel: ops.conv(x, kernel, strides=stride, padding="same"), [x, kernel])
    for mine, theirs in zip(found, expected, strict=True):
        assert_allclose(mine, theirs, atol=1e-11)


@pytest.mark.usefixtures("our_gradient")
@pytest.mark.parametrize(
    "shape",
    shortened_on_jax(
        [
            (3, 2, 3, 2, (5, 4)),
            (2, 5, 5, 2, (7, 4)),
            (MANY, 2, 3, 1, (5, 4)),
            (2, 3, 3, 3, (5, 4)),
            (3, 2, (1, 3), (1, 2), (5, 4)),
            (2, 3, (1, 5), (1, 3), (5, 4)),
            (3, 2, 3, 2, (2, 2)),
            (2, 5, 5, 2, (1, 3)),
            (MANY, 2, 3, 1, (2, 3)),
            (2, 3, 3, 3, (1, 1)),
            (3, 2, (1, 3), (1, 2), (1, 2)),
            (2, 3, 3, 4, (2, 1)),
        ],
        [(3, 2, 3, 2, (5, 4)), (MANY, 2, 3, 1, (5, 4)), (3, 2, (1, 3), (1, 2), (5, 4)), (3, 2, 3, 2, (2, 2))],
    ),
    ids=str,
)
def test_value_and_gradients_are_those_of_keras_s_transposed_convolution(normal, array, shape):
    channels, filters, size, stride, image = shape
    y, kernel = normal(3, *image, filters), normal(*pair(size), channels, filters, seed=1)
    layer = keras.layers.Conv2DTranspose(channels, size, strides=stride, padding="same", use_bias=False)
    layer.build(y.shape)
    layer.kernel.assign(kernel)
    x = array(convolve_transposed(y, kernel, stride))
    assert x.shape == (3, pair(stride)[0] * image[0], pair(stride)[1] * image[1], channels)
    assert_allclose(x, array(layer(y)), atol=1e-12)
    found = sum_of_sines(lambda y, kernel: convolve_transposed(y, kernel, stride), [y, kernel])
    expected = sum_of_sines(
        lambda y, kernel: ops.conv_transpose(y, kernel, strides=stride, padding="same"), [y, kernel]
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert_allclose(mine, theirs, atol=1e-11)


@pytest.mark.parametrize(("size", "stride", "image"), [(3, 1, (4, 3)), (3, 2, (4, 3)), (5, 2, (4, 3)), (3, 2, (2, 1))])
def test_convolution_and_transposed_convolution_are_transposes(normal, array, size, stride, image):
    x, kernel = normal(2, image[0] * stride, image[1] * stride, MANY), normal(size, size, MANY, MANY, seed=1)
    y = normal(2, *image, MANY, seed=2)
    one = ops.sum(convolve(x, kernel, stride) * y)
    assert_allclose(array(one), array(ops.sum(x * convolve_transposed(y, kernel, stride))), rtol=1e-12)


@pytest.mark.slow_on_jax
def test_patches_are_the_transpose_of_the_flipped_shifted_sum(normal, array):
    x, y = normal(2, 4, 6, 3), normal(2, 4, 6, 27, seed=1)
    flipped = ops.reshape(ops.flip(ops.reshape(y, (2, 4, 6, 9, 3)), 3), (2, 4, 6, 27))
    assert_allclose(
        array(ops.sum(patches(x, (3, 3)) * y)), array(ops.sum(x * shifted_sum(flipped, (3, 3)))), rtol=1e-12
    )


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2), (3, 3)])
def test_strided_patches_are_the_transpose_of_parts_laid_out(normal, array, stride):
    x = normal(2, 5, 6, 3)
    parts = patches(x, (3, 3), stride)
    others = normal(*parts.shape, seed=1)
    laid = laid_out(others, (3, 3), stride, (5, 6))
    assert laid.shape == (2, 5, 6, 3)
    assert_allclose(array(ops.sum(parts * others)), array(ops.sum(x * laid)), rtol=1e-12)
    (found,) = sum_of_sines(lambda x: patches(x, (3, 3), stride), [x])
    (expected,) = sum_of_sines(lambda x: convolution._patches(x, (3, 3), stride=stride), [x])
    assert_allclose(found, expected, atol=1e-12)
    (found,) = sum_of_sines(lambda parts: laid_out(parts, (3, 3), stride, (5, 6)), [others])
    (expected,) = sum_of_sines(lambda parts: convolution._laid_out(parts, (3, 3), stride, (5, 6)), [others])
    assert_allclose(found, expected, atol=1e-12)


@pytest.mark.usefixtures("our_gradient")
@pytest.mark.parametrize("image", [(2, 2), (2, 4), (1, 8)], ids=str)
@pytest.mark.parametrize(("function", "stride"), [(convolve, 1), (convolve_transposed, 1), (convolve_transposed, 2)])
def test_the_backend_convolves_no_image_of_fewer_pixels_than_the_kernel(normal, monkeypatch, function, stride, image):
    """XLA exchanges the two and takes many times as long, in the value and in its gradients."""
    _refuse(monkeypatch, "conv", "conv_transpose")
    kernel = normal(3, 3, MANY, MANY)
    sum_of_sines(lambda x, kernel: function(x, kernel, stride), [normal(2, *image, MANY), kernel])
    with pytest.raises(AssertionError, match="the backend's"):
        function(normal(2, 3, 3, MANY), kernel, stride)


@pytest.mark.usefixtures("our_gradient")
def test_nor_a_gradient_of_fewer_pixels(normal, monkeypatch):
    _refuse(monkeypatch, "conv_transpose")
    kernel = normal(3, 3, MANY, MANY)
    sum_of_sines(lambda x, kernel: convolve(x, kernel, 2), [normal(2, 4, 4, MANY), kernel])


def _refuse(monkeypatch, *names):
    def refused(*arguments, **named):
        raise AssertionError("the backend's convolution")

    for name in names:
        monkeypatch.setattr(ops, name, refused)


def test_xla_on_a_processor_alone_is_spared_what_it_is_slow_at(monkeypatch):
    for backend, device, expected in (("jax", "cpu:0", True), ("jax", "gpu:0", False), ("tensorflow", "cpu:0", False)):
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        monkeypatch.setattr(keras.distribution, "list_devices", lambda device=device: [device])
        assert convolution.runs_by_xla_on_a_processor() is expected
        with traced_for_xla():
            assert convolution.runs_by_xla_on_a_processor() is device.startswith("cpu")


@pytest.mark.parametrize("shape", [(2, 5), (MANY, MANY)], ids=str)
@pytest.mark.slow_on_jax
def test_on_a_line_the_outer_rows_of_a_square_kernel_see_nothing(normal, array, shape):
    x, kernel = normal(3, 1, 6, shape[0]), normal(5, 5, *shape, seed=1)
    assert_allclose(array(convolve(x, kernel[2:3])), array(convolve(x, kernel)), atol=1e-12)


# The layer.


def test_a_layer_adds_its_bias_and_applies_its_activation(normal, perturb, array):
    layer = Convolution(4, 3, stride=2, activation="relu", inputs=2)
    x = normal(3, 5, 6, 2)
    perturb(layer)
    y = array(ops.relu(convolve(x, layer.kernel, 2) + layer.bias))
    assert_allclose(array(layer(x)), y)
    assert layer.compute_output_shape((3, 5, 6, 2)) == y.shape == (3, 3, 3, 4)
    assert 0 < (y > 0).mean() < 1


def test_a_relu_and_a_zero_kernel_are_what_they_say(normal, array):
    layer = Convolution(4, 3, activation="relu", kernel_initializer="zeros")
    layer.build((None, 4, 6, 2))
    layer.bias.assign(np.array([-1.0, 0.0, 1.0, 2.0]))
    assert_allclose(array(layer(normal(3, 4, 6, 2)))[0, 0, 0], [0, 0, 1, 2])


@pytest.mark.parametrize("initializer", ["he_normal", "an object"])
def test_redrawing_draws_other_weights_of_the_same_scale(array, initializer):
    given = keras.initializers.HeNormal() if initializer == "an object" else initializer
    layer = Convolution(64, 3, kernel_initializer=given, inputs=8, use_bias=False)
    first = array(layer.kernel)
    layer.redraw()
    second = array(layer.kernel)
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    for drawn in (first, second):
        assert drawn.std() == pytest.approx(np.sqrt(2 / 72), rel=0.1)
    assert [weight.name for weight in layer.weights] == ["kernel"]
