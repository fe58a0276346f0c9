"""Grids of images: every pixel is where it belongs, whatever the images' size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.evaluation.image_grid import image_grid


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 64), (64, 1), (1, 1), (5, 7)])
@pytest.mark.parametrize(("n", "columns"), [(8, 8), (8, 1), (5, 2)])
def test_images_of_any_size_lie_side_by_side(height, width, channels, n, columns):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    picture = Image.open(io.BytesIO(image_grid(images, 256, columns)))
    rows = -(-n // columns)
    high, wide = rows * (height + 1) - 1, columns * (width + 1) - 1
    assert picture.mode == ("RGB" if channels == 3 else "L")
    factor = max(1, min(640 // wide, 2560 // high))
    assert picture.size == (wide * factor, high * factor)
    pixels = np.asarray(picture)[::factor, ::factor].reshape(high, wide, channels)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        np.testing.assert_array_equal(pixels[top : top + height, left : left + width], image)
