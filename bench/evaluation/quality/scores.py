"""All metrics of sample quality of one run, each with its floor, the score of real images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from bench.core.errors import SettingsError
from bench.core.metrics import FLOOR_SUFFIX, SMALLEST_SET
from bench.core.results import Measurement
from bench.data.choice import fixed_choice
from bench.data.dataset import Images
from bench.evaluation.quality.estimate import Array, Estimate, Mask
from bench.evaluation.quality.extractor import Extractor
from bench.evaluation.quality.frechet import frechet_distance, frechet_distance_infinity
from bench.evaluation.quality.kid import kernel_distance
from bench.evaluation.quality.memorization import data_copying, nearest
from bench.evaluation.quality.prdc import Prdc, compute_prdc

LARGEST_FRECHET_SET = 10_000
"""Images used of each set by the Fréchet distances."""
LARGEST_SET = 2_000
"""Images used of each set by the other metrics, whose cost grows quadratically."""
REDRAWS = 5
"""Draws of training images over which a floor is averaged, if there are more images than one draw needs."""
SMALL_FEATURES = 512
"""Up to this many features one thread is faster, as matrices are small."""
UNAVAILABLE_WITHOUT_FEATURES = dict.fromkeys(
    ("frechet_distance", "frechet_distance_infinity", "kid", *Prdc._fields, "data_copying"),
    "sounds without classes have no network whose features would say how good samples are: sub-folders of recordings, "
    "one for each class, give them, unless --speakers takes these for speakers.",
)
"""Why the metrics on features are not measured of recordings that have no classes."""
_SEED = 2017


@dataclass(frozen=True)
class Quality:
    """Sample quality of one run.

    Attributes:
        measurements: the numbers.
        unavailable: metric -> why it was not, one sentence.
    """

    measurements: list[Measurement]
    unavailable: dict[str, str]


@dataclass
class _Scores:
    """By metric: an estimate with the number of images of each set, or why there is none."""

    estimates: dict[str, tuple[Estimate, int]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def attempt(self, metrics: Sequence[str], n: int, measure: Callable[[], Sequence[Estimate]]) -> None:
        """Store the results of ``measure`` for ``metrics``, or its error."""
        try:
            self.estimates |= {metric: (estimate, n) for metric, estimate in zip(metrics, measure(), strict=True)}
        except SettingsError as error:
            self.unavailable |= dict.fromkeys(metrics, str(error))


@dataclass(frozen=True)
class _Reference:
    """Everything that depends only on data and extractor, computed once."""

    extractor: Extractor
    digest: str
    features: Array
    held_out_distances: Array
    floor: _Scores


_latest: _Reference | None = None


def sample_quality(
    samples: Images,
    held_out: Images,
    train: Images,
    extractor: Extractor,
    grey_levels: int,
    broken: Mask | None = None,
) -> Quality:
    """Compute every metric of samples against held-out images, and of as many training images: the floor.

    The same number n of each of the three sets is used: a fixed random choice of at most 10,000 images for the Fréchet
    distances, and of at most 2,000 for the other metrics. The floor is the mean over five draws of n from at most
    10,000 training images, with the standard error over the draws; if there are no more than n, a single draw with its
    own error. Data copying compares with all training images. A metric for which n is too small is unavailable, with
    the reason. What depends only on data and extractor is computed once for successive runs of a process.

    Args:
        samples: images (m, h, w, c) in 0..Q-1 drawn from the model.
        held_out: images that the model was not trained on.
        train: training images, all of them.
        extractor: computes the features.
        grey_levels: Q.
        broken: which samples (m,) stand for some that are no images. Distances take them as they are; precision,
            recall, density and coverage are those of the others times their share; data copying leaves them out, as
            noise is far from all data and would hide that the others are copies.

    Raises:
        SettingsError: the images differ in shape, or are not integers in 0..Q-1.
    """
    for name, images in (("samples", samples), ("held-out images", held_out), ("training images", train)):
        _check_images(name, images, held_out.shape[1:], grey_levels)
    n = min(len(samples), len(held_out), len(train), LARGEST_FRECHET_SET)
    reference = _reference(held_out, train, extractor, n)
    chosen = fixed_choice(samples, n)
    lost = np.zeros(n, dtype=bool) if broken is None else fixed_choice(broken, n)
    scores = _feature_scores(extractor.features(chosen), reference.features, lost)
    few, few_lost = chosen[:LARGEST_SET], lost[:LARGEST_SET]

    copying = _Scores()
    # Their number is that of the samples drawn, whole or not: values of one n are compared.
    copying.attempt(
        ["data_copying"], len(few), lambda: [_copying(few[~few_lost], len(few), train, reference.held_out_distances)]
    )
    conditions = extractor.description
    return Quality(
        measurements=[
            *_rows(scores, "", conditions),
            *_rows(reference.floor, FLOOR_SUFFIX, conditions),
            *_rows(copying, "", "pixels"),
        ],
        unavailable=scores.unavailable
        | {metric + FLOOR_SUFFIX: reason for metric, reason in reference.floor.unavailable.items()}
        | copying.unavailable,
    )


def _copying(whole: Images, drawn: int, train: Images, held_out_distances: Array) -> Estimate:
    """How near the samples that are whole lie to training images.

    Raises:
        SettingsError: they are too few.
    """
    if len(whole) < drawn and len(whole) < SMALLEST_SET:
        raise SettingsError(
            f"needs at least {SMALLEST_SET} samples that are whole, and of {drawn} samples {len(whole)} are."
        )
    return data_copying(nearest(whole, train)[1], held_out_distances)


def _check_images(name: str, images: Images, image_shape: tuple[int, ...], grey_levels: int) -> None:
    if images.ndim != 4 or images.shape[1:] != image_shape or images.dtype.kind not in "ui":
        raise SettingsError(
            f"sample quality: the {name} have shape {images.shape} and dtype {images.dtype}; integer images "
            f"(n, {', '.join(map(str, image_shape))}) are accepted."
        )
    if images.size and not 0 <= int(images.min()) <= int(images.max()) < grey_levels:
        raise SettingsError(
            f"sample quality: the {name} hold values in {images.min()}..{images.max()}; with {grey_levels} grey levels "
            f"0..{grey_levels - 1} are accepted."
        )


def _reference(held_out: Images, train: Images, extractor: Extractor, n: int) -> _Reference:
    global _latest
    digest = _digest(held_out, train, n)
    if _latest is None or _latest.extractor is not extractor or _latest.digest != digest:
        chosen = fixed_choice(held_out, n)
        features = extractor.features(chosen)
        # At most as many images as one draw may have: extracting features is slow.
        pool = extractor.features(fixed_choice(train, min(REDRAWS * n, LARGEST_FRECHET_SET)))
        floor = _floor(pool, features)
        _, distances = nearest(chosen[:LARGEST_SET], train)
        _latest = _Reference(extractor, digest, features, distances, floor)
    return _latest


def _floor(pool: Array, y: Array) -> _Scores:
    """The scores of draws of n training images of a pool, against held-out features y (n, d), averaged over draws."""
    n = len(y)
    rng = np.random.RandomState(_SEED)
    draws = [pool[start : start + n] for start in range(0, len(pool) - n + 1, n)][:REDRAWS]
    disjoint = len(draws)
    # Disjoint draws first; if there are too few, further ones overlap.
    while len(pool) > n and len(draws) < REDRAWS:
        draws.append(pool[rng.permutation(len(pool))[:n]])
    scored = [_feature_scores(draw, y) for draw in draws]
    if len(scored) == 1:
        return scored[0]
    floor = _Scores(unavailable=scored[0].unavailable)
    for metric, (_, size) in scored[0].estimates.items():
        values = [each.estimates[metric][0].value for each in scored]
        # Overlapping draws differ less than independent ones: the error counts only the disjoint ones.
        error = float(np.std(values, ddof=1) / math.sqrt(disjoint))
        floor.estimates[metric] = Estimate(float(np.mean(values)), error), size
    return floor


def _digest(held_out: Images, train: Images, n: int) -> str:
    digest = hashlib.sha256(f"{n}".encode())
    for images in (held_out, train):
        digest.update(f" {images.shape} {images.dtype} ".encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _feature_scores(x: Array, y: Array, broken: Mask | None = None) -> _Scores:
    """All metrics of features x (n, d), of samples or their substitutes, against held-out features y (n, d)."""
    few_x, few_y = x[:LARGEST_SET], y[:LARGEST_SET]
    scores = _Scores()
    with threadpool_limits(limits=1 if x.shape[1] <= SMALL_FEATURES else None):
        scores.attempt(["frechet_distance"], len(x), lambda: [frechet_distance(x, y)])
        scores.attempt(["frechet_distance_infinity"], len(x), lambda: [frechet_distance_infinity(x, y)])
        scores.attempt(["kid"], len(few_x), lambda: [kernel_distance(few_x, few_y)])
        lost = None if broken is None else broken[:LARGEST_SET]
        scores.attempt(Prdc._fields, len(few_x), lambda: compute_prdc(few_x, few_y, broken=lost))
    return scores


def _known(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _rows(scores: _Scores, suffix: str, conditions: str) -> list[Measurement]:
    return [
        Measurement(
            "quality", metric + suffix, estimate.value, _known(estimate.standard_error), n, conditions=conditions
        )
        for metric, (estimate, n) in scores.estimates.items()
    ]
