"""Sample quality: how far samples are from held-out images, and how far real images are from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import polynomial_kernel

from bench.data.dataset import Images
from bench.errors import SettingsError
from bench.results import Measurement

Array = npt.NDArray[np.float64]

SMALLEST_SET = 50
"""With fewer images in either set the estimate is noise, and is refused."""
LARGEST_SET = 2000
"""Images used of each set: the kernel matrices grow with its square."""
GROUPS = 10
"""Groups of the jackknife."""


def kernel_distance(x: Array, y: Array) -> tuple[float, float]:
    """Unbiased squared MMD of two sets of features under the kernel (x·y/d + 1)³, and its standard error.

    MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over distinct pairs (Gretton et al. 2012, eq. 3), with the
    kernel of the Kernel Inception Distance (Bińkowski et al. 2018). It can be negative when the sets are equal in
    law. The standard error is a delete-a-group jackknife over ten groups of both sets (Shao & Tu 1995, section 5.1).

    Args:
        x: features (m, d).
        y: features (n, d).

    Raises:
        SettingsError: a set has fewer than 50 members.
    """
    if min(len(x), len(y)) < SMALLEST_SET:
        raise SettingsError(
            f"sample quality needs at least {SMALLEST_SET} images in each set, got {len(x)} and {len(y)}"
        )
    within_x, within_y, between = (polynomial_kernel(*pair, degree=3, coef0=1) for pair in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)

    def distance(keep_x: npt.NDArray[np.bool_], keep_y: npt.NDArray[np.bool_]) -> float:
        m, n = keep_x.sum(), keep_y.sum()
        xx = keep_x @ within_x @ keep_x / (m * (m - 1))
        yy = keep_y @ within_y @ keep_y / (n * (n - 1))
        return float(xx + yy - 2 * (keep_x @ between @ keep_y) / (m * n))

    everything = distance(np.ones(len(x), dtype=bool), np.ones(len(y), dtype=bool))
    left_out = [
        distance(np.arange(len(x)) % GROUPS != group, np.arange(len(y)) % GROUPS != group) for group in range(GROUPS)
    ]
    error = float(np.sqrt((GROUPS - 1) / GROUPS * np.var(left_out) * GROUPS))
    return everything, error


def pixel_features(images: Images, grey_levels: int) -> Array:
    """Pixels as features in [0, 1]: (n, D)."""
    return np.asarray(images, dtype=np.float64).reshape(len(images), -1) / (grey_levels - 1)


def sample_quality(samples: Images, held_out: Images, train: Images, grey_levels: int) -> list[Measurement]:
    """Pixel KID of samples against held-out images, and its floor: that of as many training images.

    Args:
        samples: images drawn from the model, in random order.
        held_out: images that the model was not trained on.
        train: training images, in random order.
        grey_levels: Q.
    """
    n = min(len(samples), len(held_out), len(train), LARGEST_SET)
    reference = pixel_features(held_out[:n], grey_levels)
    rows = []
    for metric, images in (("pixel_kid", samples), ("pixel_kid_floor", train)):
        value, error = kernel_distance(pixel_features(images[:n], grey_levels), reference)
        rows.append(Measurement("quality", metric, value, error, n))
    return rows
