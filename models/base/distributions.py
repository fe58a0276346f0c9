"""Distributions, and the reparameterisation trick by name.

Continuous distributions give log-densities, discrete ones log-probabilities, both elementwise: the caller sums over
an image's dimensions with :func:`sum_event`. Discrete ones live on the grey levels 0..Q-1, sum to one over them
exactly, and sample by inverse transform: ``quantile(u)`` maps one uniform number per element to a grey level.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import keras
from keras import ops

from models.base.processor import runs_by_xla_on_a_processor

Tensor = Any
"""A backend's tensor; Keras gives it no common type."""
LARGEST_LOG_SCALE = 50.0
"""By which scales of logistics are bounded, and their inverses."""
BORDERS_AT_ONCE = 16
"""Borders between grey levels over which a mean is summed at a time: each takes as much memory as the images."""
BROKEN = -1
"""What a sampled value is where the model's arithmetic left the real numbers: no grey level, and no shade of black."""


def as_grey_levels(x: Tensor, grey_levels: int) -> Tensor:
    """The grey level 0..Q-1 that each x lies in, in units of levels, int32; :data:`BROKEN` where x is not finite.

    Those outside get the nearest. A plain cast would make some grey level of NaN, black on most backends.
    """
    levels = ops.clip(ops.floor(x), 0, grey_levels - 1)
    return ops.cast(ops.where(ops.isfinite(x), levels, BROKEN), "int32")


def sum_last(x: Tensor) -> Tensor:
    """Sum over the last axis.

    XLA on a processor computes a sum in one loop with its terms, and their exponentials and logarithms then one by one:
    2 to 7 times as slowly as in a loop of their own. So there it is the product with a vector of ones.
    """
    is_floating = "float" in keras.backend.standardize_dtype(x.dtype)
    if not (is_floating and runs_by_xla_on_a_processor()):
        return ops.sum(x, axis=-1)
    return ops.matmul(x, ops.ones(x.shape[-1:], dtype=x.dtype))


def sum_event(x: Tensor, batch_axes: int = 1) -> Tensor:
    """Sum over all axes but the first ``batch_axes``: elementwise log-probabilities to one number an image."""
    if None in x.shape[batch_axes:]:
        return ops.sum(x, axis=tuple(range(batch_axes, len(x.shape))))
    size = math.prod(x.shape[batch_axes:])
    return sum_last(ops.reshape(x, (*ops.shape(x)[:batch_axes], size)))


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σ exp x over the last axis, without overflow."""
    if not runs_by_xla_on_a_processor():
        return ops.logsumexp(x, axis=-1)
    largest = ops.stop_gradient(ops.max(x, axis=-1, keepdims=True))
    largest = ops.where(ops.isfinite(largest), largest, 0.0)
    return ops.log(sum_last(ops.exp(x - largest))) + largest[..., 0]


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), without overflow.

    The backend's own is the same but for a question about NaN, without which XLA vectorises it.
    """
    if not runs_by_xla_on_a_processor():
        return ops.softplus(x)
    # Not by `maximum` and `abs`, whose slopes at 0 are not of one side: together they would not be ½.
    is_positive = x >= 0.0
    return ops.where(is_positive, x, 0.0) + ops.log1p(ops.exp(ops.where(is_positive, -x, x)))


def log_sigmoid(x: Tensor) -> Tensor:
    """log σ(x) = -log(1 + e^-x)."""
    return -softplus(-x)


def _is_double(x: Tensor) -> bool:
    dtype: str = keras.backend.standardize_dtype(x.dtype)
    return dtype == "float64"


def tanh(x: Tensor) -> Tensor:
    """Tanh x, of the type of x: Keras's own leaves double precision on JAX, and 2σ(2x) - 1 does not."""
    return 2.0 * ops.sigmoid(2.0 * x) - 1.0 if _is_double(x) else ops.tanh(x)


