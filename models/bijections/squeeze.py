"""Squeeze: trade resolution for channels."""

from __future__ import annotations

from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import Bijection, zeros_per_image


class Squeeze(Bijection):
    """Each 2x2 block of pixels becomes the channels of one (Dinh et al. 2017, section 3.6). Volume-preserving."""

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """(n, h, w, c) -> (n, h/2, w/2, 4c)."""
        n, height, width, channels = shape
        if height % 2 or width % 2:
            raise ValueError(f"squeeze needs an even height and width, got {height}x{width}")
        return n, height // 2, width // 2, 4 * channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, h, w, c) -> (n, h/2, w/2, 4c); log-determinant 0."""
        _, height, width, channels = x.shape
        y = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        y = ops.transpose(y, (0, 1, 3, 5, 2, 4))  # (n, h/2, w/2, c, 2, 2)
        return ops.reshape(y, (-1, height // 2, width // 2, 4 * channels)), zeros_per_image(x)

    def inverse(self, y: Tensor) -> Tensor:
        """(n, h/2, w/2, 4c) -> (n, h, w, c)."""
        _, height, width, channels = y.shape
        x = ops.reshape(y, (-1, height, width, channels // 4, 2, 2))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))  # (n, h/2, 2, w/2, 2, c)
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))
