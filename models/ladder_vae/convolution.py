"""A convolution of stride 1 whose gradient is written out, as XLA on a processor has no fast one inside a loop.

Notation: x (n, h, w, c); a kernel K (s, s, c, m) of odd size s, at zero padding; y = K * x (n, h, w, m).

A training program is a loop over its steps. In it XLA computes the convolutions of a gradient a hundred times more
slowly than that of the value (1 to 3 s for the batch of 128 that takes 15 ms forwards). Both gradients are something
else that is fast: that in x is a forward convolution of ∂y with the kernel turned round, and that in K is one product
of matrices, in which the s² shifted copies of x, or of ∂y, lie side by side.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.base.distributions import Tensor
from models.layers.convolution import by_pixel, patches


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """K * x: (n, h, w, c) -> (n, h, w, m)."""
    size, _, channels, filters = kernel.shape
    if size == 1:
        return by_pixel(x, ops.reshape(kernel, (channels, filters)))
    if keras.backend.backend() != "jax":  # TensorFlow's own gradient is twice as fast as the products
        return ops.conv(x, kernel, padding="same")

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
        def gradient(*arguments: Tensor, upstream: Tensor = None) -> tuple[Tensor, Tensor]:
            of_y = arguments[0] if upstream is None else upstream
            turned = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
            return ops.conv(of_y, turned, padding="same"), kernel_gradient(x, of_y, size)

        return ops.conv(x, kernel, padding="same"), gradient

    return convolved(x, kernel)


def kernel_gradient(x: Tensor, of_y: Tensor, size: int) -> Tensor:
    """∂/∂K of a sum whose gradient in y is ``of_y`` (n, h, w, m): (s, s, c, m).

    The patches are those of whichever has the fewer channels: of x, or of ∂y, whose shifts are the other way round.
    """
    channels, filters = x.shape[-1], of_y.shape[-1]
    if channels < filters:
        product = _product(patches(x, size), of_y)
        return ops.reshape(product, (size, size, channels, filters))
    product = ops.reshape(_product(x, patches(of_y, size)), (channels, size, size, filters))
    return ops.transpose(ops.flip(product, axis=(1, 2)), (1, 2, 0, 3))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Σ over images and positions of a (n, h, w, i) times b (n, h, w, j): (i, j)."""
    return ops.matmul(ops.transpose(ops.reshape(a, (-1, a.shape[-1]))), ops.reshape(b, (-1, b.shape[-1])))


class Convolution(keras.layers.Layer):
    """y = K * x + b, of the size of x, zero outside it.

    Args:
        inputs: c.
        filters: m.
        size: s, odd.
        gain: the variance of a weight at first is gain / (s²·c); they are 0 where it is 0, as the bias is.
        use_bias: whether there is one.
    """

    def __init__(
        self, inputs: int, filters: int, size: int, gain: float = 1.0, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.use_bias = use_bias
        initializer = keras.initializers.VarianceScaling(gain) if gain else "zeros"
        self.kernel = self.add_weight(shape=(size, size, inputs, filters), initializer=initializer, name="kernel")
        if use_bias:
            self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h, w, m)."""
        y = convolve(x, ops.convert_to_tensor(self.kernel))
        return y + self.bias if self.use_bias else y
