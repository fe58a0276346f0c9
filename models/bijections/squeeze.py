"""Squeeze: trade resolution for channels."""

from __future__ import annotations

from typing import Any

from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import Bijection, zeros_per_image


class Squeeze(Bijection):
    """Each pxp block of pixels becomes the channels of one (Dinh et al. 2017, section 3.6). Volume-preserving.

    Args:
        size: p.
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """(n, h, w, c) -> (n, h/p, w/p, p²·c)."""
        n, height, width, channels = shape
        p = self.size
        if height % p or width % p:
            needed = "an even height and width" if p == 2 else f"a height and width that {p} divides"
            raise ValueError(f"squeeze needs {needed}, got {height}x{width}")
        return n, height // p, width // p, p * p * channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, h, w, c) -> (n, h/p, w/p, p²·c); log-determinant 0."""
        _, height, width, channels = x.shape
        p = self.size
        y = ops.reshape(x, (-1, height // p, p, width // p, p, channels))
        y = ops.transpose(y, (0, 1, 3, 5, 2, 4))  # (n, h/p, w/p, c, p, p)
        return ops.reshape(y, (-1, height // p, width // p, p * p * channels)), zeros_per_image(x)

    def inverse(self, y: Tensor) -> Tensor:
        """(n, h/p, w/p, p²·c) -> (n, h, w, c)."""
        _, height, width, channels = y.shape
        p = self.size
        x = ops.reshape(y, (-1, height, width, channels // p**2, p, p))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))  # (n, h/p, p, w/p, p, c)
        return ops.reshape(x, (-1, p * height, p * width, channels // p**2))
