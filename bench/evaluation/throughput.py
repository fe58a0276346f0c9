"""Measures speed: images per second and latencies, after a warm-up, in several windows."""

from __future__ import annotations

import time

import keras
import numpy as np
import numpy.typing as npt

from bench.core.results import Measurement
from bench.evaluation.sampling import Sampler
from bench.runtime.backend import device

WINDOWS = 5
WINDOW_SECONDS = 0.1
LATENCIES = 100
"""Number of single images whose latency is measured."""
LATENCY_SECONDS = 2.0
"""Time limit of measuring latencies, once there are :data:`FEWEST_LATENCIES`."""
FEWEST_LATENCIES = 20
PERCENTILES = (50, 95, 99)

Rates = npt.NDArray[np.float64]


def conditions(batch_size: int) -> str:
    """The conditions of a speed: batch size, precision, backend and device."""
    return f"batch {batch_size}, {keras.config.floatx()}, {keras.backend.backend()} on {device()}"


def speed(metric: str, rates: Rates, batch_size: int) -> Measurement:
    """The median of ``rates``, images or log-weights per second, with its standard error."""
    return Measurement("throughput", metric, *_median(rates), len(rates), conditions=conditions(batch_size))


def _median(values: Rates) -> tuple[float, float | None]:
    n = len(values)
    # The median of normal observations varies √(π/2) times as much as their mean.
    error = float(np.std(values, ddof=1) / np.sqrt(n) * np.sqrt(np.pi / 2)) if n > 1 else None
    return float(np.median(values)), error


def sampling_speed(sampler: Sampler) -> tuple[Measurement, float]:
    """Images sampled per second at the sampler's batch size, and the seconds of compiling its program.

    These are what the run's first batch took beyond a warm one, whenever it was drawn. Each call draws noise, computes,
    and copies the images to the host, which waits for the device.
    """
    _seconds(sampler, 1, 0)
    again = _seconds(sampler, 1, 0)
    batches = max(1, round(WINDOW_SECONDS / again))
    rates = [batches * sampler.batch_size / _seconds(sampler, batches, window) for window in range(WINDOWS)]
    measured = speed("sample_images_per_second", np.asarray(rates), sampler.batch_size)
    return measured, max(0.0, sampler.take_first_seconds() - again)


def sampling_latency(single: Sampler) -> list[Measurement]:
    """Percentiles of the time from requesting one image to having it on the host.

    Args:
        single: a sampler whose batch size is 1.
    """
    _seconds(single, 1, 0)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < LATENCIES:
        seconds.append(_seconds(single, 1, len(seconds)))
        if len(seconds) >= FEWEST_LATENCIES and time.perf_counter() - began > LATENCY_SECONDS:
            break
    times = np.asarray(seconds)
    stated = conditions(single.batch_size)
    rows = []
    for percentile in PERCENTILES:
        value, error = _median(times) if percentile == 50 else (float(np.percentile(times, percentile)), None)
        metric = f"sample_latency_p{percentile}_seconds"
        rows.append(Measurement("throughput", metric, value, error, len(times), conditions=stated))
    return rows


def _seconds(sampler: Sampler, batches: int, seed: int) -> float:
    began = time.perf_counter()
    sampler.draw(batches * sampler.batch_size, 1.0, seed)
    return time.perf_counter() - began
