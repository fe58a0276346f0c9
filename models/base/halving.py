"""Images that are halved, and halved again; of lines, which are of height 1, the length alone.

This module imports no framework.
"""

from __future__ import annotations

from models.base.config import Shape


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Height and width after so many halvings, odd ones halved upwards."""
    height, width = size
    return -(-height // 2**times), -(-width // 2**times)


def check_halvings(downsamplings: int, image_shape: Shape) -> None:
    """Raise ValueError if so many halvings leave less than a pixel."""
    height, width, _ = image_shape
    least = width if height == 1 else min(height, width)
    if 2**downsamplings > least:
        raise ValueError(
            f"downsamplings={downsamplings} halves {height}x{width} images below one pixel: "
            f"at most {least.bit_length() - 1}"
        )
