"""Symbols without an order as points of a continuous space: categorical normalising flows (Lippe & Gavves 2021)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Categorical, DiagonalGaussian, Tensor, log_sum_exp, sum_event, sum_last

FIRST_LOG_SCALE = math.log(0.3)
"""Of each symbol's distribution at first, whose locations are drawn from N(0, I)."""


class CategoricalEncoding(keras.layers.Layer):
    """Each symbol x becomes a point v of d dimensions, drawn from a distribution of its own (their section 3).

        q(v | x) = N(v; μ_x, diag σ_x²),    p(x | v) = p̃(x) q(v | x) / Σ_x' p̃(x') q(v | x')

    with μ, σ and p̃ trained, the same at all positions. A model p(v) of the points is one of the symbols,

        P(x) = ∫ p(x | v) p(v) dv >= exp E_q[log p(v) + log p(x | v) - log q(v | x)]

    in which q(v | x) cancels: log p(v) + log p̃(x) - log Σ_x' p̃(x') q(v | x'). No symbol is nearer to another than
    training puts it, where a dequantisation places each between its neighbours by number.

    Deviation from the paper: Gaussians in the place of logistics.

    Args:
        channels: d.
        symbols: Q.
    """

    def __init__(self, channels: int, symbols: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.symbols = channels, symbols

    def build(self, image_shape: BatchShape) -> None:
        """Create μ and log σ, both (Q, d), and log p̃ (Q,) but for a constant."""
        shape = (self.symbols, self.channels)
        spread, scale = keras.initializers.RandomNormal(stddev=1.0), keras.initializers.Constant(FIRST_LOG_SCALE)
        self.mean = self.add_weight(shape=shape, initializer=spread, name="symbol_means")
        self.log_scale = self.add_weight(shape=shape, initializer=scale, name="log_scale")
        self.logits = self.add_weight(shape=(self.symbols,), initializer="zeros", name="symbol_logits")
        self.built = True

    def fit(self, images: Tensor) -> None:
        """Set p̃ to the shares of the symbols in integer images, 1 added to each count."""
        flat = ops.reshape(ops.cast(images, "int32"), (-1,))
        # As whole numbers: in single precision a count ends at 2^24.
        counts = ops.cast(ops.segment_sum(ops.ones_like(flat), flat, self.symbols), self.compute_dtype)
        self.logits.assign(ops.log((counts + 1.0) / (ops.sum(counts) + self.symbols)))

    def given(self, x: Tensor) -> DiagonalGaussian:
        """q(v | x) of integer images x (n, h, w, c), elementwise (n, h, w, c·d): the d of a value side by side."""
        # Looked up, as a product rounds on an accelerator: v would be drawn from another q than its density is of.
        symbols = ops.cast(x, "int32")
        shape = (*x.shape[1:3], x.shape[3] * self.channels)
        tables = (ops.convert_to_tensor(table) for table in (self.mean, self.log_scale))
        moments = (ops.reshape(ops.take(table, symbols, axis=0), (-1, *shape)) for table in tables)
        return DiagonalGaussian(*moments)

    def encode(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """From integer images x (n, h, w, c) and noise (n, h, w, c·d): v, and log q(v | x) - log p(x | v) (n,)."""
        v = self.given(x).sample(noise)
        joint = self.decoder(v).logits
        log_prior = ops.log_softmax(self.logits)
        of_x = sum_last(ops.one_hot(ops.cast(x, "int32"), self.symbols, dtype=joint.dtype) * log_prior)
        return v, sum_event(log_sum_exp(joint) - of_x)

    def decoder(self, v: Tensor) -> Categorical:
        """p(x | v) of points v (n, h, w, c·d): a categorical (n, h, w, c, Q), its logits log p̃(x) q(v | x)."""
        _, height, width, size = v.shape
        points = ops.reshape(v, (-1, height, width, size // self.channels, self.channels))
        inverse_scale = ops.exp(-self.log_scale)
        constant = 0.5 * self.channels * math.log(2 * math.pi)
        joint = ops.log_softmax(self.logits) - ops.sum(self.log_scale, axis=-1) - constant
        # A dimension at a time: all at once would take d times the memory.
        for i in range(self.channels):
            deviation = (points[..., i, None] - self.mean[:, i]) * inverse_scale[:, i]
            joint = joint - 0.5 * ops.square(deviation)
        return Categorical(joint)
