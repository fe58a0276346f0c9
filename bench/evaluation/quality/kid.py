"""The kernel distance between two sets of features."""

from __future__ import annotations

import numpy as np

from bench.evaluation.quality.estimate import Array, Estimate, Mask, check_features, group_jackknife


def kernel_distance(x: Array, y: Array) -> Estimate:
    """Unbiased squared MMD of two sets of features under the kernel (x·y/d + 1)³, and its standard error.

    MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over distinct pairs (Gretton et al. 2012, eq. 3), with the
    kernel of the Kernel Inception Distance (Bińkowski et al. 2018). It can be negative when the sets are equal in
    law. The standard error is a delete-a-group jackknife over ten groups of both sets (Shao & Tu 1995, section 5.1).
    Time and memory grow with the square of the sets.

    Args:
        x: features (m, d), in random order.
        y: features (n, d), in random order.

    Raises:
        SettingsError: a set has fewer than 50 members.
    """
    check_features(x, y)
    within_x, within_y, between = (_kernel(*pair) for pair in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)

    def distance(keep_x: Mask, keep_y: Mask) -> float:
        m, n = keep_x.sum(), keep_y.sum()
        xx = keep_x @ within_x @ keep_x / (m * (m - 1))
        yy = keep_y @ within_y @ keep_y / (n * (n - 1))
        return float(xx + yy - 2 * (keep_x @ between @ keep_y) / (m * n))

    everything = distance(np.ones(len(x), dtype=bool), np.ones(len(y), dtype=bool))
    return Estimate(everything, group_jackknife(len(x), len(y), distance))


def _kernel(x: Array, y: Array) -> Array:
    """(x·y/d + 1)³ of all pairs, (m, d) and (n, d) -> (m, n)."""
    products = x @ y.T
    products *= 1.0 / x.shape[1]
    products += 1.0
    products **= 3
    return products
