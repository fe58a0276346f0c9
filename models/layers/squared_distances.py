"""Distances of points from the components of a mixture of Gaussians."""

from __future__ import annotations

from keras import ops

from models.base.distributions import Tensor
from models.layers.own_gradient import with_gradient

DEVIATIONS_AT_ONCE = 2**22
"""Largest number of (z - μ)/σ that a mixture's density holds at once, which bounds the memory: 16 MiB."""


def squared_distances(z: Tensor, mean: Tensor, inverse_scale: Tensor) -> Tensor:
    """Σ_j ((z_j - μ_kj)/σ_kj)² for z (m, d) and components (K, d): (m, K).

    The differences are squared as they are: z²/σ² - 2zμ/σ² + μ²/σ², which two matrix products would give, loses all
    digits where σ is small. The gradient is given by such products, at a fraction of its time: what they lose is small
    beside the noise of the samples z. The differences are held for a part of the components at a time.
    """

    def value(z: Tensor, mean: Tensor, inverse_scale: Tensor) -> Tensor:
        rows, latents = z.shape
        size = max(1, DEVIATIONS_AT_ONCE // ((rows or 1) * latents))
        parts = []
        for first in range(0, mean.shape[0], size):
            some = slice(first, first + size)
            deviations = (z[:, None] - mean[None, some]) * inverse_scale[None, some]
            parts.append(ops.sum(ops.square(deviations), axis=-1))
        return ops.concatenate(parts, axis=1)

    def gradient(
        weights: Tensor, z: Tensor, mean: Tensor, inverse_scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # weights (m, K)
        precision = ops.square(inverse_scale)
        to_z = z * ops.matmul(weights, precision) - ops.matmul(weights, mean * precision)
        by_component = ops.transpose(weights)
        total = ops.sum(by_component, axis=1)[:, None]
        first, second = ops.matmul(by_component, z), ops.matmul(by_component, ops.square(z))
        to_mean = (total * mean - first) * precision
        to_scale = (second - 2.0 * mean * first + total * ops.square(mean)) * inverse_scale
        return 2.0 * to_z, 2.0 * to_mean, 2.0 * to_scale

    return with_gradient(value, gradient, z, mean, inverse_scale)
