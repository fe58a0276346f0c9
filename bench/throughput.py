"""Speed: images per second, warm, in several windows."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from bench.results import Measurement
from bench.sampling import Sampler

WINDOWS = 5
WINDOW_SECONDS = 0.2


def speed(metric: str, rates: npt.NDArray[np.float64]) -> Measurement:
    """Median of ``rates`` (images per second) with the standard error of a median over them."""
    n = len(rates)
    # The median of normal observations varies √(π/2) times as much as their mean.
    error = float(np.std(rates, ddof=1) / np.sqrt(n) * np.sqrt(np.pi / 2)) if n > 1 else None
    return Measurement("throughput", metric, float(np.median(rates)), error, n)


def sampling_speed(sampler: Sampler) -> Measurement:
    """Images sampled per second at the sampler's batch size, compilation and warm-up excluded.

    Each call draws its noise, computes, and returns the images to the host, so that the device is done.
    """
    sampler.draw(sampler.batch_size, 1.0, 0)
    began = time.perf_counter()
    sampler.draw(sampler.batch_size, 1.0, 0)
    batches = max(1, round(WINDOW_SECONDS / (time.perf_counter() - began)))
    rates = []
    for window in range(WINDOWS):
        began = time.perf_counter()
        sampler.draw(batches * sampler.batch_size, 1.0, window)
        rates.append(batches * sampler.batch_size / (time.perf_counter() - began))
    return speed("sample_images_per_second", np.asarray(rates))
