"""A data set of one's own: stripes, of which half the images stand upright."""

import numpy as np
from reparam_bench import register_dataset


@register_dataset("stripes", source="drawn by a program, in the public domain", grey_levels=4)
def stripes() -> dict[str, np.ndarray]:
    """120 images of 4x4 pixels in 4 grey levels, with labels for the way they lie."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4, (120, 4, 1)) * np.ones((1, 1, 4), int)
    upright = np.arange(120) % 2
    images[upright == 1] = images[upright == 1].transpose(0, 2, 1)
    return {"images": images.astype(np.uint8), "labels": upright}
