"""What a trained ladder VAE does with its layers of latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run, by_batch, latents_table, mean_of
from models.base.distributions import Tensor

LadderVAE = Any
"""The model, which knows this module."""


def diagnose(model: LadderVAE, images: Array, seed: int, run: Run) -> Diagnosis:
    """KL of each latent in nats and whether it is active, and both by layer.

    The latents above are drawn from the posterior, once for each image. The mean whose variance is taken is that of
    u = (z - μ_p)/σ_p, how far the image moves the posterior from the prior: a latent that only follows those above it
    is not active. The share of collapsed latents is left out, as at most positions of a fine layer there is nothing
    left to say.

    Args:
        model: the model.
        images: integer images (n, h, w, c), held out.
        seed: of the draws.
        run: see :meth:`models.base.likelihood_model.LikelihoodModel.diagnose`.
    """
    noise = np.random.default_rng(seed).standard_normal((len(images), model.latents), dtype=np.float32)
    moments = by_batch(run, posterior_moments, images, noise)
    mean, kl = moments[..., 0], moments[..., 1]  # (n, latents)
    latents = latents_table(mean, kl)
    active = latents["active"]
    sizes = model.top_down.sizes
    starts = np.cumsum([0, *sizes[:-1]])
    return Diagnosis(
        numbers={
            "kl_nats": mean_of(kl.sum(axis=1)),
            "active_units": Number(float(active.sum()), None, len(images)),
        },
        tables={
            "latents": latents,
            "latent_layers": {
                "layer": np.arange(len(sizes)),
                "latents": np.array(sizes),
                "kl_nats": np.add.reduceat(kl.mean(axis=0), starts),
                "active_units": np.add.reduceat(active.astype(int), starts),
            },
        },
    )


def posterior_moments(model: LadderVAE, images: Tensor, noise: Tensor) -> Tensor:
    """Mean of each latent's q(u | x, z_>l) and its KL to the prior, from noise (n, latents): (n, latents, 2)."""
    posteriors = model.infer(images, noise[None]).posteriors
    by_layer = [
        ops.reshape(ops.stack([each.mean, each.kl_to_standard()], axis=-1), (-1, size, 2))
        for each, size in zip(posteriors, model.top_down.sizes, strict=True)
    ]
    return ops.concatenate(by_layer, axis=1)