def one_minus_exp(x: Tensor, times: float = 1.0) -> Tensor:
    """(1 - e^-x) · ``times`` of x >= 0, which keeps its digits near 0.

    In single precision it is 2t / (1 + t) with t = tanh(x / 2), as exact there as expm1, which XLA computes far more
    slowly on a processor: a Glow of gated blocks is evaluated at half of its speed with it. So it is where the quotient
    is negated, and not its numerator, for which there is the factor.
    """
    if _is_double(x):
        return -times * ops.expm1(-x)
    # Beyond, the value is 1 and the slope has to be 0. Of a tanh which rounding leaves below 1 it is not, and would be
    # multiplied by x's own: by 10^20 where x is an inverse scale.
    t = ops.tanh(0.5 * ops.where(x > 40.0, 40.0, x))
    return 2.0 * times * t / (1.0 + t)


def log_mean_exp(x: Tensor, axis: int = 0) -> Tensor:
    """log (1/k) Σ exp x along ``axis`` of length k, without overflow."""
    return ops.logsumexp(x, axis=axis) - math.log(x.shape[axis])


def reparameterise(mean: Tensor, log_scale: Tensor, noise: Tensor) -> Tensor:
    """The reparameterisation trick: z = μ + exp(log σ)·ε, a deterministic function of ε ~ N(0, I).

    Gradients with respect to μ and σ flow through z (Kingma & Welling 2014, section 2.4).
    """
    return mean + ops.exp(log_scale) * noise


def standard_normal_cdf(x: Tensor) -> Tensor:
    """Φ(x): maps standard normal noise to uniform noise in [0, 1], kept below 1 and above 0 in working precision."""
    tiny = 1e-15 if _is_double(x) else 1e-7
    return ops.clip(0.5 * (1.0 + ops.erf(x / math.sqrt(2.0))), tiny, 1.0 - tiny)


def _no_probabilities(logits: Tensor) -> Tensor:
    """Where logits (..., m) give no probabilities (...).

    They are asked themselves, as XLA on a processor makes numbers of the exponential, maximum and minimum of NaN.
    """
    lost = ops.any(ops.logical_or(ops.isnan(logits), logits == math.inf), axis=-1)
    return ops.logical_or(lost, ops.all(logits == -math.inf, axis=-1))


