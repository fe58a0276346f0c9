"""Squeeze: trade resolution for channels."""

from __future__ import annotations

from typing import Any

from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.base.window import Window, pair
from models.bijections.base import Bijection, zeros_per_image


class Squeeze(Bijection):
    """Each pxp block of pixels becomes the channels of one (Dinh et al. 2017, section 3.6). Volume-preserving.

    On a line, an image of height 1, a block is 1xp: (n, 1, w, c) -> (n, 1, w/p, p·c).

    Args:
        size: p, or the rows and columns of a block.
    """

    def __init__(self, size: int | Window = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = pair(size)

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """(n, h, w, c) -> (n, h/p, w/p, p²·c)."""
        n, height, width, channels = shape
        rows, columns = self.size
        if height % rows or width % columns:
            of = "an even" if columns == 2 else "a"
            sides = "length" if rows == 1 else "height and width"
            needed = f"{of} {sides}" + ("" if columns == 2 else f" that {columns} divides")
            raise ValueError(f"squeeze needs {needed}, got {height}x{width}")
        return n, height // rows, width // columns, rows * columns * channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, h, w, c) -> (n, h/p, w/p, p²·c); log-determinant 0."""
        _, height, width, channels = x.shape
        rows, columns = self.size
        y = ops.reshape(x, (-1, height // rows, rows, width // columns, columns, channels))
        y = ops.transpose(y, (0, 1, 3, 5, 2, 4))  # (n, h/p, w/p, c, p, p)
        return ops.reshape(y, (-1, height // rows, width // columns, rows * columns * channels)), zeros_per_image(x)

    def inverse(self, y: Tensor) -> Tensor:
        """(n, h/p, w/p, p²·c) -> (n, h, w, c)."""
        _, height, width, channels = y.shape
        rows, columns = self.size
        x = ops.reshape(y, (-1, height, width, channels // (rows * columns), rows, columns))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))  # (n, h/p, p, w/p, p, c)
        return ops.reshape(x, (-1, rows * height, columns * width, channels // (rows * columns)))
