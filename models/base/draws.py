"""Random numbers that are those of Keras's own draws, by programs that XLA compiles far sooner.

JAX draws an array of several axes by a program that takes XLA a second to compile, and one of a single axis by one that
takes a quarter of it. The numbers do not depend on the axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from models.base.distributions import Tensor

SMALLEST = 256
"""Numbers drawn at least on JAX, where a draw is the beginning of any longer one from the same key."""


def standard_normal(shape: tuple[int, ...], dtype: str, seed: Any) -> Tensor:
    """What :func:`keras.random.normal` draws."""
    return ops.reshape(keras.random.normal((math.prod(shape),), dtype=dtype, seed=seed), shape)


class _Flat(keras.initializers.VarianceScaling):
    """Draws on one axis, and on JAX a power of two numbers, of which the first are taken: few programs serve all."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Weights of a shape whose last axes are inputs and outputs; of any other by Keras's own draw."""
        if len(shape) < 2 or self.input_axes is not None or self.output_axes is not None:
            return super().__call__(shape, dtype)
        size, field = math.prod(shape), math.prod(shape[:-2])
        fans = {"fan_in": field * shape[-2], "fan_avg": (field * shape[-2] + field * shape[-1]) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        on_jax = keras.backend.backend() == "jax"
        drawn = (max(SMALLEST, 1 << (size - 1).bit_length()) if on_jax else size,)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            numbers = keras.random.uniform(drawn, -limit, limit, dtype=dtype, seed=self.seed)
        else:
            # A standard normal variable cut at ±2 has this standard deviation.
            deviation = math.sqrt(variance) / 0.87962566103423978
            numbers = keras.random.truncated_normal(drawn, 0.0, deviation, dtype=dtype, seed=self.seed)
        return np.asarray(ops.convert_to_numpy(numbers))[:size].reshape(shape)

    def get_config(self) -> dict[str, Any]:
        """What makes another of its class."""
        known = super().get_config()
        return {name: value for name, value in known.items() if name not in ("scale", "mode", "distribution")}


class _HeNormal(_Flat):
    def __init__(self, seed: Any = None, **axes: Any) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed=seed, **axes)


class _LecunNormal(_Flat):
    def __init__(self, seed: Any = None, **axes: Any) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed=seed, **axes)


class _GlorotUniform(_Flat):
    def __init__(self, seed: Any = None, **axes: Any) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed=seed, **axes)


FLAT = {"he_normal": _HeNormal, "lecun_normal": _LecunNormal, "glorot_uniform": _GlorotUniform}
"""By the names of Keras's."""


@contextmanager
def flat_draws() -> Iterator[None]:
    """Have layers that are built in the block draw by these."""
    with keras.saving.custom_object_scope(FLAT):
        yield
