"""Gradients on either backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt


def gradient_program(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., list[npt.NDArray[np.floating]]]:
    """A compiled function of arrays that returns the gradient of a scalar function with respect to each variable.

    Args:
        function: takes the arrays as tensors and returns a scalar. Other variables that it reads must not change after
            the first call, as JAX compiles their values as constants.
        variables: the variables to differentiate with respect to; the gradient of an unused one is 0.

    Raises:
        NotImplementedError: Keras runs on a backend other than TensorFlow and JAX.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        program = _jax_program(function, variables)
    elif backend == "tensorflow":
        program = _tensorflow_program(function, variables)
    else:
        raise NotImplementedError(f"gradients on backend {backend!r}: only tensorflow and jax are supported")
    return lambda *arrays: [np.asarray(gradient) for gradient in program(*arrays)]


def _jax_program(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    import jax

    def value(values: list[Any], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arrays)

    gradient = jax.jit(jax.grad(value))
    return lambda *arrays: gradient([variable.value for variable in variables], *arrays)


def _tensorflow_program(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    import tensorflow as tf

    def gradient(*arrays: Any) -> Any:
        watched = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            value = function(*arrays)
        found = tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # Of a weight whose rows are picked, TensorFlow gives the rows alone.
        return [tf.convert_to_tensor(each) for each in found]

    program = tf.function(gradient, autograph=False)
    return lambda *arrays: program(*map(tf.convert_to_tensor, arrays))
