"""Normalisation over the last axis."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.base.distributions import Tensor

SMALLEST_VARIANCE = 1e-5
"""Added to the variance that a normalisation divides by."""


def normalised(x: Tensor) -> Tensor:
    """x (..., c) less its mean over the last axis, divided by its standard deviation."""
    channels = x.shape[-1]
    # Sums, as a mean is of single precision on JAX.
    centred = x - ops.sum(x, axis=-1, keepdims=True) / channels
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / channels
    return centred * ops.rsqrt(variance + SMALLEST_VARIANCE)


class LayerNorm(keras.layers.Layer):
    """y = s·normalised(x) + b (Ba et al. 2016), s = 1 and b = 0 at first.

    Args:
        channels: c of x (..., c).
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = self.add_weight(shape=(channels,), initializer="ones", name="scale")
        self.shift = self.add_weight(shape=(channels,), initializer="zeros", name="shift")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(..., c) -> (..., c)."""
        return normalised(x) * self.scale + self.shift
