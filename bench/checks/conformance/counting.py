"""Probabilities of all images that there are."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.checks.conformance.inputs import Array, posterior_noise

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

ROWS = 2**18
"""Log-weights that estimate the probabilities of all images together, at least 4 and at most 256 each."""


@dataclass(frozen=True)
class Probabilities:
    """Estimated probabilities of all images, the mean of k weights each, with their standard errors (m,)."""

    images: Array
    values: Array
    errors: Array

    @property
    def total(self) -> float:
        """Their sum."""
        return float(self.values.sum())

    @property
    def error(self) -> float:
        """Standard error of the sum."""
        return float(np.sqrt(np.square(self.errors).sum()))


def estimate_probabilities(model: LikelihoodModel) -> Probabilities:
    """The probabilities of all images of a model whose images can be counted."""
    from bench.evaluation.likelihood import likelihood_program

    values = itertools.product(range(model.grey_levels), repeat=model.dimensions)
    images = np.array(list(values), np.uint8).reshape(-1, *model.image_shape)
    k = 1 if model.is_exact else min(256, max(4, ROWS // len(images)))
    batch = min(len(images), 4096)
    program, parts = likelihood_program(model), []
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        filled = np.concatenate([some, np.repeat(some[:1], batch - len(some), axis=0)])
        parts.append(program.run(filled, posterior_noise(model, batch, k, start))[: len(some)].astype(np.float64))
    weights = np.exp(np.concatenate(parts))
    errors = weights.std(axis=1, ddof=1) / math.sqrt(k) if k > 1 else np.zeros(len(images))
    return Probabilities(images, weights.mean(axis=1), errors)
