"""Couplings of tokens: which values of an image's tokens stay, by channels or by tokens."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import current
from models.bijections.coupling import MaskedCoupling
from models.bijections.coupling_networks import NetworkOf
from models.bijections.elementwise import Affine
from models.jet.config import JetConfig, splits

LARGEST_SCALE = 2.0
"""Of a coupling, which begins at half of it, 1 (Kolesnikov et al. 2024, section 3)."""
Mask = npt.NDArray[np.bool_]


def tokens_that_stay(kind: str, height: int, width: int) -> Mask:
    """Every second token (height, width), by a checkerboard, rows or columns: the first of them stays."""
    rows, columns = np.indices((height, width))
    of_kind = {"checkerboard": rows + columns, "rows": rows, "columns": columns}[kind]
    return np.asarray(of_kind % 2 == 0)


def random_half(channels: int) -> Mask:
    """⌊c/2⌋ of c channels (c,), drawn from the seed that ``keras.utils.set_random_seed`` set."""
    drawn = keras.initializers.RandomUniform()((channels,), dtype="float32")
    order = np.argsort(ops.convert_to_numpy(drawn))
    return np.isin(np.arange(channels), order[: channels // 2])


class TokenCoupling(MaskedCoupling):
    """An affine coupling of tokens (n, height, width, values), y = 2·sigmoid(r)·(x + b) for the values that move.

    The network sees the values that stay in their places, and zeros elsewhere. Couplings take turns: some keep a random
    half of the channels of every token, then one keeps every second token, and the next of these the others.

    Deviations from the paper: its network gets the values that stay side by side, without the zeros, which needs an
    even number of tokens; a coupling that splits tokens lets each of them see its own place here, and there that of
    another.

    Args:
        config: what takes turns.
        network_of: makes the network θ.
    """

    def __init__(self, config: JetConfig, network_of: NetworkOf, **kwargs: Any) -> None:
        super().__init__(Affine(largest=LARGEST_SCALE, offset=0.0), network_of, **kwargs)
        self.config = config
        self.number = 0

    @property
    def groups(self) -> dict[str, list[keras.Variable]]:
        """The network's weights, and apart the mask, which is not trained."""
        return {**super().groups, "mask": self.non_trainable_weights}

    def build(self, shape: BatchShape) -> None:
        """Create the network, and the mask (height, width, values): 1 where a value stays."""
        super().build(shape)
        self.mask = self.add_weight(shape=shape[1:], initializer="zeros", trainable=False, name="mask")
        self._draw_mask()

    def redraw(self) -> None:
        """Become the next coupling: its network drawn again, other values staying."""
        super().redraw()
        self.number += 1
        self._draw_mask()

    def _draw_mask(self) -> None:
        height, width, values = self.mask.shape
        turns, turn = divmod(self.number, self.config.channel_couplings + 1)
        if self.config.patch_split == "none" or turn < self.config.channel_couplings:
            stays = random_half(values)
        else:
            kinds = splits(self.config.patch_split, height)
            kept = tokens_that_stay(kinds[turns // 2 % len(kinds)], height, width)
            stays = (kept if turns % 2 == 0 else ~kept)[:, :, None]
        self.mask.assign(np.broadcast_to(stays, self.mask.shape))

    def stays(self) -> Tensor:
        """Whether each value stays (height, width, values)."""
        return current(self.mask) > 0.5
