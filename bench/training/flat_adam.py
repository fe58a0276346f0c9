"""Adam on all weights at once, as one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class FlatAdam(keras.optimizers.Adam):
    """Keras's Adam with one momentum and one velocity vector for all weights, in place of a pair for each.

    The update is Keras's own, element by element (Kingma & Ba 2015, the form of section 2 that folds the bias
    corrections into the step size). A flow has hundreds of small weights, and on TensorFlow the
    dozen operations that Adam spends on each outnumber those of the model: traced and run as one, they all but
    vanish.
    """

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the two vectors."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, var_list)
        self.sizes = [math.prod(variable.shape) for variable in var_list]
        dtype = var_list[0].dtype
        shape = (sum(self.sizes),)
        self.momentum = self.add_variable(shape, initializer="zeros", dtype=dtype, name="momentum")
        self.velocity = self.add_variable(shape, initializer="zeros", dtype=dtype, name="velocity")

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """One step for all weights; Keras calls this with clipped gradients."""
        gradient = ops.concatenate([ops.reshape(g, (-1,)) for g in grads])
        dtype = gradient.dtype
        step = ops.cast(self.iterations + 1, dtype)
        correction = ops.sqrt(1.0 - ops.power(ops.cast(self.beta_2, dtype), step))
        rate = ops.cast(learning_rate, dtype) * correction / (1.0 - ops.power(ops.cast(self.beta_1, dtype), step))
        momentum = self.momentum + (gradient - self.momentum) * (1.0 - self.beta_1)
        velocity = self.velocity + (ops.square(gradient) - self.velocity) * (1.0 - self.beta_2)
        self.momentum.assign(momentum)
        self.velocity.assign(velocity)
        update = momentum * rate / (ops.sqrt(velocity) + self.epsilon)
        ends = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes) - 1)]
        for variable, part in zip(trainable_variables, ops.split(update, ends), strict=True):
            variable.assign_sub(ops.reshape(part, variable.shape))