class DiagonalGaussian:
    """N(μ, diag σ²), given μ and log σ of any broadcastable shapes."""

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        self.mean = mean
        self.log_scale = log_scale

    def sample(self, noise: Tensor) -> Tensor:
        """z = μ + σε, reparameterised."""
        return reparameterise(self.mean, self.log_scale, noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """-½ ((z-μ)/σ)² - log σ - ½ log 2π, elementwise."""
        standardised = (z - self.mean) * ops.exp(-self.log_scale)
        return -0.5 * ops.square(standardised) - self.log_scale - 0.5 * math.log(2 * math.pi)

    def kl_to_standard(self) -> Tensor:
        """KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² - 1) - log σ, elementwise (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (ops.square(self.mean) + ops.exp(2.0 * self.log_scale) - 1.0) - self.log_scale


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, 1), elementwise."""
    return -0.5 * ops.square(z) - 0.5 * math.log(2 * math.pi)


class GreyLevelDistribution(ABC):
    """A distribution over the grey levels 0..Q-1 of each pixel and channel, factorised over them."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of the integer grey levels ``x`` (..., h, w, c), elementwise."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Grey levels (int32) for uniform numbers ``u`` in (0, 1), one per element: inverse-transform sampling.

        :data:`BROKEN` where the distribution's parameters are no numbers.
        """

    @abstractmethod
    def mean(self) -> Tensor:
        """Expected grey level, elementwise."""


class Bernoulli(GreyLevelDistribution):
    """P(1) = sigmoid(logits): two grey levels. ``logits`` (..., h, w, c)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        """x·logit - softplus(logit)."""
        return ops.cast(x, self.logits.dtype) * self.logits - softplus(self.logits)

    def quantile(self, u: Tensor) -> Tensor:
        """1 where u > 1 - P(1)."""
        on = ops.cast(u > ops.sigmoid(-self.logits), "int32")
        return ops.where(ops.isnan(self.logits), BROKEN, on)

    def mean(self) -> Tensor:
        """P(1)."""
        return ops.sigmoid(self.logits)

    def likeliest(self) -> Tensor:
        """1 where P(1) > ½, else 0; NaN of NaN."""
        on = ops.cast(self.logits > 0, self.logits.dtype)
        return ops.where(ops.isnan(self.logits), math.nan, on)


class Categorical(GreyLevelDistribution):
    """A probability of its own for each grey level. ``logits`` (..., h, w, c, Q)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.grey_levels: int = logits.shape[-1]

    def log_prob(self, x: Tensor) -> Tensor:
        """Logit of x less the log-sum-exp of all."""
        chosen = ops.equal(ops.cast(x, "int32")[..., None], ops.arange(self.grey_levels, dtype="int32"))
        # A choice and no product, as a level without any probability has the logit -∞.
        return sum_last(ops.where(chosen, self.logits, 0.0)) - log_sum_exp(self.logits)

    def quantile(self, u: Tensor) -> Tensor:
        """Number of grey levels whose cumulative probability lies below u."""
        cumulative = ops.cumsum(ops.softmax(self.logits, axis=-1), axis=-1)[..., :-1]
        level = ops.cast(ops.sum(cumulative < u[..., None], axis=-1), "int32")
        return ops.where(_no_probabilities(self.logits), BROKEN, level)

    def mean(self) -> Tensor:
        """Σ v P(v)."""
        levels = ops.arange(self.grey_levels, dtype=self.logits.dtype)
        return ops.sum(ops.softmax(self.logits, axis=-1) * levels, axis=-1)

    def likeliest(self) -> Tensor:
        """The first level of the highest probability, as a float; NaN where there are no probabilities."""
        level = ops.cast(ops.argmax(self.logits, axis=-1), self.logits.dtype)
        return ops.where(_no_probabilities(self.logits), math.nan, level)


def _discretised_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, grey_levels: int) -> Tensor:
    """log [σ(b) - σ(a)] for the cell (a, b) of grey level x in standardised units.

    Computed as log σ(b) + log σ(-a) + log(1 - e^(a-b)), which is exact and loses nothing in the tails; the lowest
    and highest level take all mass below and above them (Salimans et al. 2017, section 2.1).
    """
    level = ops.cast(x, mean.dtype)
    inverse_scale = ops.exp(-log_scale)
    lower = (level / grey_levels - mean) * inverse_scale
    upper = ((level + 1.0) / grey_levels - mean) * inverse_scale
    below = ops.where(level < 0.5, 0.0, log_sigmoid(-lower))
    above = ops.where(level > grey_levels - 1.5, 0.0, log_sigmoid(upper))
    inside = ops.where(
        ops.logical_or(level < 0.5, level > grey_levels - 1.5),
        0.0,
        ops.log(one_minus_exp(inverse_scale / grey_levels)),
    )
    return below + above + inside


def _bounded(log_scale: Tensor) -> Tensor:
    """Within ±:data:`LARGEST_LOG_SCALE`; what is no number stays so."""
    bounded = ops.where(log_scale > LARGEST_LOG_SCALE, LARGEST_LOG_SCALE, log_scale)
    return ops.where(bounded < -LARGEST_LOG_SCALE, -LARGEST_LOG_SCALE, bounded)


def _discretised_logistic_quantile(u: Tensor, mean: Tensor, log_scale: Tensor, grey_levels: int) -> Tensor:
    """Grey level whose cell contains μ + s·logit(u), cells of the edges being open."""
    position = mean + ops.exp(log_scale) * (ops.log(u) - ops.log1p(-u))
    position = ops.where(ops.isnan(log_scale), log_scale, position)
    return as_grey_levels(position * grey_levels, grey_levels)


