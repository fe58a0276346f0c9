"""Images that are halved, and halved again. This module imports no framework."""

from __future__ import annotations

from models.base.config import Shape


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Height and width after so many halvings, odd ones halved upwards."""
    height, width = size
    return -(-height // 2**times), -(-width // 2**times)


def check_halvings(downsamplings: int, image_shape: Shape) -> None:
    """Raise ValueError if so many halvings leave less than a pixel."""
    height, width, _ = image_shape
    if 2**downsamplings > min(height, width):
        raise ValueError(
            f"downsamplings={downsamplings} halves {height}x{width} images below one pixel: "
            f"at most {min(height, width).bit_length() - 1}"
        )
