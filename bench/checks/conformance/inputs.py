"""Images and noise that models are checked on, and how log-weights are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.checks.conformance.outcome import FailedError

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

Array = npt.NDArray[Any]
IMAGES = 8
"""Images of most checks."""


def images_of(model: LikelihoodModel, n: int, seed: int = 0) -> Array:
    """Random integer images (n, h, w, c) that are bright above or below and dark elsewhere, with some noise."""
    generator = np.random.default_rng(seed)
    height, shape = model.image_shape[0], (n, *model.image_shape)
    above = np.arange(height)[:, None, None] < height / 2
    bright = above ^ (generator.uniform(size=(n, 1, 1, 1)) < 0.5) ^ (generator.uniform(size=shape) < 0.05)
    noisy = generator.integers(0, model.grey_levels, size=shape)
    values = np.where(generator.uniform(size=shape) < 0.1, noisy, bright * (model.grey_levels - 1))
    return values.astype("uint8" if model.grey_levels <= 256 else "uint16")


def posterior_noise(model: LikelihoodModel, n: int, k: int, seed: int = 0) -> Array:
    """Standard normal noise for k log-weights of n images (n, k, …)."""
    shape = (n, k, *model.posterior_noise_shape)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def prior_noise(model: LikelihoodModel, n: int, seed: int = 0) -> Array:
    """Standard normal noise for n samples (n, prior_noise_size)."""
    return np.random.default_rng(seed).standard_normal((n, model.prior_noise_size), dtype=np.float32)


def as_array(tensor: Any) -> Array:
    """A tensor of Keras as an array."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def check_close(found: Array, expected: Array, reason: str) -> None:
    """Raise FailedError, with the largest difference, if log-weights differ by more than rounding."""
    difference = np.abs(found.astype(np.float64) - expected)
    allowed = 1e-3 + 1e-4 * np.abs(expected)
    if not (difference <= allowed).all():
        raise FailedError(f"{reason}, by up to {np.max(difference):.3g} nats")
