"""Gradients that a test asks for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from bench.runtime.autodiff import gradient_program


def gradients(
    function: Callable[..., Any], variables: Sequence[keras.Variable], *arrays: np.ndarray
) -> list[np.ndarray]:
    """The gradient of ``function(*arrays)``, a scalar, with respect to each of ``variables``.

    TensorFlow computes it step by step: to trace a program takes longer than to run it once.
    """
    if keras.backend.backend() != "tensorflow":
        return gradient_program(function, variables)(*arrays)
    import tensorflow as tf

    watched = [variable.value for variable in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        value = function(*map(tf.convert_to_tensor, arrays))
    found = tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(each).numpy() for each in found]
