"""The VAE's observation distributions: from a decoder's outputs to p(x | z), and their start from the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats
from keras import ops

from models.configs import Observation
from models.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    GreyLevelDistribution,
    LogisticMixture,
    Tensor,
)

Array = npt.NDArray[Any]


def observation(kind: Observation, outputs: Tensor, grey_levels: int) -> GreyLevelDistribution:
    """p(x | z) from decoder outputs (..., h, w, c, parameters)."""
    if kind == "bernoulli":
        return Bernoulli(outputs[..., 0])
    if kind == "categorical":
        return Categorical(outputs)
    if kind == "discretised_logistic":
        return DiscretisedLogistic(outputs[..., 0], outputs[..., 1], grey_levels)
    logits, means, log_scales = ops.split(outputs, 3, axis=-1)
    return LogisticMixture(logits, means, log_scales, grey_levels)


def initial_bias(kind: Observation, images: Array, grey_levels: int, components: int) -> Array:
    """Decoder bias (h, w, c, parameters) that gives each pixel its own distribution over the training ``images``.

    A model that starts from the data's marginals spends no epochs on learning them. Frequencies are smoothed by one
    pseudo-count per grey level, so that no probability begins at 0.
    """
    n = len(images)
    if kind == "bernoulli":
        on = (images.sum(axis=0) + 1.0) / (n + 2.0)
        return np.asarray(np.log(on) - np.log1p(-on))[..., None]
    if kind == "categorical":
        counts = np.stack([(images == level).sum(axis=0) for level in range(grey_levels)], axis=-1)
        return np.asarray(np.log((counts + 1.0) / (n + grey_levels)))
    positions = (images + 0.5) / grey_levels
    mean = positions.mean(axis=0)
    # A logistic of scale s has standard deviation sπ/√3; half a grey level keeps constant pixels from s = 0.
    deviation = np.maximum(positions.std(axis=0), 0.5 / grey_levels)
    log_scale = np.log(deviation * math.sqrt(3) / math.pi)
    if kind == "discretised_logistic":
        return np.stack([mean, log_scale], axis=-1)
    quantiles = scipy.stats.norm.ppf((np.arange(components) + 0.5) / components)
    means = mean[..., None] + deviation[..., None] * quantiles
    log_scales = np.repeat(log_scale[..., None] - 0.5 * math.log(components), components, axis=-1)
    return np.concatenate([np.zeros_like(means), means, log_scales], axis=-1)
