"""Several trainings of one shape as one vectorised program, as a small model alone does not fill an accelerator.

The trainings share images and program; each has its own learning rate, weights, noise and order of images, and its
result is that of training it alone, up to rounding. A training that diverges does not affect the others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from bench.core.errors import SettingsError
from bench.core.seeds import derive_seed
from bench.training.program import clipped_metric, draw_noise, make_gradient_function, metric_names
from bench.training.resident import on_device
from models.base.likelihood_model import LikelihoodModel

Array = npt.NDArray[Any]


class VectorizedTraining:
    """Trainings that differ only in learning rate, seed and order of the images, a chunk of steps at a time.

    Args:
        model: new and compiled for training; the trainings copy it, and only :meth:`load_into_model` changes it.
        rates: the highest learning rate of each training.
        seeds: the seed of each; weights and noise derive from it as those of a trial do.

    Raises:
        SettingsError: Keras does not run on JAX, the arguments differ in length, or the model was trained already.
    """

    def __init__(self, model: LikelihoodModel, rates: Sequence[float], seeds: Sequence[int]) -> None:
        if keras.backend.backend() != "jax":
            raise SettingsError(
                f"vectorised training needs JAX, and Keras runs on {keras.backend.backend()}: use --backend jax"
            )
        if not rates or len(rates) != len(seeds):
            raise SettingsError(f"each training needs a rate and a seed, got {len(rates)} rates and {len(seeds)} seeds")
        if int(model.optimizer.iterations):
            raise SettingsError("the model has been trained already: compile it again")
        import jax

        self.model, self.trainings = model, len(rates)
        initial = [self._initial_variables(rate, seed) for rate, seed in zip(rates, seeds, strict=True)]
        self._state = jax.tree.map(lambda *values: jax.numpy.stack(values), *initial)
        self._initialise = jax.jit(jax.vmap(self._initialise_one, in_axes=(0, None, 0)))
        self._chunk = jax.jit(self._steps, donate_argnums=0)

    def initialise(self, images: Array, indices: Array) -> None:
        """Set the data-dependent weights, as :meth:`LikelihoodModel.initialise` does.

        Args:
            images: all images (n, h, w, c), as for :meth:`train`.
            indices: indices of the images that each training initialises on (trainings, m).
        """
        self._state[:2] = self._initialise(self._state[:2], self._on_device(images), self._check_indices(indices))

    def train(
        self, images: Array, orders: Array, start: int, stop: int, labels: Array | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Take the steps ``start`` to ``stop`` of an interval of each training.

        Args:
            images: all images (n, h, w, c); the same object at each call, as it is moved to the device only once.
            orders: indices of the images of each step of the interval (trainings, steps, batch).
            start: the first step.
            stop: the step after the last.
            labels: class labels (n,), if the model is conditioned on them.

        Returns:
            The metrics of the steps, by name: (trainings, steps taken).
        """
        pool, classes = self._on_device(images), None if labels is None else self._on_device(labels)
        self._state, logs = self._chunk(self._state, pool, classes, self._check_indices(orders), start, stop)
        return {name: np.asarray(values)[start:stop].T for name, values in logs.items()}

    def load_into_model(self, training: int) -> None:
        """Assign the variables of a training (0, 1, …) to the model and its optimizer."""
        for own, values in zip(self._owners(), self._state, strict=True):
            for variable, value in zip(own, values, strict=True):
                variable.assign(value[training])

    def _owners(self) -> list[list[Any]]:
        model = self.model
        return [model.trainable_variables, model.non_trainable_variables, model.optimizer.variables]

    def _initial_variables(self, rate: float, seed: int) -> list[list[Any]]:
        """The variables of one training before its first step."""
        model, optimizer = self.model, self.model.optimizer
        # Keras draws the seeds of initialisers and of noise from Python's random state.
        random.seed(derive_seed(seed, "weights and noise"))
        fresh = type(model)(model.configuration, model.image_shape, model.grey_levels)
        own_rate = keras.ops.full_like(optimizer.base_rate.value, rate)
        return [
            [variable.value for variable in fresh.trainable_variables],
            [variable.value for variable in fresh.non_trainable_variables],
            [own_rate if variable is optimizer.base_rate else variable.value for variable in optimizer.variables],
        ]

    def _check_indices(self, indices: Array) -> Array:
        if len(indices) != self.trainings:
            raise SettingsError(f"indices for {len(indices)} trainings were given, there are {self.trainings}")
        return indices.astype(np.int32)

    def _on_device(self, array: Array) -> Any:
        import jax

        return on_device(array, "jax", jax.device_put)

    def _initialise_one(self, values: Any, images: Any, chosen: Any) -> list[list[Any]]:
        """The variables of one training after their initialisation."""
        own = self._owners()[:2]
        mapping = zip([*own[0], *own[1]], [*values[0], *values[1]], strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            self.model.initialise(images[chosen])
        return [[scope.get_current_value(variable) for variable in part] for part in own]

    def _steps(self, state: Any, images: Any, labels: Any, orders: Any, start: Any, stop: Any) -> Any:
        import jax

        model, gradients = self.model, make_gradient_function(self.model, microbatches=1)

        def step(state: Any, chosen: Any) -> tuple[Any, dict[str, Any]]:
            """One training; vmap makes it all of them."""
            weights, others, optimizer_values = state
            noise, others = draw_noise(model, others, len(chosen))
            classes = None if labels is None else labels[chosen]
            metrics, others, found = gradients(weights, others, images[chosen], classes, noise)
            metrics |= clipped_metric(model, found)
            weights, optimizer_values = model.optimizer.stateless_apply(optimizer_values, found, weights)
            return [weights, others, optimizer_values], metrics

        def body(i: Any, carry: Any) -> Any:
            state, logs = carry
            state, metrics = jax.vmap(step)(state, orders[:, i])
            return state, {name: logs[name].at[i].set(metrics[name]) for name in logs}

        nothing = jax.numpy.zeros((orders.shape[1], self.trainings), "float32")
        return jax.lax.fori_loop(start, stop, body, (state, dict.fromkeys(metric_names(model), nothing)))
