"""What a coupling does to each value that it moves: an invertible map of one number, its parameters from a network.

Notation: x (n, h, w, c) are values; θ (n, h, w, P·c) what a network gives for them, P ``parameters`` a value, first the
c of the first parameter, then those of the second, and so on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import keras
import numpy as np
from keras import ops

from models.base.distributions import Tensor, log_sigmoid, softplus, tanh

LOG_SCALES = (-7.0, 7.0)
"""Least and largest of a logistic in a mixture; the former as in the code published with Ho et al. (2019)."""
WIDEST_START = 1.0
"""Farthest mean of a mixture's logistics from 0 at first; equal ones would have equal gradients and stay equal."""
HALVINGS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}
"""Of a bracket, by floating type: what is left of one 100 wide is below the type's rounding of 1."""


class Elementwise(ABC):
    """y = g(x; θ), increasing in each value x.

    Attributes:
        parameters: P, the numbers that describe g for one value.
    """

    parameters: int

    @abstractmethod
    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Y and log ∂y/∂x, both (n, h, w, c)."""

    @abstractmethod
    def inverse(self, y: Tensor, theta: Tensor) -> Tensor:
        """The x (n, h, w, c) that y came from."""


class Additive(Elementwise):
    """y = x + b (Dinh et al. 2015)."""

    parameters = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """x + b; log-slope 0."""
        return x + theta, ops.zeros_like(x)

    def inverse(self, y: Tensor, theta: Tensor) -> Tensor:
        """y - b."""
        return y - theta


class Affine(Elementwise):
    """y = m·sigmoid(r + a)·(x + b), whose scale is bounded (Kingma & Dhariwal 2018, whose code has m = 1 and a = 2).

    Args:
        largest: m, which no scale reaches.
        offset: a: with θ = 0 the scale is m·sigmoid(a).
    """

    parameters = 2

    def __init__(self, largest: float = 1.0, offset: float = 2.0) -> None:
        self.log_largest = math.log(largest)
        self.offset = offset

    def _shift_and_log_scale(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = ops.split(theta, 2, axis=-1)
        return shift, log_sigmoid(raw + self.offset) + self.log_largest

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """(x + b)·scale; log-slope log m + log sigmoid(r + a)."""
        shift, log_scale = self._shift_and_log_scale(theta)
        return (x + shift) * ops.exp(log_scale), log_scale

    def inverse(self, y: Tensor, theta: Tensor) -> Tensor:
        """y/scale - b."""
        shift, log_scale = self._shift_and_log_scale(theta)
        return y * ops.exp(-log_scale) - shift


class MixtureLogistic(Elementwise):
    """y = σ⁻¹(F(x))·exp(tanh a) + b, F a mixture of K logistics' distribution functions (Ho et al. 2019, section 3.2).

    F(x) = Σ π_i σ(z_i), z_i = (x - μ_i)·exp(-s_i). With both tails in logarithms nothing cancels:

        u = σ⁻¹(F) = log F - log(1 - F),    log ∂u/∂x = log f - log F - log(1 - F),    f = F'.

    The tanh is of their published code. With θ = 0 and one component, y = x.

    Args:
        components: K.
    """

    def __init__(self, components: int) -> None:
        self.components = components
        self.parameters = 2 + 3 * components
        spread = WIDEST_START if components > 1 else 0.0
        self._starts = np.linspace(-spread, spread, components).reshape(-1, 1, 1, 1, 1)

    def _parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """B and tanh a (n, h, w, c), and the mixture: log π, μ and s, (3, K, n, h, w, c)."""
        _, height, width, channels = theta.shape
        theta = ops.reshape(theta, (-1, height, width, self.parameters, channels // self.parameters))
        # Components first: their sums are then sums of whole images, which backends compute fastest.
        theta = ops.transpose(theta, (3, 0, 1, 2, 4))
        k = self.components
        logits, means, log_scales = theta[2 : 2 + k], theta[2 + k : 2 + 2 * k], theta[2 + 2 * k :]
        mixture = (
            ops.log_softmax(logits, axis=0),
            means + ops.cast(self._starts, theta.dtype),
            ops.clip(log_scales, *LOG_SCALES),
        )
        return theta[0], tanh(theta[1]), mixture

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """σ⁻¹(F(x))·exp(tanh a) + b; its log-slope."""
        shift, log_scale, mixture = self._parts(theta)
        u, log_slope = _logit_cdf(x, *mixture)
        return u * ops.exp(log_scale) + shift, log_slope + log_scale

    def inverse(self, y: Tensor, theta: Tensor) -> Tensor:
        """The x at which F has the value, by bisection."""
        shift, log_scale, mixture = self._parts(theta)
        return _quantile((y - shift) * ops.exp(-log_scale), *mixture)


def elementwise_of(kind: str, components: int) -> Elementwise:
    """The map by name: ``additive``, ``affine``, or ``mixture_logistic`` of so many components."""
    if kind == "mixture_logistic":
        return MixtureLogistic(components)
    return Affine() if kind == "affine" else Additive()


def _logit_cdf(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    """u = log F - log(1 - F) and log ∂u/∂x at x (n, h, w, c), of mixtures (K, n, h, w, c)."""
    z = (x - means) * ops.exp(-log_scales)
    above = log_weights - softplus(z)  # log π_i σ(-z_i)
    below = above + z  # log π_i σ(z_i)
    log_cdf, log_survival = ops.logsumexp(below, axis=0), ops.logsumexp(above, axis=0)
    log_density = ops.logsumexp(below + above - log_weights - log_scales, axis=0)
    return log_cdf - log_survival, log_density - log_cdf - log_survival


def _quantile(u: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """x with log F(x) - log(1 - F(x)) = u: between the least and the largest of the components' own, μ_i + s_i·u."""
    own = means + ops.exp(log_scales) * u
    low, high = ops.min(own, axis=0), ops.max(own, axis=0)

    def halve(_: Tensor, bracket: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = bracket
        middle = 0.5 * (low + high)
        is_below = _logit_cdf(middle, log_weights, means, log_scales)[0] < u
        return ops.where(is_below, middle, low), ops.where(is_below, high, middle)

    halvings = HALVINGS[keras.backend.standardize_dtype(u.dtype)]
    low, high = ops.fori_loop(0, halvings, halve, (low, high))
    # Asked apart, as XLA on a processor makes numbers of the minimum and maximum of NaN.
    is_number = ops.isfinite(ops.sum(own + log_weights, axis=0))
    return ops.where(is_number, 0.5 * (low + high), math.nan)
