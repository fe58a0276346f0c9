"""Preprocessing: from the unit cube, in which dequantised images lie, to the space in which a flow models them.

Notation: v in (0, 1) is a channel of a pixel of a dequantised image, (x + u)/Q; y what the flow sees of it; α a margin.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor, standard_normal_cdf, standard_normal_log_prob, sum_event
from models.bijections.base import Bijection, zeros_per_image

MOST_BINS = 256
"""Of a histogram of pixel values; neighbouring grey levels share one where there are more levels."""
UNIFORM_SHARE = 0.5
"""Of the uniform distribution in the distribution that ``Marginal`` maps by.

The histogram alone would leave rare values next to no room: the flow would see them as jumps.
"""


class _Pointwise(Bijection):
    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape


class Linear(_Pointwise):
    """y = v - ½, as in the code published with Kingma & Dhariwal (2018).

    The flow's density has no reason to end where the cube does: what lies outside is lost to the bound.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """v - ½; log-determinant 0."""
        return x - 0.5, zeros_per_image(x)

    def inverse(self, y: Tensor) -> Tensor:
        """y + ½."""
        return y + 0.5


class Logit(_Pointwise):
    """y = log s - log(1 - s), s = α + (1 - 2α)·v (Dinh et al. 2017, section 4.1).

    log |det| = Σ log(1 - 2α) - log s - log(1 - s). All of the flow's space but its farthest ends is inside the cube.

    Args:
        alpha: α, how far from 0 and 1 the s stay.
    """

    def __init__(self, alpha: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, h, w, c) in (0, 1) -> (n, h, w, c)."""
        s = self.alpha + (1.0 - 2.0 * self.alpha) * x
        log_s, log_rest = ops.log(s), ops.log1p(-s)
        return log_s - log_rest, sum_event(math.log1p(-2.0 * self.alpha) - log_s - log_rest)

    def inverse(self, y: Tensor) -> Tensor:
        """v = (sigmoid(y) - α)/(1 - 2α)."""
        return (ops.sigmoid(y) - self.alpha) / (1.0 - 2.0 * self.alpha)


class Marginal(_Pointwise):
    """y = Φ⁻¹(α + (1 - 2α)·F(v)), which brings each channel's marginal near N(0, 1) (after Chen & Gopinath 2000).

    F is the distribution function of ``UNIFORM_SHARE`` parts of the uniform distribution and, for the rest, of the
    histogram of the channel's values in training images. It is linear within a bin of mass m and width 1/B, so that

        log |det| = Σ log(m·B) + log(1 - 2α) - log φ(y),    φ the standard normal density.

    Where most pixels have one value, as the black ones of handwritten digits, F gives that value most of the room, and
    the flow is spared to learn slopes of hundreds.

    Args:
        alpha: α, how far from 0 and 1 the argument of Φ⁻¹ stays.
        grey_levels: Q.
    """

    def __init__(self, alpha: float, grey_levels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha
        self.grey_levels = grey_levels
        self.bins = min(grey_levels, MOST_BINS)

    def build(self, shape: BatchShape) -> None:
        """Create F at the ends of the bins, (c·(B + 1),), those of a channel side by side: at first the identity."""
        self.channels = shape[-1]
        self.edges = self.add_weight(
            shape=(self.channels * (self.bins + 1),), initializer="zeros", trainable=False, name="edges"
        )
        self.edges.assign(np.tile(np.linspace(0.0, 1.0, self.bins + 1), self.channels))
        self.built = True

    def fit(self, images: Tensor) -> None:
        """Set F from integer images (n, h, w, c)."""
        levels = ops.cast(images, "int32") * self.bins // self.grey_levels
        bins = ops.reshape(levels + self.bins * ops.arange(self.channels, dtype="int32"), (-1,))
        # As whole numbers: in single precision a count ends at 2^24.
        counts = ops.segment_sum(ops.ones_like(bins), bins, self.channels * self.bins)
        counts = ops.cast(ops.reshape(counts, (self.channels, self.bins)), self.compute_dtype)
        masses = counts / ops.sum(counts, axis=-1, keepdims=True)
        masses = (1.0 - UNIFORM_SHARE) * masses + UNIFORM_SHARE / self.bins
        inner = ops.cumsum(masses, axis=-1)[:, :-1]
        ends = ops.zeros_like(inner[:, :1])
        self.edges.assign(ops.reshape(ops.concatenate([ends, inner, ends + 1.0], axis=-1), (-1,)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, h, w, c) in (0, 1) -> (n, h, w, c)."""
        scaled = x * self.bins
        index = ops.clip(ops.cast(ops.floor(scaled), "int32"), 0, self.bins - 1)
        low, mass = self._bin(index)
        share = low + mass * (scaled - ops.cast(index, x.dtype))
        y = math.sqrt(2.0) * ops.erfinv((1.0 - 2.0 * self.alpha) * (2.0 * share - 1.0))
        slope = math.log1p(-2.0 * self.alpha) + ops.log(mass * self.bins) - standard_normal_log_prob(y)
        return y, sum_event(slope)

    def inverse(self, y: Tensor) -> Tensor:
        """v: the bin of F(v) by bisection, then its place there; outside the cube by the slope of the end bins."""
        value = (standard_normal_cdf(y) - self.alpha) / (1.0 - 2.0 * self.alpha)
        index = ops.zeros_like(value, dtype="int32")
        for exponent in reversed(range(self.bins.bit_length())):
            higher = index + 2**exponent
            low, _ = self._bin(ops.minimum(higher, self.bins - 1))
            index = ops.where(ops.logical_and(higher < self.bins, low <= value), higher, index)
        low, mass = self._bin(index)
        return (ops.cast(index, value.dtype) + (value - low) / mass) / self.bins

    def _bin(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of bins (n, h, w, c): F at their lower ends, and their masses."""
        edges = ops.convert_to_tensor(self.edges)
        place = index + (self.bins + 1) * ops.arange(self.channels, dtype="int32")
        low = ops.take(edges, place)
        return low, ops.take(edges, place + 1) - low


Preprocessing = Linear | Logit | Marginal


def preprocessing(kind: str, alpha: float, grey_levels: int) -> Preprocessing:
    """The preprocessing by name: ``linear``, ``logit`` or ``marginal``, the last two with the margin α."""
    if kind == "linear":
        return Linear(name="preprocessing")
    if kind == "logit":
        return Logit(alpha, name="preprocessing")
    return Marginal(alpha, grey_levels, name="preprocessing")
