"""The contract of a bijection, and the composition of several."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor

Values = Callable[[keras.Variable], Tensor]
"""Gives the value that a weight is to have; or K values of it at once, stacked before its own axes: (K, …)."""


def current(weight: keras.Variable) -> Tensor:
    """The value that the weight has: the usual :data:`Values`."""
    return ops.convert_to_tensor(weight)


PIECE = 64 * 32 * 32
"""Positions that a map which needs much memory takes at a time, where all of many images are mapped: those of a usual
batch of 32x32 images."""


class Bijection(keras.layers.Layer):
    """An invertible map y = f(x) of images (n, h, w, c), with log |det ∂f/∂x| per image.

    Subclasses give ``forward`` and ``inverse``; ``initialise`` where weights depend on data. The same conformance
    tests run on every bijection: round trip, and log-determinant against the Jacobian of automatic differentiation.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (n, h, w, c) to y and give log |det ∂y/∂x| (n,)."""
        raise NotImplementedError

    def inverse(self, y: Tensor) -> Tensor:
        """Map y back to x, exactly up to rounding."""
        raise NotImplementedError

    def initialise(self, x: Tensor) -> Tensor:
        """Set the weights that depend on data from the batch x, and return y = f(x) for the next layer."""
        return self.forward(x)[0]

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keras's name for :meth:`forward`."""
        return self.forward(x)


def zeros_per_image(x: Tensor) -> Tensor:
    """Log-determinant of a volume-preserving map: zeros (n,), in the type of x."""
    return ops.zeros_like(x[:, 0, 0, 0])


def in_pieces(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function`` of images x (n, h, w, c), to as many of the same shape, a piece of them after the other.

    What ``function`` needs on its way is needed for one piece at a time, of at most :data:`PIECE` positions, or of one
    image. n must be known, and ``function`` must treat each image by itself.
    """
    n, *image_shape = x.shape
    pieces = math.ceil(n / max(1, PIECE // math.prod(image_shape[:2])))
    if pieces <= 1:
        return function(x)
    size = math.ceil(n / pieces)
    # The last piece is filled up with zeros, whose results are left out.
    filled = ops.pad(x, ((0, pieces * size - n), (0, 0), (0, 0), (0, 0)))

    def step(k: Tensor, images: Tensor) -> Tensor:
        zero = ops.zeros_like(k)
        begin = (k * size, zero, zero, zero)
        # Read from what the step before has written: TensorFlow would otherwise compute several pieces at a time.
        piece = ops.slice(images, begin, (size, *image_shape))
        return ops.slice_update(images, begin, function(piece))

    return ops.fori_loop(ops.zeros((), dtype="int32"), pieces, step, filled)[:n]


class Chain(Bijection):
    """The composition f_m ∘ … ∘ f_1 of bijections: its log-determinant is the sum of theirs."""

    def __init__(self, bijections: list[Bijection], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bijections = bijections

    def build(self, shape: BatchShape) -> None:
        """Build each in turn, following the shapes from one to the next."""
        for bijection in self.bijections:
            bijection.build(shape)
            shape = bijection.compute_output_shape(shape)
        self.built = True

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Shape of y for x of ``shape``."""
        for bijection in self.bijections:
            shape = bijection.compute_output_shape(shape)
        return shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the bijections first to last."""
        log_det = zeros_per_image(x)
        for bijection in self.bijections:
            x, step_log_det = bijection(x)
            log_det = log_det + step_log_det
        return x, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """Undo the bijections last to first."""
        for bijection in reversed(self.bijections):
            y = bijection.inverse(y)
        return y

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise each on what the ones before it make of x."""
        for bijection in self.bijections:
            x = bijection.initialise(x)
        return x
