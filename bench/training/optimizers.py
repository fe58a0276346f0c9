"""Optimizers that hold their learning rate and weight decay in variables: runs at other rates share one program."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
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
        rate = self.learning_rate
        for variable in filter(self._use_weight_decay, variables):
            variable.assign_sub(variable * self.decay * rate)

    def _clip_gradients(self, grads: Sequence[Any]) -> Any:
        """Keras's, of whole gradients: in TensorFlow's of a table's rows one may stand several times."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            grads = [tf.convert_to_tensor(each) for each in grads]
        return super()._clip_gradients(grads)

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """Keras's step; on TensorFlow by one kernel a weight.

        There Keras's own is about 40 operations a weight, a sixth of those that are traced for a flow, and on small
        weights they take longer to begin than to compute.
        """
        if keras.backend.backend() != "tensorflow":
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import tensorflow as tf

        of_type: dict[str, Callable[..., Any]] = {}
        for gradient, weight in zip(grads, trainable_variables, strict=True):
            dtype = weight.dtype
            if dtype not in of_type:
                of_type[dtype] = self._kernel(ops.cast(self.iterations + 1, dtype), ops.cast(learning_rate, dtype))
            index = self._get_variable_index(weight)
            of_weight = (weight, *(slots[index] for slots in self._slots()))
            handles = dict(zip(("var", "m", "v"), (each.value.handle for each in of_weight), strict=True))
            of_type[dtype](**handles, grad=tf.cast(gradient, dtype))

    def _constants(self, dtype: str) -> list[Any]:
        return [ops.convert_to_tensor(each, dtype) for each in (self.beta_1, self.beta_2, self.epsilon)]

    @abstractmethod
    def _slots(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """The running moments of all weights: the first, and the second or the greatest."""

    @abstractmethod
    def _kernel(self, step: Any, rate: Any) -> Callable[..., Any]:
        """TensorFlow's update of a weight ``var`` with moments ``m`` and ``v`` by ``grad``; steps count from 1."""

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        """Begin with the momentum t/(9 + t) at the steps t = 0, 1, …: with the first step's weights, and not Keras's 0.

        A constant momentum would keep these weights for long.
        """
        step = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(self.ema_momentum, step / (9.0 + step))
        for weight, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(average + ops.cast(1.0 - momentum, average.dtype) * (weight - average))


class ScheduledAdam(ScheduledRate, keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) at a scheduled rate."""

    def _slots(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return self._momentums, self._velocities

    def _kernel(self, step: Any, rate: Any) -> Callable[..., Any]:
        import tensorflow as tf

        first, second, epsilon = self._constants(step.dtype)
        powers = {"beta1_power": ops.power(first, step), "beta2_power": ops.power(second, step)}
        constant = {"lr": rate, "beta1": first, "beta2": second, "epsilon": epsilon}
        return partial(tf.raw_ops.ResourceApplyAdam, **powers, **constant)


class ScheduledAdamax(ScheduledRate, keras.optimizers.Adamax):
    """Adamax (Kingma & Ba 2015, section 7.1) at a scheduled rate."""

    def _slots(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return self._m, self._u

    def _kernel(self, step: Any, rate: Any) -> Callable[..., Any]:
        import tensorflow as tf

        first, second, epsilon = self._constants(step.dtype)
        constant = {"lr": rate, "beta1": first, "beta2": second, "epsilon": epsilon}
        return partial(tf.raw_ops.ResourceApplyAdaMax, beta1_power=ops.power(first, step), **constant)
