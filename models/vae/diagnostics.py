"""What a trained VAE does with its latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run, mean_of
from models.base.distributions import Tensor

VAE = Any
"""The model, which knows this module."""
ACTIVE_VARIANCE = 0.01
"""Of a latent's posterior mean over images, above which it counts as active (Burda et al. 2016, section 5)."""
IMAGES_PER_BATCH = 256


def diagnose(model: VAE, images: Array, run: Run) -> Diagnosis:
    """KL of each latent in nats, and Burda et al.'s active units: Var_x(E_q(z|x)[z_j]) > 0.01.

    Args:
        model: the model.
        images: integer images (n, h, w, c), held out.
        run: see :meth:`models.base.likelihood_model.LikelihoodModel.diagnose`.
    """
    batches = [images[i : i + IMAGES_PER_BATCH] for i in range(0, len(images), IMAGES_PER_BATCH)]
    moments = np.concatenate([run(posterior_moments, batch) for batch in batches]).astype(np.float64)
    mean, kl = moments[..., 0], moments[..., 1]  # (n, latent_size)
    variance = mean.var(axis=0, ddof=1) if len(images) > 1 else np.zeros(mean.shape[1])
    active = variance > ACTIVE_VARIANCE
    return Diagnosis(
        numbers={
            "kl_nats": mean_of(kl.sum(axis=1)),
            "active_units": Number(float(active.sum()), None, len(images)),
            "collapsed_share": Number(float(1 - active.mean()), None, len(images)),
        },
        tables={
            "latents": {
                "latent": np.arange(len(active)),
                "kl_nats": kl.mean(axis=0),
                "variance_of_mean": variance,
                "active": active,
            }
        },
    )


def posterior_moments(model: VAE, images: Tensor) -> Tensor:
    """Mean of q(z | x) and its KL to the prior, by latent: (n, latent_size, 2)."""
    posterior = model.posterior(images)
    return ops.stack([posterior.mean, posterior.kl_to_standard()], axis=-1)
