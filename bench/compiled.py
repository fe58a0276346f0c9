"""Run one method of a model as a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.likelihood_model import LikelihoodModel


class CompiledMethod(keras.Model):
    """``method(model, *arrays)`` compiled for the arrays' shapes, on whatever backend Keras runs.

    Args:
        model: the model whose weights the method uses.
        method: a function of the model and of tensors.
    """

    def __init__(self, model: LikelihoodModel, method: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name=name)
        self.model = model
        self.method = method
        self.built = True
        self._programs: dict[tuple[tuple[int, ...], ...], Any] = {}
        on_jax = keras.backend.backend() == "jax"
        self.compile(jit_compile=on_jax)
        self._jax_program = _jax_program(self) if on_jax else None

    def call(self, inputs: Any) -> Any:  # noqa: D102 - Keras's own
        return self.method(self.model, *inputs)

    def run(self, *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The method's result for these arrays, as an array; it is complete when this returns."""
        if self._jax_program is not None:
            return np.asarray(self._jax_program(list(arrays)))
        # A program for each set of shapes: TensorFlow would make a single one of several, with sizes left open.
        shapes = tuple(array.shape for array in arrays)
        self.predict_function = self._programs.get(shapes)
        result = np.asarray(self.predict_on_batch(list(arrays)))
        self._programs[shapes] = self.predict_function
        return result


def _jax_program(model: keras.Model) -> Callable[[list[npt.NDArray[Any]]], Any]:
    """The compiled call of a model on JAX, which only reads its variables.

    Keras's own ``predict`` hands them over to the device and takes back what the program returns: a program that fails,
    for want of memory, would take the model's weights with it.
    """
    import jax

    program = jax.jit(lambda trainable, others, inputs: model.stateless_call(trainable, others, inputs)[0])

    def run(inputs: list[npt.NDArray[Any]]) -> Any:
        trainable = [variable.value for variable in model.trainable_variables]
        return program(trainable, [variable.value for variable in model.non_trainable_variables], inputs)

    return run
