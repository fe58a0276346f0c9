"""Run one method of a model as a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from bench.runtime.sharding import Sharding, forward_sharding, jax_cores
from models.base.likelihood_model import LikelihoodModel

Method = Callable[..., Any]
Use = Literal["seldom", "sometimes", "often"]
"""How much is asked of a program: a few runs, some seconds of work, or more."""


class CompiledMethod:
    """``method(model, *arrays)`` compiled for the arrays' shapes; an image a row.

    On JAX it is one of XLA's programs. TensorFlow has three ways to compute it, each sooner begun and slower than the
    next: operation by operation, as a graph, and by XLA, whose program of a flow is 1.4 to 2.4 times as fast as the
    graph and takes a second or two to compile.

    Args:
        model: the model whose weights the method uses, and only reads.
        method: a function of the model and of tensors.
        use: how much will be asked of it, by which TensorFlow's way is chosen.
    """

    def __init__(self, model: LikelihoodModel, method: Method, use: Use = "often") -> None:
        self._program = (
            _jax_program(model, method) if keras.backend.backend() == "jax" else _tensorflow_program(model, method, use)
        )

    def run(self, *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The method's result for these arrays, as an array; it is complete when this returns."""
        return np.asarray(self._program(*arrays))


def _tensorflow_program(model: LikelihoodModel, method: Method, use: Use) -> Callable[..., Any]:
    """A program for each set of shapes: TensorFlow would make a single one of several, with sizes left open."""
    import tensorflow as tf

    programs: dict[tuple[tuple[int, ...], ...], Any] = {}

    def run(*arrays: npt.NDArray[Any]) -> Any:
        inputs = [tf.convert_to_tensor(array) for array in arrays]
        if use == "seldom":
            return method(model, *inputs)
        shapes = tuple(array.shape for array in arrays)
        if shapes not in programs:
            by_xla = use == "often"
            compiled = tf.function(lambda *tensors: method(model, *tensors), autograph=False, jit_compile=by_xla)
            programs[shapes] = compiled.get_concrete_function(*map(tf.TensorSpec.from_tensor, inputs))
        return programs[shapes](*inputs)

    return run


def _jax_program(model: LikelihoodModel, method: Method) -> Callable[..., Any]:
    """A program for each set of shapes, laid out by the processor's cores.

    It only reads the model's variables. Keras's own ``predict`` hands them over to the device and takes back what the
    program returns: a program that fails, for want of memory, would take the model's weights with it.
    """
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    whole, part = PartitionSpec(), PartitionSpec("shard")

    def mesh_of(sharding: Sharding) -> Mesh:
        return Mesh(np.array(jax.devices()[: sharding.devices]), ("shard",))

    def of_a_microbatch(values: list[Any], inputs: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return method(model, *inputs)

    def call(sharding: Sharding, values: list[Any], inputs: list[Any]) -> Any:
        size = len(inputs[0]) // sharding.devices // sharding.microbatches

        def of_a_shard(values: list[Any], inputs: list[Any]) -> Any:
            return _by_microbatches(lambda microbatch: of_a_microbatch(values, microbatch), inputs, size)

        divided = jax.shard_map(
            of_a_shard, mesh=mesh_of(sharding), in_specs=(whole, part), out_specs=part, check_vma=False
        )
        return (divided if sharding.devices > 1 else of_a_shard)(values, inputs)

    program = jax.jit(call, static_argnums=0)

    def run(*inputs: npt.NDArray[Any]) -> Any:
        sharding = forward_sharding(model, len(inputs[0]), jax_cores())
        values = [variable.value for variable in model.variables]
        return program(sharding, jax.device_put(values, NamedSharding(mesh_of(sharding), whole)), list(inputs))

    return run


def _by_microbatches(function: Callable[[list[Any]], Any], inputs: list[Any], size: int) -> Any:
    """The function's result for all rows of the inputs, computed ``size`` rows at a time."""
    import jax
    from jax import lax

    if len(inputs[0]) == size:
        return function(inputs)
    microbatches = [each.reshape(-1, size, *each.shape[1:]) for each in inputs]
    return jax.tree.map(lambda each: each.reshape(-1, *each.shape[2:]), lax.map(function, microbatches))
