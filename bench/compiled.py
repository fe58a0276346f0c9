"""Run one method of a model as a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from bench.layout import Layout, forward_layout, jax_cores
from models.likelihood_model import LikelihoodModel


class CompiledMethod(keras.Model):
    """``method(model, *arrays)`` compiled for the arrays' shapes, on whatever backend Keras runs; an image a row.

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


def _jax_program(model: CompiledMethod) -> Callable[[list[npt.NDArray[Any]]], Any]:
    """The compiled call of a model on JAX, which only reads its variables.

    Keras's own ``predict`` hands them over to the device and takes back what the program returns: a program that fails,
    for want of memory, would take the model's weights with it.
    """
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    whole, part = PartitionSpec(), PartitionSpec("shard")

    def mesh_of(layout: Layout) -> Mesh:
        return Mesh(np.array(jax.devices()[: layout.shards]), ("shard",))

    def call(layout: Layout, trainable: list[Any], others: list[Any], inputs: list[Any]) -> Any:
        size = len(inputs[0]) // layout.shards // layout.pieces

        def of_a_shard(trainable: list[Any], others: list[Any], inputs: list[Any]) -> Any:
            return _by_pieces(lambda piece: model.stateless_call(trainable, others, piece)[0], inputs, size)

        divided = jax.shard_map(
            of_a_shard, mesh=mesh_of(layout), in_specs=(whole, whole, part), out_specs=part, check_vma=False
        )
        return (divided if layout.shards > 1 else of_a_shard)(trainable, others, inputs)

    program = jax.jit(call, static_argnums=0)

    def run(inputs: list[npt.NDArray[Any]]) -> Any:
        layout = forward_layout(model.model, len(inputs[0]), jax_cores())
        own = [model.trainable_variables, model.non_trainable_variables]
        values = [[variable.value for variable in variables] for variables in own]
        return program(layout, *jax.device_put(values, NamedSharding(mesh_of(layout), whole)), inputs)

    return run


def _by_pieces(function: Callable[[list[Any]], Any], inputs: list[Any], size: int) -> Any:
    """The function's result for all rows of the inputs, computed ``size`` rows at a time."""
    import jax
    from jax import lax

    if len(inputs[0]) == size:
        return function(inputs)
    pieces = [each.reshape(-1, size, *each.shape[1:]) for each in inputs]
    return jax.tree.map(lambda each: each.reshape(-1, *each.shape[2:]), lax.map(function, pieces))
