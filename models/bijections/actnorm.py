"""Actnorm: a scale and a bias per channel, initialised from data."""

from __future__ import annotations

from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import Bijection, zeros_per_image

SMALLEST_STANDARD_DEVIATION = 1e-6
"""A channel that varies less than this on the first batch is centred but not scaled: 1/σ would explode."""


class ActNorm(Bijection):
    """y = exp(s)·(x + b) per channel (Kingma & Dhariwal 2018, section 3.1); log-determinant h·w·Σ s.

    ``initialise`` sets b and s so that the first batch comes out with mean 0 and variance 1 in each channel.
    """

    def build(self, shape: BatchShape) -> None:
        """Create ``bias`` b and ``log_scale`` s, each (c,), both zero: the identity."""
        self.bias = self.add_weight(shape=(shape[-1],), initializer="zeros", name="bias")
        self.log_scale = self.add_weight(shape=(shape[-1],), initializer="zeros", name="log_scale")

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = exp(s)·(x + b)."""
        _, height, width, _ = x.shape
        log_det = height * width * ops.sum(self.log_scale)
        return ops.exp(self.log_scale) * (x + self.bias), zeros_per_image(x) + log_det

    def inverse(self, y: Tensor) -> Tensor:
        """x = exp(-s)·y - b."""
        return ops.exp(-self.log_scale) * y - self.bias

    def initialise(self, x: Tensor) -> Tensor:
        """Standardise the channels of x (n, h, w, c)."""
        mean = ops.mean(x, axis=(0, 1, 2))
        deviation = ops.std(x, axis=(0, 1, 2))
        self.bias.assign(-mean)
        varies = deviation > SMALLEST_STANDARD_DEVIATION
        self.log_scale.assign(ops.where(varies, -ops.log(ops.where(varies, deviation, 1.0)), 0.0))
        return self.forward(x)[0]
