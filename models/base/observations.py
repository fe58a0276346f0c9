"""Distributions of a pixel by name: from a network's outputs to p(x | …), and their start from the data."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops
from scipy.special import ndtri

from models.base.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    GreyLevelDistribution,
    LogisticMixture,
    Tensor,
)
from models.base.pixels import Observation


def observation(kind: Observation, outputs: Tensor, grey_levels: int) -> GreyLevelDistribution:
    """p(x | …) from a network's outputs (..., h, w, c, parameters)."""
    if kind == "bernoulli":
        return Bernoulli(outputs[..., 0])
    if kind == "categorical":
        return Categorical(outputs)
    if kind == "discretised_logistic":
        return DiscretisedLogistic(outputs[..., 0], outputs[..., 1], grey_levels)
    logits, means, log_scales = ops.split(outputs, 3, axis=-1)
    return LogisticMixture(logits, means, log_scales, grey_levels)


def initial_bias(kind: Observation, images: Tensor, grey_levels: int, components: int) -> Tensor:
    """Output bias (h, w, c, parameters) that gives each pixel its own distribution over the training ``images``.

    A model that starts from the data's marginals spends no steps on learning them. Frequencies are smoothed by one
    pseudo-count per grey level, so that no probability begins at 0.
    """
    n = images.shape[0]
    images = ops.cast(images, keras.config.floatx())
    if kind == "bernoulli":
        on = (ops.sum(images, axis=0) + 1.0) / (n + 2.0)
        return (ops.log(on) - ops.log1p(-on))[..., None]
    if kind == "categorical":
        levels = [ops.sum(ops.cast(ops.equal(images, level), images.dtype), axis=0) for level in range(grey_levels)]
        return ops.log((ops.stack(levels, axis=-1) + 1.0) / (n + grey_levels))
    positions = (images + 0.5) / grey_levels
    mean = ops.mean(positions, axis=0)
    # A logistic of scale s has standard deviation sπ/√3; half a grey level keeps constant pixels from s = 0.
    deviation = ops.maximum(ops.std(positions, axis=0), 0.5 / grey_levels)
    log_scale = ops.log(deviation * (math.sqrt(3) / math.pi))
    if kind == "discretised_logistic":
        return ops.stack([mean, log_scale], axis=-1)
    quantiles = ndtri((np.arange(components) + 0.5) / components).astype(keras.config.floatx())
    means = mean[..., None] + deviation[..., None] * quantiles
    log_scales = ops.repeat((log_scale - 0.5 * math.log(components))[..., None], components, axis=-1)
    return ops.concatenate([ops.zeros_like(means), means, log_scales], axis=-1)