class DiscretisedLogistic(GreyLevelDistribution):
    """A logistic of location μ and scale s, integrated over each grey level's cell (Kingma et al. 2016).

    The grey level v is the cell [v/Q, (v+1)/Q) of the unit interval; ``mean`` and ``log_scale`` (..., h, w, c) are
    in units of that interval. Scales are bounded by e^±50: beyond, no probability changes that single precision can
    tell from 0, and gradients would overflow. Training does lead there: a scale without end puts half of the mass on
    the lowest level and half on the highest, which suits images in black and white.
    """

    def __init__(self, mean: Tensor, log_scale: Tensor, grey_levels: int) -> None:
        self.location = mean
        self.log_scale = _bounded(log_scale)
        self.grey_levels = grey_levels

    def log_prob(self, x: Tensor) -> Tensor:
        """Log of the logistic's mass in the cell of x."""
        return _discretised_logistic_log_prob(x, self.location, self.log_scale, self.grey_levels)

    def quantile(self, u: Tensor) -> Tensor:
        """Grey level of the logistic's quantile."""
        return _discretised_logistic_quantile(u, self.location, self.log_scale, self.grey_levels)

    def mean(self) -> Tensor:
        """Expected grey level: Σ over cell borders of the mass above them."""
        inverse_scale = ops.exp(-self.log_scale)[..., None]
        dtype, size = self.location.dtype, min(BORDERS_AT_ONCE, self.grey_levels - 1)

        def add(piece: Tensor, total: Tensor) -> Tensor:
            borders = ops.cast(piece * size, dtype) + ops.arange(1, size + 1, dtype=dtype)
            above = ops.sigmoid((self.location[..., None] - borders / self.grey_levels) * inverse_scale)
            # The last piece may reach beyond the last border.
            return total + sum_last(ops.where(borders < self.grey_levels, above, 0.0))

        pieces = math.ceil((self.grey_levels - 1) / size)
        return ops.fori_loop(0, pieces, add, ops.zeros_like(self.location))


class LogisticMixture(GreyLevelDistribution):
    """A mixture of discretised logistics (Salimans et al. 2017), each channel on its own.

    ``logits``, ``mean`` and ``log_scale`` (..., h, w, c, components), in the units of :class:`DiscretisedLogistic`.
    """

    def __init__(self, logits: Tensor, mean: Tensor, log_scale: Tensor, grey_levels: int) -> None:
        self.logits = logits
        self.components = DiscretisedLogistic(mean, log_scale, grey_levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """log Σ π_i P_i(x)."""
        log_weights = self.logits - log_sum_exp(self.logits)[..., None]
        return log_sum_exp(log_weights + self.components.log_prob(x[..., None]))

    def quantile(self, u: Tensor) -> Tensor:
        """The least grey level v with F(v) >= u, by bisection: F(v) = Σ π_i σ(((v + 1)/Q - μ_i)/s_i), F(Q - 1) = 1.

        A component's own quantile, the component being picked by u, would be a sample too, but no median at u = ½.
        """
        weights, parts = ops.softmax(self.logits, axis=-1), self.components
        inverse_scale = ops.exp(-parts.log_scale)

        def halve(_: Tensor, bracket: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            low, high = bracket  # the level that is sought is low at least, and below high
            middle = (low + high) // 2
            border = ops.cast(middle, parts.location.dtype)[..., None] / parts.grey_levels
            below = ops.sigmoid((border - parts.location) * inverse_scale)
            # F(middle - 1) < u: the weights' sum, which rounding keeps from 1, does not matter to the difference.
            is_higher = sum_last(weights * (below - u[..., None])) < 0.0
            return ops.where(is_higher, middle, low), ops.where(is_higher, high, middle)

        lowest = ops.zeros_like(u + parts.location[..., 0], dtype="int32")
        halvings = (parts.grey_levels - 1).bit_length()
        level, _ = ops.fori_loop(0, halvings, halve, (lowest, lowest + parts.grey_levels))
        is_number = ops.isfinite(ops.sum(parts.location + parts.log_scale, axis=-1))
        return ops.where(ops.logical_and(is_number, ops.logical_not(_no_probabilities(self.logits))), level, BROKEN)

    def mean(self) -> Tensor:
        """Σ π_i E_i[x]."""
        return ops.sum(ops.softmax(self.logits, axis=-1) * self.components.mean(), axis=-1)
