"""Several trainings of one shape as one vectorised program: small models fill an accelerator only together.

The trainings share the images and the program. Each has a learning rate, weights, noise and an order of the images of
its own, and comes out as if it had been trained alone, up to rounding. None sees another's numbers: where one leaves
the finite numbers, the others go on as they would without it.
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
from bench.training.program import clipping, gradients_of, metric_names, noise_for
from models.base.likelihood_model import LikelihoodModel

Array = npt.NDArray[Any]


class PackedTraining:
    """Trainings that differ by learning rate, seed and order of the images alone, a chunk of steps at a time.

    Args:
        model: newly built and compiled for training. It says what is trained and how; its variables stay as they are
            until :meth:`put` fills them.
        rates: the highest learning rate of each training.
        seeds: the seed of each, of which its weights and its noise come as those of a trial do.

    Raises:
        SettingsError: Keras does not run on JAX, or the trainings cannot be logs from the arguments.
    """

    def __init__(self, model: LikelihoodModel, rates: Sequence[float], seeds: Sequence[int]) -> None:
        if keras.backend.backend() != "jax":
            raise SettingsError(
                f"trainings are packed on JAX alone, and Keras runs on {keras.backend.backend()}: take --backend jax"
            )
        if not rates or len(rates) != len(seeds):
            raise SettingsError(f"each training needs a rate and a seed, got {len(rates)} rates and {len(seeds)} seeds")
        if int(model.optimizer.iterations):
            raise SettingsError("the model of packed trainings has been trained already: compile it anew")
        import jax

        self.model, self.trainings = model, len(rates)
        alone = [self._beginning(rate, seed) for rate, seed in zip(rates, seeds, strict=True)]
        self._state = jax.tree.map(lambda *values: jax.numpy.stack(values), *alone)
        self._initialise = jax.jit(jax.vmap(self._initialised, in_axes=(0, None, 0)))
        self._chunk = jax.jit(self._steps, donate_argnums=0)
        self._resident: dict[int, tuple[Array, Any]] = {}

    def initialise(self, images: Array, chosen: Array) -> None:
        """Set the weights that depend on data, as :meth:`LikelihoodModel.initialise`.

        Args:
            images: all images (n, h, w, c), as for :meth:`train`.
            chosen: indices of the images that each training initialises on (trainings, m).
        """
        self._state[:2] = self._initialise(self._state[:2], self._on_device(images), self._checked(chosen))

    def train(
        self, images: Array, orders: Array, start: int, stop: int, labels: Array | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Take the steps ``start`` to ``stop`` of an epoch of each training.

        Args:
            images: all images (n, h, w, c); the same object at each call, for it is moved to the device only once.
            orders: indices of the images of each step of the epoch (trainings, steps, batch).
            start: the first step.
            stop: the one after the last.
            labels: class labels (n,), where the model is conditioned on them.

        Returns:
            What the steps logs, by name: (trainings, steps taken).
        """
        pool, classes = self._on_device(images), None if labels is None else self._on_device(labels)
        self._state, logs = self._chunk(self._state, pool, classes, self._checked(orders), start, stop)
        return {name: np.asarray(values)[start:stop].T for name, values in logs.items()}

    def put(self, training: int) -> None:
        """Fill the model's variables, its optimizer's included, with those of a training (0, 1, …)."""
        for own, values in zip(self._owners(), self._state, strict=True):
            for variable, value in zip(own, values, strict=True):
                variable.assign(value[training])

    def _owners(self) -> list[list[Any]]:
        model = self.model
        return [model.trainable_variables, model.non_trainable_variables, model.optimizer.variables]

    def _beginning(self, rate: float, seed: int) -> list[list[Any]]:
        """The variables of one training before its first step."""
        model, optimizer = self.model, self.model.optimizer
        # What Keras draws the seeds of initialisers and of noise from.
        random.seed(derive_seed(seed, "weights and noise"))
        fresh = type(model)(model.configuration, model.image_shape, model.grey_levels)
        own_rate = keras.ops.full_like(optimizer.base_rate.value, rate)
        return [
            [variable.value for variable in fresh.trainable_variables],
            [variable.value for variable in fresh.non_trainable_variables],
            [own_rate if variable is optimizer.base_rate else variable.value for variable in optimizer.variables],
        ]

    def _checked(self, indices: Array) -> Array:
        if len(indices) != self.trainings:
            raise SettingsError(f"indices for {len(indices)} trainings were given, there are {self.trainings}")
        return indices.astype(np.int32)

    def _on_device(self, array: Array) -> Any:
        import jax

        if id(array) not in self._resident:
            self._resident[id(array)] = (array, jax.device_put(array))
        return self._resident[id(array)][1]

    def _initialised(self, values: Any, images: Any, chosen: Any) -> list[list[Any]]:
        """Of one training: its variables after their initialisation."""
        own = self._owners()[:2]
        mapping = zip([*own[0], *own[1]], [*values[0], *values[1]], strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            self.model.initialise(images[chosen])
        return [[scope.get_current_value(variable) for variable in part] for part in own]

    def _steps(self, state: Any, images: Any, labels: Any, orders: Any, start: Any, stop: Any) -> Any:
        import jax

        model, gradients = self.model, gradients_of(self.model, microbatches=1)

        def step(state: Any, chosen: Any) -> tuple[Any, dict[str, Any]]:
            """Of one training; vectorised, of all."""
            weights, others, optimizer_values = state
            noise, others = noise_for(model, others, len(chosen))
            classes = None if labels is None else labels[chosen]
            metrics, others, found = gradients(weights, others, images[chosen], classes, noise)
            metrics |= clipping(model, found)
            weights, optimizer_values = model.optimizer.stateless_apply(optimizer_values, found, weights)
            return [weights, others, optimizer_values], metrics

        def body(i: Any, carry: Any) -> Any:
            state, logs = carry
            state, metrics = jax.vmap(step)(state, orders[:, i])
            return state, {name: logs[name].at[i].set(metrics[name]) for name in logs}

        nothing = jax.numpy.zeros((orders.shape[1], self.trainings), "float32")
        return jax.lax.fori_loop(start, stop, body, (state, dict.fromkeys(metric_names(model), nothing)))
