"""Peak memory of this process, on the host and on the device."""

from __future__ import annotations

import resource
import sys

import keras
import psutil

from bench.runtime.backend import device


def host_bytes() -> int:
    """Resident set of the process."""
    return int(psutil.Process().memory_info().rss)


def peak_host_bytes() -> int:
    """Largest resident set of the process so far."""
    # ru_maxrss counts kilobytes on Linux and bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_bytes() -> int | None:
    """Largest memory in use on the accelerator so far; None on a processor, whose memory is the host's."""
    kind, _, number = device().partition(":")
    if kind == "cpu":
        return None
    if keras.backend.backend() == "jax":
        import jax

        statistics = jax.devices()[int(number)].memory_stats()
        return None if statistics is None else int(statistics["peak_bytes_in_use"])
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info(f"{kind.upper()}:{number}")["peak"])
