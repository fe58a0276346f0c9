"""Many training steps as one program, on either backend: ``fit`` without its work between two steps.

The images lie on the device as integers. For each step of a chunk the program gathers a batch, dequantises,
differentiates and updates, and returns to the host only at the end of the chunk. It trains on the same batches and the
same noise as ``fit``, so that both agree up to rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from bench.runtime.sharding import Sharding, jax_cores, training_sharding
from bench.training.resident import on_device, to_tensorflow
from models.base.likelihood_model import LikelihoodModel

Array = npt.NDArray[Any]
Logs = dict[str, npt.NDArray[np.float32]]
"""The metrics of the steps of a chunk, by name: one number per step."""


class TrainingProgram(ABC):
    """Trains a model that is compiled for training, a chunk of steps at a time.

    Args:
        model: the model; training changes its variables and its optimizer's in place.
    """

    def __init__(self, model: LikelihoodModel) -> None:
        self.model = model

    @abstractmethod
    def initialise(self, images: Array) -> None:
        """Set the data-dependent weights, as :meth:`LikelihoodModel.initialise` does."""

    @abstractmethod
    def train(self, images: Array, labels: Array | None, order: Array, start: int, stop: int) -> Logs:
        """Take the steps ``start`` to ``stop`` of an interval.

        Args:
            images: all images (n, h, w, c); the same object at each call, as it is moved to the device only once.
            labels: their class labels (n,), if the model is conditioned on them.
            order: indices of the images of each step of the interval (steps, batch).
            start: the first step.
            stop: the step after the last; the next call continues there.
        """


def training_program(model: LikelihoodModel) -> TrainingProgram:
    """The program of the backend that Keras runs on."""
    return _JaxProgram(model) if keras.backend.backend() == "jax" else _TensorFlowProgram(model)


class _TensorFlowProgram(TrainingProgram):
    """A graph without XLA: on a processor TensorFlow's own kernels are faster, and compile sooner."""

    def __init__(self, model: LikelihoodModel) -> None:
        super().__init__(model)
        import tensorflow as tf

        # Without autograph, which would double the time of tracing.
        self._initialise = tf.function(model.initialise, autograph=False)
        self._initialised: dict[tuple[int, ...], Any] = {}
        self._programs: dict[int, Any] = {}

    def initialise(self, images: Array) -> None:
        import tensorflow as tf

        if images.shape not in self._initialised:
            # Traced here, as TensorFlow would warn of repeated tracing.
            spec = tf.TensorSpec(images.shape, tf.as_dtype(images.dtype))
            self._initialised[images.shape] = self._initialise.get_concrete_function(spec)
        self._initialised[images.shape](tf.constant(images))

    def train(self, images: Array, labels: Array | None, order: Array, start: int, stop: int) -> Logs:
        import tensorflow as tf

        arrays = [array for array in (images, labels) if array is not None]
        arguments = [on_device(array, "tensorflow", to_tensorflow) for array in arrays]
        batch_size = order.shape[1]
        if batch_size not in self._programs:
            # One program for any number of steps.
            known = [tf.TensorSpec.from_tensor(each) for each in arguments]
            steps = tf.TensorSpec((None, batch_size), tf.int64)
            self._programs[batch_size] = tf.function(self._steps, autograph=False).get_concrete_function(steps, *known)
        logs = self._programs[batch_size](tf.constant(order[start:stop], tf.int64), *arguments)
        return {name: np.asarray(values) for name, values in logs.items()}

    def _steps(self, order: Any, images: Any, labels: Any = None) -> dict[str, Any]:
        import tensorflow as tf

        def step(chosen: Any) -> dict[str, Any]:
            batch, classes = tf.gather(images, chosen), None if labels is None else tf.gather(labels, chosen)
            return self._step(batch, classes)

        signature = dict.fromkeys(metric_names(self.model), tf.float32)
        logs: dict[str, Any] = tf.map_fn(step, order, fn_output_signature=signature, parallel_iterations=1)
        return logs

    def _step(self, images: Any, labels: Any) -> dict[str, Any]:
        import tensorflow as tf

        model, weights = self.model, self.model.trainable_variables
        with tf.GradientTape() as tape:
            metrics = model.step_metrics(model.objective(images, model.training_noise(images.shape[0]), labels, True))
        values = [weight.value for weight in weights]
        found = tape.gradient(metrics["loss"], values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # Of a table whose rows are picked TensorFlow gives the picks alone, and the norm is that of their sums.
        gradients = [tf.convert_to_tensor(each) for each in found]
        model.optimizer.apply(gradients, weights)
        return metrics | _clipped_metric(model, gradients)


def metric_names(model: LikelihoodModel) -> list[str]:
    """The names of a step's metrics."""
    clipped = ["clipped"] if model.optimizer.global_clipnorm else []
    return ["loss", *(tracker.name for tracker in model.trackers), *clipped]


def _clipped_metric(model: LikelihoodModel, gradients: Sequence[Any]) -> dict[str, Any]:
    """The metric ``clipped``: 1 where the global norm exceeds the optimizer's limit, else 0; empty without a limit."""
    limit = model.optimizer.global_clipnorm
    if not limit:
        return {}
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    return {"clipped": ops.cast(norm > limit, "float32")}


class _JaxProgram(TrainingProgram):
    """One XLA program, whose number of steps is an argument."""

    def __init__(self, model: LikelihoodModel) -> None:
        super().__init__(model)
        import jax

        self._programs: dict[tuple[int, ...], tuple[Any, Any]] = {}
        self._initialise = jax.jit(self._initialise_stateless)

    def initialise(self, images: Array) -> None:
        variables = self.model.variables
        values = self._initialise([variable.value for variable in variables], images)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _initialise_stateless(self, values: list[Any], images: Any) -> list[Any]:
        variables = self.model.variables
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            self.model.initialise(images)
        return [scope.get_current_value(variable) for variable in variables]

    def train(self, images: Array, labels: Array | None, order: Array, start: int, stop: int) -> Logs:
        import jax

        if order.shape not in self._programs:
            self._programs[order.shape] = self._program(training_sharding(self.model, order.shape[1], jax_cores()))
        program, everywhere = self._programs[order.shape]
        owners = self._owners()
        state = jax.device_put([[variable.value for variable in own] for own in owners], everywhere)
        pool, classes = (
            None if array is None else on_device(array, everywhere, lambda each: jax.device_put(each, everywhere))
            for array in (images, labels)
        )
        state, logs = program(state, pool, classes, order.astype(np.int32), start, stop)
        for own, values in zip(owners, state, strict=True):
            for variable, value in zip(own, values, strict=True):
                variable.assign(value.addressable_data(0))
        return {name: np.asarray(values)[start:stop] for name, values in logs.items()}

    def _owners(self) -> list[list[Any]]:
        model = self.model
        return [model.trainable_variables, model.non_trainable_variables, model.optimizer.variables]

    def _program(self, sharding: Sharding) -> tuple[Callable[..., Any], Any]:
        """The compiled chunk, and the sharding of its arguments."""
        import jax
        from jax import lax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        model = self.model
        mesh = Mesh(np.array(jax.devices()[: sharding.devices]), ("shard",))
        gradients = make_gradient_function(model, sharding.microbatches)
        if sharding.devices > 1:
            # Each shard sums its own gradients first: one exchange per step, of all gradients together.
            whole, part = PartitionSpec(), PartitionSpec("shard")
            shard_gradients = gradients

            def average_over_shards(*arguments: Any) -> Any:
                metrics, others, found = shard_gradients(*arguments)
                return lax.pmean(metrics, "shard"), others, lax.pmean(found, "shard")

            gradients = jax.shard_map(
                average_over_shards,
                mesh=mesh,
                in_specs=(whole, whole, part, part, PartitionSpec(None, "shard")),
                out_specs=whole,
                check_vma=False,
            )

        def step(state: list[Any], images: Any, labels: Any) -> tuple[list[Any], dict[str, Any]]:
            weights, others, optimizer_values = state
            noise, others = draw_noise(model, others, images.shape[0])
            metrics, others, found = gradients(weights, others, images, labels, noise)
            metrics |= _clipped_metric(model, found)
            weights, optimizer_values = model.optimizer.stateless_apply(optimizer_values, found, weights)
            return [weights, others, optimizer_values], metrics

        def chunk(state: Any, images: Any, labels: Any, order: Any, start: Any, stop: Any) -> Any:
            def body(i: Any, carry: Any) -> Any:
                state, logs = carry
                chosen = order[i]
                batch, classes = images[chosen], None if labels is None else labels[chosen]
                state, metrics = step(state, batch, classes)
                return state, {name: logs[name].at[i].set(metrics[name]) for name in logs}

            nothing = {name: jax.numpy.zeros(len(order)) for name in metric_names(model)}
            return lax.fori_loop(start, stop, body, (state, nothing))

        return jax.jit(chunk, donate_argnums=0), NamedSharding(mesh, PartitionSpec())


def draw_noise(model: LikelihoodModel, others: list[Any], n: int) -> tuple[Any, list[Any]]:
    """Noise for the objective of n images, and the non-trainable variables afterwards, with the seed generator's."""
    variables = model.non_trainable_variables
    with keras.StatelessScope(state_mapping=list(zip(variables, others, strict=True))) as scope:
        noise = model.training_noise(n)
    return noise, [scope.get_current_value(variable) for variable in variables]


def make_gradient_function(model: LikelihoodModel, microbatches: int) -> Callable[..., Any]:
    """A function (weights, other variables, images, labels, noise) -> (metrics, other variables, gradients)."""
    import jax

    def loss(weights: list[Any], others: list[Any], images: Any, labels: Any, noise: Any) -> Any:
        mapping = zip([*model.trainable_variables, *model.non_trainable_variables], [*weights, *others], strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            metrics = model.step_metrics(model.objective(images, noise, labels, True))
        changed = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
        return metrics["loss"], (metrics, changed)

    def microbatch_gradients(*arguments: Any) -> Any:
        (_, (metrics, others)), found = jax.value_and_grad(loss, has_aux=True)(*arguments)
        return metrics, others, found

    def batch_gradients(weights: list[Any], others: list[Any], images: Any, labels: Any, noise: Any) -> Any:
        def split(array: Any, axis: int) -> Any:
            """Microbatches on the first axis: (…, n, …) -> (microbatches, …, n / microbatches, …)."""
            if array is None:
                return None
            shape = (*array.shape[:axis], microbatches, -1, *array.shape[axis + 1 :])
            return ops.moveaxis(ops.reshape(array, shape), axis, 0)

        def add(total: Any, microbatch: Any) -> Any:
            metrics, changed, found = microbatch_gradients(weights, others, *microbatch)
            return jax.tree.map(lambda a, b: a + b / microbatches, total, (metrics, found)), changed

        parts = (split(images, 0), split(labels, 0), split(noise, 1))
        shapes = jax.eval_shape(microbatch_gradients, weights, others, *jax.tree.map(lambda part: part[0], parts))
        nothing = jax.tree.map(lambda each: ops.zeros(each.shape, each.dtype), (shapes[0], shapes[2]))
        (metrics, found), changed = jax.lax.scan(add, nothing, parts)
        return metrics, jax.tree.map(lambda each: each[0], changed), found

    return batch_gradients if microbatches > 1 else microbatch_gradients
