"""Priors of the VAE: N(0, I), the mixture of posteriors of pseudo-inputs, and a coupling flow.

Each is a density p(z) and a map from standard normal noise to its samples. Notation: z (…, d) of d latents; q(z | x) =
N(μ(x), diag σ²(x)).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.distributions import (
    DiagonalGaussian,
    Tensor,
    log_sum_exp,
    standard_normal_cdf,
    standard_normal_log_prob,
    sum_event,
    tanh,
)
from models.layers.own_gradient import with_gradient

DEVIATIONS_AT_ONCE = 2**22
"""Largest number of (z - μ)/σ that a mixture's density holds at once, which bounds the memory: 16 MiB."""
LARGEST_LOG_SCALE = 2.0
"""Of one coupling of a flow."""


class Prior:
    """The distribution p(z) of the latents."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats of latents z (…, d): (…)."""
        raise NotImplementedError

    def kl(self, posterior: DiagonalGaussian, log_ratio: Tensor) -> Tensor:
        """KL(q(z | x) ‖ p(z)) in nats (n,): here the mean of log q(z | x) - log p(z), which has it as its mean.

        Args:
            posterior: q(z | x).
            log_ratio: log p(z) - log q(z | x) of k samples z of each posterior, (k, n).
        """
        return -ops.mean(log_ratio, axis=0)

    def from_noise(self, noise: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
        """A sample z (n, d) for each row of standard normal noise; at the temperature 0 all are the prior's centre."""
        raise NotImplementedError


class StandardNormal(Prior):
    """N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; 0, I)."""
        return ops.sum(standard_normal_log_prob(z), axis=-1)

    def kl(self, posterior: DiagonalGaussian, log_ratio: Tensor) -> Tensor:
        """In closed form."""
        return sum_event(posterior.kl_to_standard())

    def from_noise(self, noise: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
        """T·ε."""
        return temperature * noise


class PosteriorMixture(Prior):
    """The VampPrior p(z) = (1/K) Σ_k q(z | u_k) of trained pseudo-inputs u_k (Tomczak & Welling 2018, eq. 9).

    Args:
        posterior: q(z | u_k) for all k, (K, d).
    """

    def __init__(self, posterior: DiagonalGaussian) -> None:
        self.posterior = posterior

    def log_prob(self, z: Tensor) -> Tensor:
        """log (1/K) Σ_k q(z | u_k)."""
        latents = z.shape[-1]
        log_scale = self.posterior.log_scale
        distances = squared_distances(ops.reshape(z, (-1, latents)), self.posterior.mean, ops.exp(-log_scale))
        of_component = -ops.sum(log_scale, axis=-1) - math.log(log_scale.shape[0])
        log_prob = log_sum_exp(of_component - 0.5 * distances) - 0.5 * latents * math.log(2 * math.pi)
        return ops.reshape(log_prob, ops.shape(z)[:-1])

    def from_noise(self, noise: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
        """m + T·(z - m), m being the mixture's mean, and z = μ_k + σ_k ε of a component.

        The last number of the noise (n, d + 1) chooses the component, at any temperature each as likely as the others.
        """
        components = self.posterior.mean.shape[0]
        position = standard_normal_cdf(noise[:, -1]) * components
        chosen = ops.minimum(ops.cast(position, "int32"), components - 1)
        mean, log_scale = (ops.take(each, chosen, axis=0) for each in (self.posterior.mean, self.posterior.log_scale))
        z = DiagonalGaussian(mean, log_scale).sample(noise[:, :-1])
        centre = ops.mean(self.posterior.mean, axis=0)
        return centre + temperature * (z - centre)


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


class FlowPrior(Prior):
    """z = f(ε), ε ~ N(0, I), by the inverse of a flow g: log p(z) = log N(g(z); 0, I) + log |det ∂g/∂z|.

    Args:
        flow: g.
    """

    def __init__(self, flow: CouplingFlow) -> None:
        self.flow = flow

    def log_prob(self, z: Tensor) -> Tensor:
        """The density of g(z), times the volume that g makes of one at z."""
        noise, log_det = self.flow.forward(ops.reshape(z, (-1, z.shape[-1])))
        log_prob = ops.sum(standard_normal_log_prob(noise), axis=-1) + log_det
        return ops.reshape(log_prob, ops.shape(z)[:-1])

    def from_noise(self, noise: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
        """f(T·ε)."""
        return self.flow.inverse(temperature * noise)


class AffineCoupling(keras.layers.Layer):
    """z = (a, b); y = (a, (b - t(a))·e^(-s(a))) (Dinh et al. 2017, eq. 7, their direction from noise to data undone).

    A network with two hidden layers of rectified units gives t and s, s within ±2 by a tanh. Its last layer is zero at
    first, so that the coupling begins as the identity.

    Args:
        width: of the hidden layers.
        kept: which part is a: ``first`` for the first ⌊d/2⌋ latents, ``second`` for the others.
    """

    def __init__(self, width: int, kept: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.keeps_first = kept == "first"

    def build(self, shape: tuple[int | None, int]) -> None:
        """Create the network for d latents."""
        self.half = shape[-1] // 2
        sizes = self.half, shape[-1] - self.half
        kept, changed = sizes if self.keeps_first else reversed(sizes)
        hidden = {"activation": "relu", "kernel_initializer": "he_normal"}
        self.network = [
            keras.layers.Dense(self.width, name="first", **hidden),
            keras.layers.Dense(self.width, name="second", **hidden),
            keras.layers.Dense(2 * changed, kernel_initializer="zeros", name="last"),
        ]
        for layer in self.network:
            layer.build((None, kept))
            kept = layer.units
        self.built = True

    def _parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept, and what is changed."""
        first, second = z[:, : self.half], z[:, self.half :]
        return (first, second) if self.keeps_first else (second, first)

    def _whole(self, kept: Tensor, changed: Tensor) -> Tensor:
        return ops.concatenate([kept, changed] if self.keeps_first else [changed, kept], axis=-1)

    def _shift_and_log_scale(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.network:
            kept = layer(kept)
        shift, raw = ops.split(kept, 2, axis=-1)
        return shift, LARGEST_LOG_SCALE * tanh(raw / LARGEST_LOG_SCALE)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """y (n, d) and log |det ∂y/∂z| (n,)."""
        kept, changed = self._parts(z)
        shift, log_scale = self._shift_and_log_scale(kept)
        return self._whole(kept, (changed - shift) * ops.exp(-log_scale)), -ops.sum(log_scale, axis=-1)

    def inverse(self, y: Tensor) -> Tensor:
        """z (n, d)."""
        kept, changed = self._parts(y)
        shift, log_scale = self._shift_and_log_scale(kept)
        return self._whole(kept, shift + changed * ops.exp(log_scale))


class CouplingFlow(keras.layers.Layer):
    """Affine couplings one after the other, which keep the first half of the latents and the second in turn.

    Args:
        couplings: how many.
        width: of the hidden layers of each one's network.
    """

    def __init__(self, couplings: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.couplings = [
            AffineCoupling(width, "second" if i % 2 else "first", name=f"coupling_{i}") for i in range(couplings)
        ]

    def build(self, shape: tuple[int | None, int]) -> None:
        """Build each for d latents."""
        for coupling in self.couplings:
            coupling.build(shape)
        self.built = True

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """g(z) (n, d) and log |det ∂g/∂z| (n,)."""
        log_det = ops.zeros_like(z[:, 0])
        for coupling in self.couplings:
            z, of_coupling = coupling.forward(z)
            log_det = log_det + of_coupling
        return z, log_det

    def inverse(self, noise: Tensor) -> Tensor:
        """z (n, d) of g(z) = noise."""
        for coupling in reversed(self.couplings):
            noise = coupling.inverse(noise)
        return noise
