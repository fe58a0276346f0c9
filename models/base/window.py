"""Windows of images: squares, or a single row of pixels where an image is a line. This module imports no framework.

A sequence is an image of height 1, (1, length, channels). What acts on squares of an image, be it a convolution's
kernel, a block that is squeezed or a patch, acts on its length alone.
"""

from __future__ import annotations

from models.base.config import Shape

Window = tuple[int, int]
"""Rows and columns."""


def window(size: int, image_shape: Shape) -> Window:
    """The rows and columns of a window so many pixels wide, in images of this shape.

    It is the shape of the *images* that decides, whatever resolution the window is used at: an image of 4x4 that is
    halved twice has one row left, and is no line.
    """
    return (1 if image_shape[0] == 1 else size), size


def pair(size: int | Window) -> Window:
    """Rows and columns, of a square where a single number is given."""
    return (size, size) if isinstance(size, int) else size
