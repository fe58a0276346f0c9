"""What a trained VAE does with its latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run, by_batch, latents_table, mean_of
from models.base.distributions import Tensor
from models.vae.gradient_estimators import log_ratio

VAE = Any
"""The model, which knows this module."""


def diagnose(model: VAE, images: Array, seed: int, run: Run) -> Diagnosis:
    """KL in nats, of each latent too, and Burda et al.'s active units: Var_x(E_q(z|x)[z_j]) > 0.01.

    To another prior than N(0, I) the KL is estimated by one sample of each posterior, and a latent has none of its own:
    NaN.

    Args:
        model: the model.
        images: integer images (n, h, w, c), held out.
        seed: of the samples.
        run: see :meth:`models.base.likelihood_model.LikelihoodModel.diagnose`.
    """
    moments = by_batch(run, posterior_moments, images)
    mean, kl = moments[..., 0], moments[..., 1]  # (n, latent_size)
    of_image = kl.sum(axis=1)
    if model.configuration.prior != "standard":
        noise = np.random.default_rng(seed).standard_normal(mean.shape, dtype=np.float32)
        of_image = by_batch(run, sampled_kl, images, noise)
        kl = np.full_like(kl, np.nan)
    latents = latents_table(mean, kl)
    active = latents["active"]
    return Diagnosis(
        numbers={
            "kl_nats": mean_of(of_image),
            "active_units": Number(float(active.sum()), None, len(images)),
            "collapsed_share": Number(float(1 - active.mean()), None, len(images)),
        },
        tables={"latents": latents},
    )


def posterior_moments(model: VAE, images: Tensor) -> Tensor:
    """Mean of q(z | x) and its KL to N(0, 1), by latent: (n, latent_size, 2)."""
    posterior = model.posterior(images)
    return ops.stack([posterior.mean, posterior.kl_to_standard()], axis=-1)


def sampled_kl(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    """log q(z | x) - log p(z) at z = μ(x) + σ(x)·ε, (n,), for noise (n, latent_size): on average the KL."""
    posterior = model.posterior(images)
    return -log_ratio(model.prior(), posterior, posterior.sample(noise[None]))[0]
