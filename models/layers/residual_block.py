"""Pre-activation residual blocks."""

from __future__ import annotations

from typing import Any

import keras

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.base.window import Window
from models.layers.convolution import Convolution


class ResidualBlock(keras.layers.Layer):
    """x + conv(act(conv(act(x)))) with 3x3 convolutions, or 1x3 ones on a line (He et al. 2016b).

    Args:
        channels: of x.
        activation: a Keras activation's name.
        share: the variance of what the block adds, relative to that of x, at first. 0, of which a deep network begins
            as the identity, or 1/b for one of b blocks (Child 2021, section 3.2).
        size: of the kernels.
    """

    def __init__(
        self, channels: int, activation: str, share: float = 0.0, size: Window = (3, 3), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.first = Convolution(channels, size, inputs=channels, name="first")
        last = keras.initializers.VarianceScaling(2.0 * share) if share else "zeros"
        self.second = Convolution(channels, size, kernel_initializer=last, inputs=channels, name="second")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, channels) -> the same."""
        return x + self.second(self.activation(self.first(self.activation(x))))

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape
