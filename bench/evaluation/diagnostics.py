"""Diagnostics: what a trained VAE does with its latents, and whether a Glow is still invertible in its precision."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from bench.core.results import TABLES, Measurement
from bench.data.dataset import Images
from bench.runtime.compiled import CompiledMethod
from models.base.distributions import Tensor
from models.base.likelihood_model import LikelihoodModel
from models.glow.model import Glow
from models.vae.model import VAE

Array = npt.NDArray[np.float64]

ACTIVE_VARIANCE = 0.01
"""Of a latent's posterior mean over images, above which it counts as active (Burda et al. 2016, section 5)."""
IMAGES_PER_BATCH = 256
SAMPLES = 256
"""Drawn to see how many of their values lie outside the range of the data."""


class Diagnostics:
    """The diagnostics of a model, whose weights may change between two calls: its programs are kept.

    Args:
        model: the model.
    """

    def __init__(self, model: LikelihoodModel) -> None:
        self.model = model

    def measure(self, images: Images, seed: int) -> tuple[list[Measurement], dict[str, pd.DataFrame]]:
        """The family's diagnostics on held-out images: numbers, and tables of the result schema by name."""
        if isinstance(self.model, VAE):
            return self._vae(images)
        if isinstance(self.model, Glow):
            return self._glow(self.model, images, seed)
        return [], {}

    @cached_property
    def _posterior(self) -> CompiledMethod:
        return CompiledMethod(self.model, _posterior_moments, use="seldom")

    @cached_property
    def _round_trip(self) -> CompiledMethod:
        return CompiledMethod(self.model, _round_trip_error, use="seldom")

    @cached_property
    def _outside(self) -> CompiledMethod:
        return CompiledMethod(self.model, _outside_share, use="seldom")

    def _vae(self, images: Images) -> tuple[list[Measurement], dict[str, pd.DataFrame]]:
        """KL of each latent, and Burda et al.'s active units: Var_x(E_q(z|x)[z_j]) > 0.01."""
        batches = [images[i : i + IMAGES_PER_BATCH] for i in range(0, len(images), IMAGES_PER_BATCH)]
        moments = np.concatenate([self._posterior.run(batch) for batch in batches]).astype(np.float64)
        mean, kl = moments[..., 0], moments[..., 1]  # (n, latent_size)
        variance = mean.var(axis=0, ddof=1) if len(images) > 1 else np.zeros(mean.shape[1])
        active = variance > ACTIVE_VARIANCE
        columns = (np.arange(len(active)), kl.mean(axis=0), variance, active)
        table = pd.DataFrame(dict(zip(TABLES["latents"], columns, strict=True)))
        total = kl.sum(axis=1)
        error = float(total.std(ddof=1) / np.sqrt(len(total))) if len(total) > 1 else None
        measurements = [
            Measurement("diagnostics", "kl_nats", float(total.mean()), error, len(total)),
            Measurement("diagnostics", "active_units", float(active.sum()), None, len(total)),
            Measurement("diagnostics", "collapsed_share", float(1 - active.mean()), None, len(total)),
        ]
        return measurements, {"latents": table}

    def _glow(self, model: Glow, images: Images, seed: int) -> tuple[list[Measurement], dict[str, pd.DataFrame]]:
        """Round trip of dequantised images, what it samples outside the cube, and the condition of its convolutions."""
        some, rng = images[:IMAGES_PER_BATCH], np.random.default_rng(seed)
        worst = float(np.max(self._round_trip.run(some, rng.standard_normal(some.shape, dtype=np.float32))))
        prior_noise = rng.standard_normal((SAMPLES, model.prior_noise_size), dtype=np.float32)
        outside = self._outside.run(prior_noise).astype(np.float64)
        error = float(outside.std(ddof=1) / np.sqrt(SAMPLES))
        table = convolutions(model)
        measurements = [
            Measurement("diagnostics", "outside_share", float(outside.mean()), error, SAMPLES),
            Measurement("diagnostics", "round_trip_error", worst, None, len(some)),
            Measurement("diagnostics", "condition_number", float(table["condition_number"].max()), None, len(table)),
        ]
        return measurements, {"convolutions": table}


def convolutions(model: Glow) -> pd.DataFrame:
    """Condition number σ_max/σ_min and log |det W| of each 1x1 convolution: ``convolutions`` of the result schema."""
    rows = []
    for level, chain in enumerate(model.chains):
        matrices = np.asarray(ops.convert_to_numpy(chain.bijections[-1].convolutions()), dtype=np.float64)
        for step, matrix in enumerate(matrices):
            log_abs_det = float(np.linalg.slogdet(matrix)[1])
            rows.append((level, step, len(matrix), float(np.linalg.cond(matrix)), log_abs_det))
    return pd.DataFrame(rows, columns=TABLES["convolutions"])


def _posterior_moments(model: VAE, images: Tensor) -> Tensor:
    """Mean of q(z | x) and its KL to the prior, by latent: (n, latent_size, 2)."""
    posterior = model.posterior(images)
    return ops.stack([posterior.mean, posterior.kl_to_standard()], axis=-1)


def _outside_share(model: Glow, noise: Tensor) -> Tensor:
    """Share of the values of each sample that lie outside the cube, or are no numbers (n,)."""
    v = model.continuous(noise)
    inside = ops.logical_and(v >= 0.0, v <= 1.0)
    return 1.0 - ops.mean(ops.cast(inside, v.dtype), axis=(1, 2, 3))


def _round_trip_error(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    """max |f⁻¹(f(v)) - v| of each dequantised image, in grey levels (n,)."""
    v, _ = model.dequantise(images, noise)
    latents, _ = model.encode(v)
    return ops.max(ops.abs(model.decode(latents) - v), axis=(1, 2, 3)) * model.grey_levels
