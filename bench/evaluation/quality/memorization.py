"""Memorisation: distances in pixels of samples, and of held-out images, to their nearest training images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.core.errors import SettingsError
from bench.core.metrics import SMALLEST_SET
from bench.data.dataset import Images
from bench.evaluation.auroc import auroc
from bench.evaluation.quality.estimate import Array, Estimate

Indices = npt.NDArray[np.intp]

_CHUNK_BYTES = 8 * 2**20


def nearest_training_images(samples: Images, train: Images) -> Indices:
    """Indices (n,) of the training image nearest to each sample in L2 over pixels; the first of several.

    Args:
        samples: images (n, h, w, c).
        train: training images (m, h, w, c), processed in chunks of 8 MiB.
    """
    return nearest(samples, train)[0]


def nearest(images: Images, train: Images) -> tuple[Indices, Array]:
    """Index of the nearest training image of each image, and the L2 distance to it, both (n,)."""
    points = _flat(images)
    squares = np.einsum("nd,nd->n", points, points)
    index, distance = np.zeros(len(points), dtype=np.intp), np.full(len(points), np.inf)
    rows = max(1, _CHUNK_BYTES // (8 * max(points.shape)))
    for start in range(0, len(train) if len(points) else 0, rows):
        # In double precision squared distances of integers are exact, and so are ties.
        chunk = _flat(train[start : start + rows])
        # |x - y|² = |x|² + |y|² - 2 x·y, of all pairs at once.
        squared = points @ chunk.T
        squared *= -2.0
        squared += squares[:, None]
        squared += np.einsum("nd,nd->n", chunk, chunk)
        nearest_here = squared.argmin(axis=1)
        distance_here = np.sqrt(squared[np.arange(len(points)), nearest_here])
        nearer = distance_here < distance
        index[nearer], distance[nearer] = start + nearest_here[nearer], distance_here[nearer]
    return index, distance


def _flat(images: Images) -> Array:
    return np.asarray(images, dtype=np.float64).reshape(len(images), int(np.prod(images.shape[1:])))


def data_copying(sample_distances: Array, held_out_distances: Array) -> Estimate:
    """P(sample nearer to its nearest training image than a held-out image to its own), ties counted half.

    The two-sample test of Meehan et al. (2020, section 3) over all of the space at once, as an area under a ROC curve.
    A perfect sampler scores 0.5, one that copies 1, and one whose samples are further from all data than real images
    less than 0.5. The standard error holds the training images fixed.

    Args:
        sample_distances: distances (m,) of samples to their nearest training image.
        held_out_distances: distances (n,) of held-out images to theirs.

    Raises:
        SettingsError: there are fewer than 50 of either.
    """
    m, n = len(sample_distances), len(held_out_distances)
    if min(m, n) < SMALLEST_SET:
        raise SettingsError(f"needs at least {SMALLEST_SET} images in each set, got {m} and {n}.")
    return Estimate(*auroc(held_out_distances, sample_distances))
