"""Precision, recall, density and coverage: fidelity and diversity apart, by nearest neighbours among features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.metrics import SMALLEST_SET
from bench.evaluation.quality.estimate import Array, Estimate, Mask, check_features

NEIGHBOURS = 5
"""k: the ball around an image reaches to its k-th nearest neighbour in its own set."""
_CHUNK_BYTES = 64 * 2**20


class Prdc(NamedTuple):
    """Precision, recall, density and coverage."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def compute_prdc(samples: Array, held_out: Array, neighbours: int = NEIGHBOURS, broken: Mask | None = None) -> Prdc:
    """Precision, recall, density and coverage of samples, with their standard errors.

    Let B(u, U) be the closed ball around u that reaches to its k-th nearest neighbour in the rest of U. With samples
    Y = {y_1 … y_m} and held-out images X = {x_1 … x_n}:

    - precision = share of y_j in ∪_i B(x_i, X) and recall = share of x_i in ∪_j B(y_j, Y)
      (Kynkäänniemi et al. 2019, eqs. 1-2);
    - density = 1/(k m) Σ_j Σ_i 1[y_j ∈ B(x_i, X)] and coverage = share of x_i whose B(x_i, X) holds a y_j
      (Naeem et al. 2020, eqs. 3-4).

    Of samples of which some are broken, each score is that of the others times their share of all samples. That is what
    precision and density are if a broken sample lies in no ball. Recall without the share would not fall as samples
    break, as fewer samples have wider balls; coverage falls by itself too, so that the share errs on the low side.

    The standard errors are those of a mean over the m samples (precision, density) or the n held-out images (recall,
    coverage), which for a share is the binomial √(p(1-p)/n). They hold the balls and the other set fixed, leave out
    the noise in those, and are 0 where every image agrees.

    Distances are computed in chunks of 64 MiB.

    Args:
        samples: features (m, d).
        held_out: features (n, d).
        neighbours: k.
        broken: which of the samples (m,) are no images, whatever their features.

    Raises:
        SettingsError: a set has fewer than 50 members.
    """
    check_features(samples, held_out, max(SMALLEST_SET, neighbours + 1))
    whole = samples if broken is None else samples[~broken]
    # Of no more than k others none is the k-th: there are no balls.
    sample_radii = _radii(whole, neighbours) if len(whole) > neighbours else np.full(len(whole), -np.inf)
    held_out_radii = _radii(held_out, neighbours)
    balls_around = np.zeros(len(samples))  # those of broken samples, in no ball, come last
    recalled, covered = np.zeros((2, len(held_out)), dtype=bool)
    for chunk, distances in _distances(whole, held_out):  # (chunk, n)
        in_held_out_ball = distances <= held_out_radii
        balls_around[: len(whole)][chunk] = in_held_out_ball.sum(1)
        covered |= in_held_out_ball.any(0)
        recalled |= (distances <= sample_radii[chunk, None]).any(0)
    return Prdc(
        precision=_mean(balls_around > 0),
        recall=_shared(_mean(recalled), len(whole), len(samples)),
        density=_mean(balls_around / neighbours),
        coverage=_shared(_mean(covered), len(whole), len(samples)),
    )


def _distances(x: Array, y: Array) -> Iterator[tuple[slice, Array]]:
    """Distances (chunk, n) of a few rows of x to all of y at a time."""
    from scipy.spatial.distance import cdist  # a study's first trial does not wait for it

    rows = max(1, _CHUNK_BYTES // (8 * len(y)))
    for start in range(0, len(x), rows):
        # cdist subtracts; the faster expanded form would not keep equal distances equal, and balls are closed.
        yield slice(start, start + rows), cdist(x[start : start + rows], y)


def _radii(points: Array, neighbours: int) -> Array:
    """Distance of each point (n, d) to its k-th nearest among the others, (n,)."""
    # Each point is the nearest to itself.
    return np.concatenate([np.partition(d, neighbours, axis=1)[:, neighbours] for _, d in _distances(points, points)])


def _shared(score: Estimate, whole: int, samples: int) -> Estimate:
    """A score times the share of samples that are whole, whose binomial error is added."""
    share = whole / samples
    error = np.hypot(share * score.standard_error, score.value * np.sqrt(share * (1 - share) / samples))
    return Estimate(share * score.value, float(error))


def _mean(values: npt.NDArray[np.generic]) -> Estimate:
    numbers = np.asarray(values, dtype=np.float64)
    return Estimate(float(numbers.mean()), float(numbers.std() / np.sqrt(len(numbers))))
