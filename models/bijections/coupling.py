"""Coupling layers: half of the channels transform the other half."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor, sum_event
from models.bijections.base import Bijection, zeros_per_image
from models.layers.convolution import Convolution


class ZeroConvolution(keras.layers.Layer):
    """A 3x3 convolution that starts as zero, its output scaled by exp(3·s) per channel.

    It makes each coupling begin as the identity (Kingma & Dhariwal 2018, section 3.3); the learned scale s, zero
    at first, is of their published code.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = Convolution(channels, 3, kernel_initializer="zeros", name="convolution")

    def build(self, shape: BatchShape) -> None:
        """Create the convolution and the scale s (channels,)."""
        self.convolution.build(shape)
        self.log_scale = self.add_weight(shape=(self.convolution.filters,), initializer="zeros", name="log_scale")

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels)."""
        return self.convolution(x) * ops.exp(3.0 * self.log_scale)


class CouplingNetwork(keras.layers.Layer):
    """Convolutions 3x3, 1x1, 3x3 with ReLU between, the last one zero at first (their section 3.3)."""

    def __init__(self, hidden_channels: int, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages: list[Any] = [
            Convolution(hidden_channels, 3, activation="relu", name="first"),
            Convolution(hidden_channels, 1, activation="relu", name="second"),
            ZeroConvolution(channels, name="last"),
        ]

    def build(self, shape: BatchShape) -> None:
        """Build the three stages."""
        for stage in self.stages:
            stage.build(shape)
            shape = (*shape[:-1], self.stages[0].filters)
        self.built = True

    def redraw(self) -> None:
        """Draw the weights that begin at random again: the kernels of all but the last stage."""
        for stage in self.stages[:-1]:
            stage.redraw()

    def call(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels); ``keep`` (n, 1, 1, hidden channels) multiplies the last hidden layer."""
        *hidden, last = self.stages
        for stage in hidden:
            x = stage(x)
        return last(x if keep is None else x * keep)


class Coupling(Bijection):
    """x = (a, b) by channels; y = (a, scale(a)·(b + shift(a))) (Kingma & Dhariwal 2018, table 1, last row).

    ``affine`` has scale = sigmoid(r + 2) for the network's output r, which is bounded and begins near 1; its
    log-determinant is Σ log sigmoid(r + 2). ``additive`` has scale 1 and log-determinant 0 (Dinh et al. 2015).

    Args:
        kind: ``affine`` or ``additive``.
        hidden_channels: width of the network.
    """

    def __init__(self, kind: str, hidden_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.affine = kind == "affine"
        self.hidden_channels = hidden_channels

    def build(self, shape: BatchShape) -> None:
        """Create the network for c - ⌊c/2⌋ transformed channels."""
        channels = shape[-1]
        if channels < 2:
            raise ValueError(f"a coupling needs at least 2 channels, got {channels}")
        self.kept = channels // 2
        changed = channels - self.kept
        outputs = 2 * changed if self.affine else changed
        self.network = CouplingNetwork(self.hidden_channels, outputs, name="network")
        self.network.build((*shape[:-1], self.kept))
        self.built = True

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def _shift_and_log_scale(self, a: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outputs = self.network(a, keep)
        if not self.affine:
            return outputs, ops.zeros_like(outputs)
        shift, raw = ops.split(outputs, 2, axis=-1)
        return shift, ops.log_sigmoid(raw + 2.0)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(a, b) -> (a, scale·(b + shift)); with dropout in the network where a ``keep`` is given."""
        a, b = x[..., : self.kept], x[..., self.kept :]
        shift, log_scale = self._shift_and_log_scale(a, keep)
        y = ops.concatenate([a, (b + shift) * ops.exp(log_scale)], axis=-1)
        return y, sum_event(log_scale) if self.affine else zeros_per_image(x)

    def inverse(self, y: Tensor) -> Tensor:
        """(a, b) -> (a, b/scale - shift)."""
        a, b = y[..., : self.kept], y[..., self.kept :]
        shift, log_scale = self._shift_and_log_scale(a)
        return ops.concatenate([a, b * ops.exp(-log_scale) - shift], axis=-1)
