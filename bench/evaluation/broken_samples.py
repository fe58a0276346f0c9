"""Samples that are no images: which they are, and what stands for them where images are needed.

A model gives -1 (:data:`models.base.distributions.BROKEN`) where a sampled value is NaN or infinite; whatever else is
no grey level counts as such a value too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.core.results import Measurement
from bench.data.dataset import Images

_SEED = 2017


def broken(images: npt.NDArray[np.generic], grey_levels: int) -> npt.NDArray[np.bool_]:
    """Which images (n,) hold a value that rounds to no grey level 0..Q-1, or is no number."""
    values = np.asarray(images)
    whole = (values >= -0.5) & (values <= grey_levels - 0.5)
    return np.asarray(~whole.reshape(len(values), -1).all(axis=1))


def with_noise_for_broken(samples: Images, grey_levels: int) -> Images:
    """The samples, each broken one replaced by an image of uniformly random grey levels, always the same ones.

    It is far from any data: left out, or black, a sample that broke might better a score.
    """
    lost = broken(samples, grey_levels)
    noise = np.random.default_rng(_SEED).integers(0, grey_levels, samples.shape, dtype=samples.dtype)
    return np.where(lost[:, None, None, None], noise, samples)


def share_of_broken(samples: Images, grey_levels: int) -> Measurement:
    """The metric ``non_finite_samples``."""
    n, share = len(samples), float(broken(samples, grey_levels).mean())
    error = math.sqrt(share * (1 - share) / n)
    return Measurement("quality", "non_finite_samples", share, error or None, n)
