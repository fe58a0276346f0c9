"""Optimizers whose learning rate is a weight of theirs, so that runs at different rates share one compiled program."""

from __future__ import annotations

from typing import Any

import keras

from bench.flat_adam import FlatAdam


class ScheduledRate(keras.optimizers.Optimizer):
    """The rate of step t is base_rate · schedule(t).

    Args:
        base_rate: the highest rate; a variable of the optimizer, where a number would be compiled in.
        schedule: its course, relative to that; None for a constant rate.
        options: of the optimizer that this is mixed into.
    """

    def __init__(
        self, base_rate: float, schedule: keras.optimizers.schedules.LearningRateSchedule | None, **options: Any
    ) -> None:
        super().__init__(learning_rate=1.0 if schedule is None else schedule, **options)
        initializer = keras.initializers.Constant(base_rate)
        self.base_rate = self.add_variable((), initializer=initializer, name="base_rate")

    def _get_current_learning_rate(self) -> Any:
        return self.base_rate * super()._get_current_learning_rate()


class ScheduledAdam(ScheduledRate, FlatAdam):
    """Adam (Kingma & Ba 2015) at a scheduled rate."""


class ScheduledAdamax(ScheduledRate, keras.optimizers.Adamax):
    """Adamax (Kingma & Ba 2015, section 7.1) at a scheduled rate."""
