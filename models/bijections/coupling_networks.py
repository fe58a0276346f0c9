"""The networks of couplings: from the values that stay, the parameters of the map of those that move.

Each begins with outputs 0, takes (n, h, w, c) to (n, h, w, channels), and leaves out some of its last hidden channels
where it is given a ``keep`` (n, 1, 1, hidden channels) to multiply them by: dropout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.base.window import Window
from models.layers.convolution import Convolution
from models.layers.gated_block import GatedBlock, concat_elu


class ZeroConvolution(keras.layers.Layer):
    """A 3x3 convolution, 1x3 on a line, that starts as zero, its output scaled by exp(3·s) per channel.

    It makes each coupling begin as the identity (Kingma & Dhariwal 2018, section 3.3); the learned scale s, zero
    at first, is of their published code.
    """

    def __init__(self, channels: int, size: Window = (3, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = Convolution(channels, size, kernel_initializer="zeros", name="convolution")

    def build(self, shape: BatchShape) -> None:
        """Create the convolution and the scale s (channels,)."""
        self.convolution.build(shape)
        self.log_scale = self.add_weight(shape=(self.convolution.filters,), initializer="zeros", name="log_scale")

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels)."""
        return self.convolution(x) * ops.exp(3.0 * self.log_scale)


class ConditionerNetwork(keras.layers.Layer):
    """Stages one after the other, the last one zero at first."""

    stages: list[Any]

    @abstractmethod
    def build(self, shape: BatchShape) -> None:
        """Build the stages."""

    def redraw(self) -> None:
        """Draw the weights that begin at random again: those of all but the last stage."""
        for stage in self.stages[:-1]:
            stage.redraw()

    @abstractmethod
    def call(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels)."""


class CouplingNetwork(ConditionerNetwork):
    """Glow's own: convolutions 3x3, 1x1, 3x3 with ReLU between (Kingma & Dhariwal 2018, section 3.3).

    Args:
        hidden_channels: width.
        channels: of its outputs.
        size: of the first kernel and of the last.
    """

    def __init__(self, hidden_channels: int, channels: int, size: Window = (3, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages = [
            Convolution(hidden_channels, size, activation="relu", name="first"),
            Convolution(hidden_channels, 1, activation="relu", name="second"),
            ZeroConvolution(channels, size, name="last"),
        ]

    def build(self, shape: BatchShape) -> None:
        """Build the three stages."""
        for stage in self.stages:
            stage.build(shape)
            shape = (*shape[:-1], self.stages[0].filters)
        self.built = True

    def call(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels)."""
        *hidden, last = self.stages
        for stage in hidden:
            x = stage(x)
        return last(x if keep is None else x * keep)


class ResidualNetwork(ConditionerNetwork):
    """A 3x3 convolution, gated residual blocks, a concat-ELU and a 3x3 convolution (Lippe 2022, tutorial 11).

    Args:
        hidden_channels: width.
        blocks: number of blocks.
        channels: of its outputs.
        size: of the kernels.
    """

    def __init__(self, hidden_channels: int, blocks: int, channels: int, size: Window = (3, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages = [
            Convolution(hidden_channels, size, kernel_initializer="lecun_normal", name="first"),
            *(GatedBlock(hidden_channels, size, name=f"block_{i}") for i in range(blocks)),
            Convolution(channels, size, kernel_initializer="zeros", name="last"),
        ]

    def build(self, shape: BatchShape) -> None:
        """Build the stages."""
        first, *blocks, last = self.stages
        first.build(shape)
        for block in blocks:
            block.build((*shape[:-1], first.filters))
        last.build((*shape[:-1], 2 * first.filters))
        self.built = True

    def call(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h, w, channels)."""
        *hidden, last = self.stages
        for stage in hidden:
            x = stage(x)
        return last(concat_elu(x if keep is None else x * keep))


NetworkOf = Callable[[int], ConditionerNetwork]
"""Makes a network with so many output channels."""


def network_of(kind: str, hidden_channels: int, blocks: int, size: Window = (3, 3)) -> NetworkOf:
    """What makes a network by name: ``convolutional`` or ``residual``, the latter with so many blocks.

    ``size`` is that of the kernels that see a pixel's neighbours.
    """
    if kind == "convolutional":
        return lambda channels: CouplingNetwork(hidden_channels, channels, size)
    return lambda channels: ResidualNetwork(hidden_channels, blocks, channels, size)
