"""Grids of images as PNG files, and the pictures of a run, which are such grids."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.evaluation.broken_samples import broken

TARGET_WIDTH = 640
"""Width in pixels to which a grid of small images is enlarged, by an integer factor."""
MOST_HEIGHT = 4 * TARGET_WIDTH
"""Height in pixels beyond which it is not enlarged: a grid of narrow images would be a picture of any height."""
CROSS, BEHIND_CROSS = (0.8, 0.0, 0.0), (0.95, 0.9, 0.9)
"""Colours of a tile whose image is none: a red cross on a pale ground."""


@dataclass(frozen=True)
class Picture:
    """A grid of images with its caption."""

    kind: str
    caption: str
    png: bytes = field(repr=False)


def image_grid(images: npt.NDArray[np.generic], grey_levels: int, columns: int) -> bytes:
    """PNG of a grid of images (n, h, w, c) in 0..grey_levels-1, row by row; grey fills an incomplete last row.

    One-channel images are grey, three-channel ones colour; other images show their first channel. An image with a value
    that is no grey level, see :mod:`bench.evaluation.broken_samples`, is crossed out.
    """
    _, height, width, channels = images.shape
    pixels = np.asarray(images, dtype=np.float64) / (grey_levels - 1)
    pixels = pixels if channels == 3 else pixels[..., :1]
    lost = broken(images, grey_levels)
    if lost.any():
        pixels = np.where(lost[:, None, None, None], _cross(height, width), pixels)
    rows = -(-len(pixels) // columns)
    canvas = np.full((rows * columns, height + 1, width + 1, pixels.shape[-1]), 0.5)
    canvas[: len(pixels), :height, :width] = pixels
    canvas = canvas.reshape(rows, columns, height + 1, width + 1, -1).swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + 1), columns * (width + 1), -1)[:-1, :-1]
    values = np.round(canvas * 255).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    factor = max(1, min(TARGET_WIDTH // picture.width, MOST_HEIGHT // picture.height))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _cross(height: int, width: int) -> npt.NDArray[np.float64]:
    """Both diagonals of a tile (h, w, 3)."""
    row, column = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    near = 0.5 / max(1, min(height, width) - 1)
    diagonal = (np.abs(row - column) <= near) | (np.abs(row + column - 1) <= near)
    return np.where(diagonal[..., None], CROSS, BEHIND_CROSS)
