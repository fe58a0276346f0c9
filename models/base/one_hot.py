"""Symbols as a network's inputs."""

from __future__ import annotations

from keras import ops

from models.base.distributions import Tensor


def one_hot(x: Tensor, symbols: int, dtype: str) -> Tensor:
    """Integers (..., c) of 0..Q-1 -> (..., c·Q): for each, 1 in the place of its symbol and 0 elsewhere.

    A layer that multiplies them by a matrix looks up a trained vector of each symbol: an embedding.
    """
    places = ops.one_hot(ops.cast(x, "int32"), symbols, dtype=dtype)
    return ops.reshape(places, (-1, *x.shape[1:-1], x.shape[-1] * symbols))
