"""Gated residual blocks, and the activation and the normalisation in them.

As in tutorial 11 of the UvA Deep Learning Tutorials (Lippe 2022), which follow Ho et al. (2019).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor, one_minus_exp
from models.base.window import Window
from models.layers.convolution import Convolution
from models.layers.normalisation import normalised
from models.layers.own_gradient import with_gradient


def concat_elu(x: Tensor) -> Tensor:
    """Elu(x) and elu(-x) side by side, (..., c) -> (..., 2c): a nonlinearity that lets either sign pass.

    With a gradient of its own, which keeps x alone and takes a single exponential, e = exp(-|x|):

        elu(x), elu(-x) = x, e - 1 where x > 0;  e - 1, -x elsewhere.
    """

    def value(x: Tensor) -> Tensor:
        bent = one_minus_exp(ops.abs(x), times=-1.0)
        return ops.concatenate([ops.where(x > 0, x, bent), ops.where(x > 0, bent, -x)], axis=-1)

    def gradient(of_both: Tensor, x: Tensor) -> Tensor:
        positive, negative = ops.split(of_both, 2, axis=-1)
        decay = ops.exp(-ops.abs(x))
        return ops.where(x > 0, positive - decay * negative, decay * positive - negative)

    return with_gradient(value, gradient, x)


class GatedBlock(keras.layers.Layer):
    """Norm(x + v·sigmoid(g)), with v and g two halves of convolutions of x, after Lippe (2022, tutorial 11).

    x passes a concat-ELU, a 3x3 convolution, another concat-ELU and a 1x1 convolution. The norm is over the channels
    of each pixel, with a scale and a shift that are trained.

    Args:
        channels: c of x.
        size: of the first kernel.
    """

    def __init__(self, channels: int, size: Window = (3, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.convolutions = [
            Convolution(channels, size, kernel_initializer="lecun_normal", name="first"),
            Convolution(2 * channels, 1, kernel_initializer="lecun_normal", name="second"),
        ]

    def build(self, shape: BatchShape) -> None:
        """Create both convolutions, and the norm's scale and shift (c,)."""
        for convolution in self.convolutions:
            convolution.build((*shape[:-1], 2 * self.channels))
        self.scale = self.add_weight(shape=(self.channels,), initializer="ones", name="scale")
        self.shift = self.add_weight(shape=(self.channels,), initializer="zeros", name="shift")
        self.built = True

    def redraw(self) -> None:
        """Draw the kernels again."""
        for convolution in self.convolutions:
            convolution.redraw()

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> the same."""
        h = x
        for convolution in self.convolutions:
            h = convolution(concat_elu(h))
        value, gate = ops.split(h, 2, axis=-1)
        return normalised(x + value * ops.sigmoid(gate)) * self.scale + self.shift
