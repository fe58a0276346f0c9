"""Errors of means over windows that resemble their neighbours."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bench.core.blocks import BLOCKS, independent


def correlated(rng: np.random.Generator, n: int, correlation: float) -> np.ndarray:
    """A stationary autoregressive sequence of variance 1 (n,)."""
    noise = rng.standard_normal(n) * np.sqrt(1 - correlation**2)
    noise[0] = rng.standard_normal()
    for i in range(1, n):
        noise[i] += correlation * noise[i - 1]
    return noise


def covers(values: np.ndarray) -> bool:
    """Whether Student's 95 % interval of the mean holds 0."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return bool(abs(values.mean()) <= half)


def test_values_of_images_and_of_few_windows_stay_as_they_are() -> None:
    values = np.arange(2.0 * BLOCKS)
    assert independent(values, "image") is values
    assert independent(values[:-1], "text") is not None
    assert len(independent(values[:-1], "text")) == 2 * BLOCKS - 1
    assert independent(values, "audio").tolist() == [0.5 + 2 * i for i in range(BLOCKS)]


def test_intervals_over_blocks_hold_the_mean_of_windows_that_resemble_each_other_and_those_over_windows_do_not() -> (
    None
):
    rng = np.random.default_rng(0)
    sequences = [correlated(rng, 1200, 0.8) for _ in range(400)]
    by_windows, by_blocks = (
        np.mean([covers(independent(each, kind)) for each in sequences]) for kind in ("image", "text")
    )
    assert by_windows < 0.6
    assert 0.9 < by_blocks < 0.98
