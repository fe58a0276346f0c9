"""Floating-point operations: of a model, counted in its program, and of the device, measured."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

from models.likelihood_model import LikelihoodModel

BATCH = 8
"""Images for which operations are counted: what a program does once, whatever the batch, then weighs little."""
LARGEST_PRODUCT = 8192
LONG_ENOUGH = 0.02
"""Seconds that one matrix product must take to be timed."""


def operations_per_image(model: LikelihoodModel, samples: int = 1) -> float:
    """Floating-point operations of ``samples`` log-weights of one image; a multiply-add is two.

    JAX counts them in the lowered program (XLA's cost analysis), TensorFlow in the traced graph (its profiler, which
    knows products and convolutions and most elementwise operations).
    """
    images = np.zeros((BATCH, *model.image_shape), dtype=np.uint8 if model.grey_levels <= 256 else np.uint16)
    noise = np.zeros((samples, BATCH, *model.posterior_noise_shape), dtype=np.float32)
    count = _count_jax if keras.backend.backend() == "jax" else _count_tensorflow
    return count(model, images, noise) / BATCH


def _count_jax(model: LikelihoodModel, *arrays: np.ndarray[Any, Any]) -> float:
    import jax

    def log_weights(weights: list[Any], *arrays: Any) -> Any:
        mapping = list(zip(model.weights, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return model.log_weights(*arrays)

    lowered = jax.jit(log_weights).lower([weight.value for weight in model.weights], *arrays)
    return float(lowered.cost_analysis()["flops"])


def _count_tensorflow(model: LikelihoodModel, *arrays: np.ndarray[Any, Any]) -> float:
    import tensorflow as tf

    # Its profiler tells of functions of its own that will go.
    tf.get_logger().setLevel("ERROR")
    specifications = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
    graph = tf.function(model.log_weights).get_concrete_function(*specifications).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return float(profiler.profile(graph, options=options).total_float_ops)


@lru_cache(maxsize=1)
def peak_operations_per_second() -> float:
    """Operations per second of a large matrix product, measured once on this device, backend and precision.

    The best of five; the matrices double in size until one product takes long enough to be timed.
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
        # Bringing one number to the host waits for the device.
        float(ops.convert_to_numpy(ops.matmul(matrix, matrix)[0, 0]))
        best = min(best, time.perf_counter() - began)
    return best
