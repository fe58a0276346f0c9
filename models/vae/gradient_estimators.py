"""Estimators of the gradient of a bound, each written as a surrogate whose automatic gradient it is.

Notation: φ are the encoder's weights, θ the decoder's; z_i = μ(x) + σ(x)·ε_i ~ q_φ(z | x) for i = 1..k;
w_i = p_θ(x, z_i) / q_φ(z_i | x); w̃_i = w_i / Σ_j w_j; ⊥ stands for ``stop_gradient``: the value, without its gradient.

All of them give θ the same gradient from the same noise, ∇_θ log p(x | z) or Σ w̃_i ∇_θ log p(x | z_i). They differ
in φ, which the distribution that is averaged over depends on: that is what the reparameterisation trick is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from models.base.distributions import DiagonalGaussian, Tensor, log_mean_exp, sum_event
from models.vae.priors import Prior


class Joint(NamedTuple):
    """p(x, z) = p(x | z) p(z): log p(x | z) in nats as a function of z (k, n, latent_size), (k, n), and the prior.

    A prior may have weights, φ among them: they are treated as θ is, but for what depends on them through z.
    """

    log_likelihood: Callable[[Tensor], Tensor]
    prior: Prior


Estimator = Callable[[DiagonalGaussian, Tensor, Joint], tuple[Tensor, Tensor, Tensor]]
"""From q(z | x), noise (k, n, latent_size) and p(x, z) to the surrogate, the bound's own value, and the KL, (n,)."""


def with_value(value: Tensor, surrogate: Tensor) -> Tensor:
    """A tensor with this value and the surrogate's gradient: a loss that can be read as well as followed."""
    return ops.stop_gradient(value) + (surrogate - ops.stop_gradient(surrogate))


def score_function(posterior: DiagonalGaussian, noise: Tensor, joint: Joint) -> tuple[Tensor, Tensor, Tensor]:
    """∇_φ E_q[log p(x | z)] ≈ log p(x | z)·∇_φ log q_φ(z | x), without a gradient through z (Williams 1992).

    It is the pathwise estimator of the ELBO but for that one term: the KL keeps its closed form, so that the two
    differ in how they treat the expectation and in nothing else. Takes k = 1 and a standard normal prior.
    """
    return _score_function(posterior, noise, joint, baseline=False)


def score_function_with_baseline(
    posterior: DiagonalGaussian, noise: Tensor, joint: Joint
) -> tuple[Tensor, Tensor, Tensor]:
    """(log p(x | z) - b)·∇_φ log q_φ(z | x), b being the mean of log p over the *other* images of the batch.

    Their noise is independent of this image's, and E_q[∇ log q] = 0: whatever b is, the estimator stays unbiased
    (leave-one-out as in Kool et al. 2019, there over samples of one image). A batch of one image has b = 0.
    """
    return _score_function(posterior, noise, joint, baseline=True)


def _score_function(
    posterior: DiagonalGaussian, noise: Tensor, joint: Joint, baseline: bool
) -> tuple[Tensor, Tensor, Tensor]:
    z = ops.stop_gradient(posterior.sample(noise))
    reconstruction = joint.log_likelihood(z)[0]  # (n,)
    reward = ops.stop_gradient(reconstruction)
    if baseline:
        others = ops.cast(ops.maximum(ops.shape(reward)[0] - 1, 1), reward.dtype)
        reward = reward - (ops.sum(reward) - reward) / others
    log_q = sum_event(posterior.log_prob(z), batch_axes=2)[0]
    kl = sum_event(posterior.kl_to_standard())
    return reconstruction + reward * log_q - kl, reconstruction - kl, kl


def sticking_the_landing(posterior: DiagonalGaussian, noise: Tensor, joint: Joint) -> tuple[Tensor, Tensor, Tensor]:
    """∇_z [log p(x, z) - log q_⊥φ(z | x)]·∂z/∂φ: the path alone, without the score of q (Roeder et al. 2017, eq. 8).

    The score has mean 0, so that leaving it out costs no bias; and where q is the exact posterior, log w is
    the same for every z: the estimator is 0 for every draw. Takes k = 1.
    """
    z = posterior.sample(noise)
    reconstruction = joint.log_likelihood(z)
    ratio = log_ratio(joint.prior, _frozen(posterior), z)  # (1, n)
    kl = joint.prior.kl(posterior, ratio)
    return (reconstruction + ratio)[0], reconstruction[0] - kl, kl


def doubly_reparameterised(posterior: DiagonalGaussian, noise: Tensor, joint: Joint) -> tuple[Tensor, Tensor, Tensor]:
    """∇_φ: Σ w̃_i² ∂log w_i/∂z_i·∂z_i/∂φ; ∇_θ: Σ w̃_i ∇_θ log w_i, as in the IWAE (Tucker et al. 2019, eq. 8).

    One surrogate gives both: it weighs log w_i by ⊥w̃_i, and lets only the share w̃_i of the gradient through z_i.
    The weights must be known before they can scale that gradient: the decoder is run twice. At k = 1 the encoder's
    gradient is that of :func:`sticking_the_landing`.
    """
    frozen = _frozen(posterior)
    z = posterior.sample(noise)
    value = ops.stop_gradient(z)
    reconstruction = ops.stop_gradient(joint.log_likelihood(value))
    ratio = ops.stop_gradient(log_ratio(joint.prior, frozen, value))
    log_weights = reconstruction + ratio  # (k, n)
    weights = ops.exp(log_weights - ops.logsumexp(log_weights, axis=0, keepdims=True))
    scaled = value + weights[..., None] * (z - value)  # z, with w̃ of its gradient
    log_joint = joint.log_likelihood(scaled) + log_ratio(joint.prior, frozen, scaled)
    surrogate = ops.sum(weights * log_joint, axis=0)
    kl = joint.prior.kl(posterior, ratio)
    bound = reconstruction[0] - kl if noise.shape[0] == 1 else log_mean_exp(log_weights)
    return surrogate, bound, kl


def _frozen(posterior: DiagonalGaussian) -> DiagonalGaussian:
    return DiagonalGaussian(ops.stop_gradient(posterior.mean), ops.stop_gradient(posterior.log_scale))


def log_ratio(prior: Prior, posterior: DiagonalGaussian, z: Tensor) -> Tensor:
    """log p(z) - log q(z | x) of z (k, n, latent_size): (k, n)."""
    return prior.log_prob(z) - sum_event(posterior.log_prob(z), batch_axes=2)


ESTIMATORS: dict[str, Estimator] = {
    "score_function": score_function,
    "score_function_baseline": score_function_with_baseline,
    "sticking_the_landing": sticking_the_landing,
    "doubly_reparameterised": doubly_reparameterised,
}
"""The estimators by the names of ``VAEConfig.gradient_estimator``, but for ``pathwise``: that is what automatic
differentiation makes of the bound itself."""
