"""A decoder that writes one value after the other, each given z and those before it (Bowman et al. 2016).

Notation: an image is a sequence of its D values, row by row, and in a pixel channel by channel; s_d (m,) is what a
network sees of a value, h_d (H,) the state of a gated recurrent unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.base.distributions import Tensor, tanh

SeedOf = Callable[[], keras.random.SeedGenerator]


class GatedRecurrence(keras.layers.Layer):
    """A gated recurrent unit (Cho et al. 2014), its reset gate behind the product, as cuDNN has it.

        u, r = σ(a_d + A h),  c = tanh(b_d + r·(B h + b)),  h' = u·h + (1 - u)·c,    (a_d, b_d) = s_d W + w

    Args:
        inputs: m.
        width: H.
    """

    def __init__(self, inputs: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.kernel = self.add_weight(shape=(inputs, 3 * width), initializer="glorot_uniform", name="kernel")
        self.recurrent = self.add_weight(shape=(width, 3 * width), initializer="orthogonal", name="recurrent")
        self.bias = self.add_weight(shape=(3 * width,), initializer="zeros", name="bias")
        self.reset_bias = self.add_weight(shape=(width,), initializer="zeros", name="reset_bias")
        self.built = True

    def driven(self, seen: Tensor) -> Tensor:
        """s W + w of inputs (…, m): (…, 3H)."""
        return ops.matmul(seen, self.kernel) + self.bias

    def step(self, state: Tensor, driven: Tensor) -> Tensor:
        """The state (n, H) behind one more input, from what :meth:`driven` gives of it (n, 3H)."""
        hidden = ops.matmul(state, self.recurrent)
        gates = ops.sigmoid(driven[:, : 2 * self.width] + hidden[:, : 2 * self.width])
        update, reset = ops.split(gates, 2, axis=-1)
        candidate = driven[:, 2 * self.width :] + reset * (hidden[:, 2 * self.width :] + self.reset_bias)
        return update * state + (1.0 - update) * tanh(candidate)

    def states(self, driven: Tensor, first: Tensor) -> Tensor:
        """All states (n, D, H), from ``driven`` (n, D, 3H) and the state before them (n, H)."""

        def step(state: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
            state = self.step(state, given)
            return state, state

        _, states = ops.scan(step, first, ops.transpose(driven, (1, 0, 2)))
        return ops.transpose(states, (1, 0, 2))


class LastState(keras.layers.Layer):
    """The state behind a whole sequence (n, D, m) -> (n, H): what a recurrent encoder keeps of it.

    Args:
        inputs: m.
        width: H.
    """

    def __init__(self, inputs: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrence = GatedRecurrence(inputs, width, name="recurrence")
        self.built = True

    def call(self, seen: Tensor) -> Tensor:
        """(n, D, m) -> (n, H)."""
        driven = self.recurrence.driven(seen)
        first = ops.zeros_like(driven[:, 0, : self.recurrence.width])
        return self.recurrence.states(driven, first)[:, -1]

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, H)."""
        return shape[0], self.recurrence.width


class RecurrentDecoder(keras.layers.Layer):
    """The outputs for each value x_d given x_<d and z: h_d behind s_(d-1), times a matrix.

    z sets the state before the first value, and is an input beside each. A decoder that sees all values before needs z
    little, and training may leave z unused: the posterior then collapses to the prior, and the model is a language
    model without latents (Bowman et al. 2016, section 3). In training, ``symbol_dropout`` hides values before from it.

    Args:
        latents: numbers of z.
        inputs: m.
        width: H.
        outputs: numbers that describe the distribution of a value.
        symbol_dropout: share of the values that are hidden in training, as zeros.
        dropout: share of h that is left out in training.
        seed_generator: gives the model's own.
    """

    def __init__(
        self,
        latents: int,
        inputs: int,
        width: int,
        outputs: int,
        symbol_dropout: float,
        dropout: float,
        seed_generator: SeedOf,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rates = symbol_dropout, dropout
        self.seed_generator = seed_generator
        self.recurrence = GatedRecurrence(inputs, width, name="recurrence")
        self.first = keras.layers.Dense(width, name="first")
        self.beside = keras.layers.Dense(3 * width, use_bias=False, name="beside")
        self.last = keras.layers.Dense(outputs, use_bias=False, name="last")
        for layer, size in ((self.first, latents), (self.beside, latents), (self.last, width)):
            layer.build((None, size))
        self.built = True

    def begin(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The state before the first value (n, H), and what z drives each step with (n, 3H)."""
        return tanh(self.first(z)), self.beside(z)

    def call(self, z: Tensor, seen: Tensor, training: bool = False) -> Tensor:
        """All outputs (n, D, outputs) at once, from z (n, latents) and s (n, D, m)."""
        symbol_dropout, dropout = self.rates
        before = ops.concatenate([ops.zeros_like(seen[:, :1]), seen[:, :-1]], axis=1)
        if training and symbol_dropout:
            drawn = keras.random.uniform(ops.shape(before)[:2], dtype=before.dtype, seed=self.seed_generator())
            before = before * ops.cast(drawn >= symbol_dropout, before.dtype)[..., None]
        first, beside = self.begin(z)
        states = self.recurrence.states(self.recurrence.driven(before) + beside[:, None], first)
        if training and dropout:
            states = keras.random.dropout(states, dropout, seed=self.seed_generator())
        return self.last(states)
