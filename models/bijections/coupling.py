"""Coupling layers: some values stay, and say how the others are moved."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor, sum_event
from models.bijections.base import current, in_pieces
from models.bijections.coupling_networks import NetworkOf
from models.bijections.elementwise import Elementwise
from models.bijections.repeated import Step


class Coupling(Step):
    """x = (a, b) by channels; y = (a, g(b; θ(a))) (Kingma & Dhariwal 2018, table 1, last row).

    The log-determinant is the sum of log ∂g/∂b.

    Args:
        elementwise: g.
        network_of: makes the network θ.
    """

    def __init__(self, elementwise: Elementwise, network_of: NetworkOf, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.elementwise = elementwise
        self.network_of = network_of

    @property
    def groups(self) -> dict[str, list[keras.Variable]]:
        """The network's weights."""
        return {"coupling": self.trainable_weights}

    def build(self, shape: BatchShape) -> None:
        """Create the network for c - ⌊c/2⌋ transformed channels."""
        channels = shape[-1]
        if channels < 2:
            raise ValueError(f"a coupling needs at least 2 channels, got {channels}")
        self.kept = channels // 2
        self.network = self.network_of(self.elementwise.parameters * (channels - self.kept))
        self.network.build((*shape[:-1], self.kept))
        self.built = True

    def redraw(self) -> None:
        """Become the coupling of another step: its network drawn again."""
        self.network.redraw()

    def transform(
        self, x: Tensor, prepared: Sequence[Tensor] = (), keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(a, b) -> (a, g(b; θ(a))); with dropout in the network where a ``keep`` is given."""
        a, b = x[..., : self.kept], x[..., self.kept :]
        moved, log_slope = self.elementwise.forward(b, self.network(a, keep))
        return ops.concatenate([a, moved], axis=-1), sum_event(log_slope)

    def initialise(self, x: Tensor) -> Tensor:
        """y = f(x), in pieces: the network takes many times the memory of the images that it is initialised on."""
        return in_pieces(lambda piece: self.forward(piece)[0], x)

    def inverse(self, y: Tensor) -> Tensor:
        """(a, b) -> (a, g⁻¹(b; θ(a)))."""
        a, b = y[..., : self.kept], y[..., self.kept :]
        return ops.concatenate([a, self.elementwise.inverse(b, self.network(a))], axis=-1)


class MaskedCoupling(Coupling):
    """Some values stay in their places, and move the others (Dinh et al. 2017, section 3.4).

    With m = 1 at values that stay and 0 elsewhere, y = m·x + (1 - m)·g(x; θ(m·x)), for images of any size and any
    number of channels. The log-determinant is the sum of log ∂g/∂x over the values that move.
    """

    @abstractmethod
    def stays(self) -> Tensor:
        """Whether each value stays: booleans that broadcast to (h, w, c)."""

    def build(self, shape: BatchShape) -> None:
        """Create the network for all channels."""
        self.network = self.network_of(self.elementwise.parameters * shape[-1])
        self.network.build(shape)
        self.built = True

    def transform(
        self, x: Tensor, prepared: Sequence[Tensor] = (), keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Move the values that do not stay; with dropout in the network where a ``keep`` is given."""
        stays = self.stays()
        moved, log_slope = self.elementwise.forward(x, self.network(ops.where(stays, x, 0.0), keep))
        return ops.where(stays, x, moved), sum_event(ops.where(stays, 0.0, log_slope))

    def inverse(self, y: Tensor) -> Tensor:
        """Move them back."""
        stays = self.stays()
        return ops.where(stays, y, self.elementwise.inverse(y, self.network(ops.where(stays, y, 0.0))))


class CheckerboardCoupling(MaskedCoupling):
    """The pixels of one colour of a checkerboard stay.

    They are those whose row and column add up to an even number, or to an odd one: the two take turns from step to
    step.
    """

    @property
    def groups(self) -> dict[str, list[keras.Variable]]:
        """The network's weights, and apart the parity, which is not trained."""
        return {**super().groups, "parity": self.non_trainable_weights}

    def build(self, shape: BatchShape) -> None:
        """Create the network for all channels, and the parity (): 0 where the pixels of an even sum stay."""
        _, height, width, _ = shape
        self.sums = np.add.outer(np.arange(height), np.arange(width))[:, :, None] % 2
        super().build(shape)
        self.parity = self.add_weight(shape=(), initializer="zeros", trainable=False, name="parity")

    def redraw(self) -> None:
        """Become the coupling of the next step: its network drawn again, the other pixels staying."""
        super().redraw()
        self.parity.assign(1.0 - self.parity)

    def stays(self) -> Tensor:
        """Whether each pixel stays (h, w, 1)."""
        parity = current(self.parity)
        return ops.equal(ops.cast(self.sums, parity.dtype), parity)
