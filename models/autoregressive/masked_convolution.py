"""Masked convolutions: what comes out at a pixel depends on the pixels before it alone.

Notation: pixels come row by row, and within a pixel its channels one after the other. Each channel of the image has a
group of the hidden channels: group g of a hidden layer may depend on all pixels before and, of the pixel itself, on
channels 0..g-1. A convolution of kind A keeps a group from its own channel, as the first layer has to; those of kind B
let it see its own group, which has seen no more than it may (van den Oord et al. 2016, figure 4).

A kernel of odd size s has s·r + r + 1 taps, r = (s - 1)/2: the r rows above the pixel, the r pixels to its left, and
the pixel itself. On a line, an image of height 1, it has the r + 1 of its row. With a dilation d, taps lie d pixels
apart.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.base.window import Window, pair
from models.layers.convolution import by_pixel
from models.layers.own_gradient import with_gradient


def taps(size: int | Window, dilation: int = 1) -> list[tuple[int, int]]:
    """Row and column of each tap in a window whose last row is the pixel's own, and whose middle column is its own."""
    (_, columns), (above, left) = pair(size), reach(size)
    found = [(i, j) for i in range(above) for j in range(columns)] + [(above, j) for j in range(left + 1)]
    return [(dilation * i, dilation * j) for i, j in found]


def reach(size: int | Window, dilation: int = 1) -> Window:
    """How many rows above a pixel, and columns beside it, its taps lie."""
    rows, columns = pair(size)
    return dilation * (rows // 2), dilation * (columns // 2)


def groups(channels: int, image_channels: int) -> npt.NDArray[np.int64]:
    """The channel of the image to which each of so many hidden channels belongs (channels,), in rising order."""
    return np.arange(channels) * image_channels // channels


class MaskedConvolution(keras.layers.Layer):
    """y[p] = Σ_t x[p + t] K[t] + b over the taps t, of the size of x, zero outside it.

    Args:
        kind: ``A`` or ``B``: whether the pixel's own tap keeps a group from itself.
        size: s, odd, or the rows and columns of the whole kernel.
        inputs: the group of each channel of x.
        outputs: the group of each channel of y.
        bias: whether there is one.
        kernel_initializer: a Keras initialiser's name, for the kernel as a matrix of all taps.
        dilation: pixels between neighbouring taps.
    """

    def __init__(
        self,
        kind: Literal["A", "B"],
        size: int | Window,
        inputs: npt.NDArray[np.int64],
        outputs: npt.NDArray[np.int64],
        bias: bool = True,
        kernel_initializer: str = "he_normal",
        dilation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.dilation = dilation
        self.taps = taps(size, dilation)
        self.reach = reach(size, dilation)
        self.has_bias = bias
        self.kernel_initializer = kernel_initializer
        own = inputs[:, None] < outputs if kind == "A" else inputs[:, None] <= outputs
        mask = np.ones((len(self.taps), len(inputs), len(outputs)), "float32")
        mask[-1] = own
        self.mask = mask.reshape(-1, len(outputs))

    def build(self, shape: BatchShape) -> None:
        """Create the kernel (taps·c, m) and the bias (m,)."""
        self.kernel = self.add_weight(shape=self.mask.shape, initializer=self.kernel_initializer, name="kernel")
        if self.has_bias:
            self.bias = self.add_weight(shape=self.mask.shape[1:], initializer="zeros", name="bias")
        self.built = True

    def matrix(self) -> Tensor:
        """The kernel, 0 where it is masked (taps·c, m)."""
        return self.kernel * ops.cast(self.mask, self.kernel.dtype)

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h, w, m)."""
        y = by_pixel(x if len(self.taps) == 1 else causal_patches(x, self.size, self.dilation), self.matrix())
        return y + self.bias if self.has_bias else y

    def at(self, window: Tensor) -> Tensor:
        """y at one pixel (n, m), from the window (n, r + 1, 2r + 1, c) that its taps lie in, r being the ``reach``.

        Of a single tap, from x at the pixel (n, c). The mask keeps what lies behind the pixel out: the window need not
        hold it yet.
        """
        if len(self.taps) > 1:
            window = ops.concatenate([window[:, i, j] for i, j in self.taps], axis=-1)
        y = ops.matmul(window, self.matrix())
        return y + self.bias if self.has_bias else y


def causal_patches(x: Tensor, size: int | Window, dilation: int = 1) -> Tensor:
    """The taps of each pixel side by side: (n, h, w, c) -> (n, h, w, taps·c).

    With a gradient of its own, the sum of the taps where they came from: automatic differentiation takes longer.
    """
    places, margins = taps(size, dilation), reach(size, dilation)
    return with_gradient(
        lambda x: _patches(x, places, margins), lambda of_patches, x: _added(of_patches, places, margins), x
    )


def _patches(x: Tensor, places: list[tuple[int, int]], margins: Window) -> Tensor:
    _, height, width, _ = x.shape
    above, r = margins
    padded = ops.pad(x, ((0, 0), (above, 0), (r, r), (0, 0)))
    return ops.concatenate([padded[:, i : i + height, j : j + width] for i, j in places], axis=-1)


def _added(patches: Tensor, places: list[tuple[int, int]], margins: Window) -> Tensor:
    """Each part of (n, h, w, taps·c) moved to where it was taken from, and added: (n, h, w, c)."""
    _, height, width, _ = patches.shape
    above, r = margins
    parts = ops.split(ops.pad(patches, ((0, 0), (0, above), (r, r), (0, 0))), len(places), axis=-1)
    moved = [
        part[:, above - i : above - i + height, 2 * r - j : 2 * r - j + width]
        for part, (i, j) in zip(parts, places, strict=True)
    ]
    return sum(moved[1:], moved[0])
