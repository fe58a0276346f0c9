"""Runs a method of a model as a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from bench.runtime.sharding import Sharding, forward_sharding, jax_cores
from models.base.likelihood_model import LikelihoodModel
from models.base.processor import traced_for_xla

Method = Callable[..., Any]
Use = Literal["seldom", "sometimes", "often"]
"""How much a program runs: a few times, for some seconds, or longer."""


class CompiledMethod:
    """``method(model, *arrays)`` compiled for the shapes of the arrays, whose rows are images.

    JAX compiles it by XLA. TensorFlow runs it eagerly, as a graph or by XLA: eager starts soonest and is slowest; XLA
    runs a flow 1.4 to 2.4 times as fast as the graph, after compiling for a second or two.

    Args:
        model: the model, whose weights the method only reads.
        method: a function of the model and of tensors.
        use: how much the program will run, which selects the way on TensorFlow.
    """

    def __init__(self, model: LikelihoodModel, method: Method, use: Use = "often") -> None:
        self._program = (
            _jax_program(model, method) if keras.backend.backend() == "jax" else _tensorflow_program(model, method, use)
        )

    def run(self, *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The method's result for these arrays; blocks until it is computed."""
        return np.asarray(self._program(*arrays))


def _tensorflow_program(model: LikelihoodModel, method: Method, use: Use) -> Callable[..., Any]:
    """One program per set of shapes: TensorFlow would otherwise relax several to one program with unknown sizes."""
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
            with traced_for_xla() if by_xla else nullcontext():
                programs[shapes] = compiled.get_concrete_function(*map(tf.TensorSpec.from_tensor, inputs))
        return programs[shapes](*inputs)

    return run


def _jax_program(model: LikelihoodModel, method: Method) -> Callable[..., Any]:
    """One program per set of shapes, sharded over the processor's cores.

    It does not donate the model's variables. Keras's ``predict`` does: a program that runs out of memory would destroy
    the model's weights.
    """
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    whole, part = PartitionSpec(), PartitionSpec("shard")

    def mesh_of(sharding: Sharding) -> Mesh:
        return Mesh(np.array(jax.devices()[: sharding.devices]), ("shard",))

    def run_microbatch(values: list[Any], inputs: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return method(model, *inputs)

    def call(sharding: Sharding, values: list[Any], inputs: list[Any]) -> Any:
        size = len(inputs[0]) // sharding.devices // sharding.microbatches

        def run_shard(values: list[Any], inputs: list[Any]) -> Any:
            return _by_microbatches(lambda microbatch: run_microbatch(values, microbatch), inputs, size)

        run_shards = jax.shard_map(
            run_shard, mesh=mesh_of(sharding), in_specs=(whole, part), out_specs=part, check_vma=False
        )
        return (run_shards if sharding.devices > 1 else run_shard)(values, inputs)

    program = jax.jit(call, static_argnums=0)

    def run(*inputs: npt.NDArray[Any]) -> Any:
        sharding = forward_sharding(model, len(inputs[0]), jax_cores())
        values = [variable.value for variable in model.variables]
        return program(sharding, jax.device_put(values, NamedSharding(mesh_of(sharding), whole)), list(inputs))

    return run


def _by_microbatches(function: Callable[[list[Any]], Any], inputs: list[Any], size: int) -> Any:
    """The function's result for all rows, computed ``size`` rows at a time."""
    import jax
    from jax import lax

    if len(inputs[0]) == size:
        return function(inputs)
    microbatches = [each.reshape(-1, size, *each.shape[1:]) for each in inputs]
    return jax.tree.map(lambda each: each.reshape(-1, *each.shape[2:]), lax.map(function, microbatches))
