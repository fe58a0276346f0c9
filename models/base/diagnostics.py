"""What a family finds out of a trained model beside its likelihood: numbers with their errors, and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ACTIVE_VARIANCE = 0.01
"""Of a latent's posterior mean over images, above which it counts as active (Burda et al. 2016, section 5)."""
IMAGES_PER_BATCH = 256

Array = npt.NDArray[Any]
Run = Callable[..., Array]
"""``run(method, *arrays)``: ``method(model, *arrays)``, compiled; an image is a row of the arrays and of the result."""


class Number(NamedTuple):
    """A value, its standard error if it is the mean of independent values, and of how many values it is."""

    value: float
    standard_error: float | None
    n: int


@dataclass(frozen=True)
class Diagnosis:
    """Of one model.

    Attributes:
        numbers: by the name of a registered metric.
        tables: by the name of a table of the result schema, its columns by name, in order.
    """

    numbers: dict[str, Number] = field(default_factory=dict)
    tables: dict[str, dict[str, Array]] = field(default_factory=dict)


def by_batch(run: Run, method: Callable[..., Any], *arrays: Array) -> Array:
    """``run(method, *arrays)`` in double precision, a batch of rows at a time."""
    parts = [
        run(method, *(array[i : i + IMAGES_PER_BATCH] for array in arrays))
        for i in range(0, len(arrays[0]), IMAGES_PER_BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)


def latents_table(mean: Array, kl: Array) -> dict[str, Array]:
    """The table ``latents`` from each latent's posterior mean and KL in nats by image, both (n, latents)."""
    variance = mean.var(axis=0, ddof=1) if len(mean) > 1 else np.zeros(mean.shape[1])
    return {
        "latent": np.arange(mean.shape[1]),
        "kl_nats": kl.mean(axis=0),
        "variance_of_mean": variance,
        "active": variance > ACTIVE_VARIANCE,
    }


def mean_of(values: Array) -> Number:
    """The mean of independent ``values`` (n,), with its standard error from two of them on."""
    n = len(values)
    return Number(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None, n)
