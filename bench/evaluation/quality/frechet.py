"""The Fréchet distance between two sets of features, and its extrapolation to infinitely many images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.evaluation.quality.estimate import Array, Estimate, Mask, check_features, group_jackknife

SIZES = 8
"""Number of subset sizes through which the extrapolation fits its line."""
MOST_JACKKNIFED = 512
"""Largest number of features for which a standard error is computed: its time grows with their cube."""
_SEED = 2020


def _distance(x: Array, y: Array) -> float:
    """||m - m'||² + tr S + tr S' - 2 tr (S S')^½.

    With the triangles R, R' of the QR decompositions of the centred features, S = R'R / (n - 1), and tr (S S')^½ is
    the sum of the singular values of R R'ᵀ. No covariance is formed, squared or inverted: nearly singular ones lose no
    precision, and there is no square root of a negative rounding error.
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    x_root, y_root = (
        np.linalg.qr(points - mean, mode="r") / np.sqrt(len(points) - 1) for points, mean in ((x, mean_x), (y, mean_y))
    )
    overlap = np.linalg.norm(x_root @ y_root.T, "nuc")
    return float(np.sum((mean_x - mean_y) ** 2) + np.sum(x_root**2) + np.sum(y_root**2) - 2 * overlap)


def _check(x: Array, y: Array) -> None:
    d = x.shape[-1]
    check_features(x, y, 2 * d + 1, f", more than twice the {d} features, for covariances of full rank")


def _error(x: Array, y: Array, statistic: Callable[[Mask, Mask], float]) -> float:
    """The jackknife's standard error; NaN above :data:`MOST_JACKKNIFED` features, as it would take hours."""
    return math.nan if x.shape[1] > MOST_JACKKNIFED else group_jackknife(len(x), len(y), statistic)


def frechet_distance(x: Array, y: Array) -> Estimate:
    """Fréchet distance between Gaussians fitted to two sets of features, and its standard error.

    ||m - m'||² + tr(S + S' - 2 (S S')^½), where m, S and m', S' are the sample means and covariances (Dowson &
    Landau 1982, eq. 4; Heusel et al. 2017, eq. 6). It is biased upwards, by about 1/n. The standard error is a
    delete-a-group jackknife over ten groups of both sets, and leaves this bias out; above 512 features it is NaN.

    Args:
        x: features (m, d), in random order.
        y: features (n, d), in random order.

    Raises:
        SettingsError: a set has no more than 2 d members.
    """
    _check(x, y)
    return Estimate(_distance(x, y), _error(x, y, lambda a, b: _distance(x[a], y[b])))


def frechet_distance_infinity(x: Array, y: Array) -> Estimate:
    """Fréchet distance extrapolated to infinitely many images of both sets, and its standard error.

    The bias of the Fréchet distance falls as 1/n (Chong & Forsyth 2020, section 3). A line a + b/n is fitted by least
    squares to the distances of random subsets of n images of *both* sets, at eight n from half of the images to all
    of them, evenly spaced in 1/n; a is the estimate. It can be negative if the distance is almost 0. Terms beyond
    1/n remain, and matter if n is not much larger than d.

    The standard error is a delete-a-group jackknife over the whole procedure: ten times, a tenth of both sets is left
    out of every subset, and the line is fitted again. The subsets are the same in every call.

    Args:
        x: features (m, d), in random order.
        y: features (n, d), in random order.

    Raises:
        SettingsError: a set has no more than 2 d members.
    """
    _check(x, y)
    most = min(len(x), len(y))
    sizes = np.round(1 / np.linspace(1 / most, 2 / most, SIZES)).astype(int)
    rng = np.random.RandomState(_SEED)
    subsets = [(rng.permutation(len(x))[:size], rng.permutation(len(y))[:size]) for size in sizes]

    def intercept(keep_x: Mask, keep_y: Mask) -> float:
        kept = [(x[i[keep_x[i]]], y[j[keep_y[j]]]) for i, j in subsets]
        # The mean of both 1/n, as a subset may lose more members of one set than of the other.
        inverse_sizes = [(1 / len(a) + 1 / len(b)) / 2 for a, b in kept]
        _, at_zero = np.polyfit(inverse_sizes, [_distance(a, b) for a, b in kept], 1)
        return float(at_zero)

    everything = intercept(np.ones(len(x), dtype=bool), np.ones(len(y), dtype=bool))
    return Estimate(everything, _error(x, y, intercept))
