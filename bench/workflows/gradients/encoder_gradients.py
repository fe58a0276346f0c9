"""Gradient estimators in the VAE itself: variance and signal-to-noise of the encoder's gradient at trained weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from keras import ops

from bench.core.seeds import derive_seed
from bench.data.dataset import Images
from bench.runtime.autodiff import gradient_program
from bench.workflows.gradients.jackknife import Estimate, jackknife
from models.vae.config import VAEConfig
from models.vae.model import VAE

Array = npt.NDArray[np.float64]

BLOCKS = 16


@dataclass(frozen=True)
class GradientNoise:
    """Variance and signal-to-noise of one estimator's gradient, each with its standard error.

    With g the gradient of the batch's mean bound (nats per image) with respect to all of the encoder's weights, over
    draws of the noise, the batch being the same:

        variance = tr Cov g        (their sum over the weights)
        snr = ‖E g‖ / √(tr Cov g)  (|mean| / standard deviation of Rainforth et al. 2018, eq. 4, with norms for weights)
    """

    variance: Estimate
    snr: Estimate


def with_estimator(model: VAE, estimator: str, samples: int) -> VAE:
    """A VAE with the same weights and another gradient estimator.

    Raises:
        pydantic.ValidationError: the estimator does not fit so many samples.
    """
    changes = {"gradient_estimator": estimator, "training_samples": samples, "beta": 1.0}
    config = VAEConfig.model_validate({**model.configuration.model_dump(), **changes})
    other = VAE(config, model.image_shape, model.grey_levels)
    for variable, value in zip(other.weights, model.weights, strict=True):
        variable.assign(value)
    return other


def encoder_gradients(model: VAE, images: Images, draws: int, seed: int) -> Array:
    """``draws`` gradients of the mean bound (nats per image) with respect to all encoder weights, one per row."""
    program = gradient_program(
        lambda images, noise: ops.mean(model.objective(images, noise, None, training=False)["objective"]),
        model.encoder.trainable_variables,
    )
    rng = np.random.Generator(np.random.Philox(key=derive_seed(seed, "gradient noise")))
    shape = (model.training_samples, len(images), *model.posterior_noise_shape)
    rows = []
    for _ in range(draws):
        found = program(images, rng.standard_normal(shape, dtype=np.float32))
        rows.append(np.concatenate([part.ravel() for part in found]))
    return np.stack(rows).astype(np.float64)


def gradient_noise(gradients: Array) -> GradientNoise:
    """Variance and SNR of independent gradients (draws, weights); draws beyond a multiple of 16 are ignored.

    ‖mean‖² is biased by tr Cov / draws, which is subtracted before its root; the SNR is 0 if the rest is negative.

    Raises:
        ValueError: there are fewer than 32 gradients.
    """
    size = len(gradients) // BLOCKS
    if size < 2:
        raise ValueError(f"needs at least {2 * BLOCKS} gradients, got {len(gradients)}")
    blocks = gradients[: size * BLOCKS].reshape(BLOCKS, size, -1)
    squares = np.einsum("bnp,bnp->b", blocks, blocks) / size
    moments = np.concatenate([blocks.mean(axis=1), squares[:, None]], axis=1)

    def statistics(mean: Array) -> Array:
        n = size * BLOCKS
        length = float(mean[:-1] @ mean[:-1])
        variance = (mean[-1] - length) * n / (n - 1)
        signal = max(0.0, length - variance / n)
        # An estimator without any variance has no finite SNR.
        return np.array([variance, np.sqrt(signal / variance) if variance > 0 else np.inf])

    # Where the SNR is infinite its error is not a number.
    with np.errstate(invalid="ignore"):
        both = jackknife(statistics, moments)
    variance, snr = (Estimate(both.value[i], both.standard_error[i]) for i in range(2))
    return GradientNoise(variance, snr)
