"""Optimizers that hold their learning rate and weight decay in variables: runs at other rates share one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class ScheduledRate(keras.optimizers.Optimizer):
    """Mixed into an optimizer of Keras's: the rate of step t is base_rate · schedule(t).

    Args:
        base_rate: the highest rate; a variable, as a number would be compiled into the program.
        schedule: the rate of each step relative to ``base_rate``; None for a constant rate.
        decay: share of each decayed weight that a step at the rate 1 removes; None for no decay.
        options: arguments of the optimizer that this is mixed into.
    """

    def __init__(
        self,
        base_rate: float,
        schedule: keras.optimizers.schedules.LearningRateSchedule | None,
        decay: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=1.0 if schedule is None else schedule, weight_decay=decay, **options)
        self.base_rate = self._constant(base_rate, "base_rate")
        self.decay = None if decay is None else self._constant(decay, "decay")

    def _constant(self, value: float, name: str) -> Any:
        return self.add_variable((), initializer=keras.initializers.Constant(value), name=name)

    def _get_current_learning_rate(self) -> Any:
        return self.base_rate * super()._get_current_learning_rate()

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """w - rate·decay·w for each weight that is not excluded, as Keras does with a constant decay."""
        if self.decay is None:
            return
        for variable in filter(self._use_weight_decay, variables):
            variable.assign_sub(variable * self.decay * self.learning_rate)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        """Begin with the momentum (1 + t)/(10 + t): Keras's constant one keeps the first step's weights for long."""
        step = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        for weight, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(average + (1.0 - momentum) * (weight - average))


class ScheduledAdam(ScheduledRate, keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) at a scheduled rate."""


class ScheduledAdamax(ScheduledRate, keras.optimizers.Adamax):
    """Adamax (Kingma & Ba 2015, section 7.1) at a scheduled rate."""
