"""Floating-point operations: of a model, from its configuration; of the device per second, measured."""

from __future__ import annotations

import time
from functools import lru_cache

import keras
from keras import ops

from models.base.likelihood_model import LikelihoodModel

LARGEST_PRODUCT = 8192
LONG_ENOUGH = 0.02
"""Seconds that one matrix product must take to be timed."""


def operations_per_image(model: LikelihoodModel) -> float | None:
    """Floating-point operations of one log-weight of one image: two per multiply-add of a product or convolution.

    Elementwise work, such as activations and densities, is left out: it costs time, but few operations. None if the
    model does not state its size.
    """
    size = model.configuration.size(model.image_shape, model.grey_levels)
    return None if size is None else 2.0 * size.multiplications


@lru_cache(maxsize=1)
def peak_operations_per_second() -> float:
    """Operations per second of a large matrix product, measured once on this device, backend and precision.

    The fastest of five; the matrices grow until one product takes long enough to be timed.
    """
    size = 1024
    while True:
        seconds = _product_seconds(size)
        if seconds >= LONG_ENOUGH or size >= LARGEST_PRODUCT:
            return 2.0 * size**3 / seconds
        size *= 2


def _product_seconds(size: int) -> float:
    matrix = ops.ones((size, size), dtype=keras.config.floatx())
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        # Copying one number to the host waits for the device.
        float(ops.convert_to_numpy(ops.matmul(matrix, matrix)[0, 0]))
        best = min(best, time.perf_counter() - began)
    return best
