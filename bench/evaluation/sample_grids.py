"""The pictures of images that a run leaves: samples, temperatures, neighbours, reconstructions, interpolations."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from bench.core.seeds import derive_seed
from bench.data.choice import fixed_choice
from bench.data.dataset import Images
from bench.evaluation.broken_samples import broken
from bench.evaluation.image_grid import Picture, image_grid
from bench.evaluation.quality import nearest_training_images
from bench.evaluation.sampling import Sampler

GRID = 64
"""Images in a grid of samples."""
FEW = 16
"""Images in a grid that is drawn while a model trains."""
COLUMNS = 8
TEMPERATURES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0)
"""One row each; the paper's figures use 0.7 (Kingma & Dhariwal 2018, section 6)."""
INTERPOLATIONS = 8
"""Pairs of images between which a model interpolates, if its family does."""


def trial_pictures(sampler: Sampler, images: Images, seed: int) -> list[Picture]:
    """What a trial shows: samples, and reconstructions of held-out ``images`` where its family has them."""
    return [samples(sampler, seed), *_reconstructions(sampler, images)]


def final_pictures(sampler: Sampler, images: Images, split: str, train: Images, seed: int) -> list[Picture]:
    """What a final run shows: real images, and all kinds that its family has.

    Args:
        sampler: of the trained model.
        images: held-out images.
        split: their name.
        train: training images, among which the samples' nearest neighbours are sought.
        seed: of the samples.
    """
    pictures = [
        _data(sampler, images, split),
        samples(sampler, seed),
        _temperatures(sampler, seed),
        _neighbours(sampler, train, seed),
    ]
    return pictures + _reconstructions(sampler, images) + _interpolations(sampler, images)


def samples(sampler: Sampler, seed: int) -> Picture:
    """A grid of samples as they come."""
    caption = f"{GRID} samples at temperature 1, not selected"
    return _picture("samples", caption, _drawn(sampler, GRID, 1.0, seed), sampler)


def shows_samples(evaluation: int, last: int) -> bool:
    """Whether samples are drawn at an evaluation: at 1, 2, 4, 8, … below two thirds of the last, and at the last.

    They change less and less.
    """
    return evaluation == last or (evaluation & (evaluation - 1) == 0 and 3 * evaluation < 2 * last)


def watched_samples(sampler: Sampler) -> bytes:
    """PNG of a few samples from the same noise whatever the run and the evaluation: what differs is the model."""
    return image_grid(_drawn(sampler, FEW, 1.0, 0), sampler.model.grey_levels, COLUMNS)


def _drawn(sampler: Sampler, n: int, temperature: float, seed: int) -> Images:
    return sampler.draw(n, temperature, derive_seed(seed, "grid"))


def _picture(kind: str, caption: str, images: npt.NDArray[np.generic], sampler: Sampler) -> Picture:
    """The grid; its caption counts the images that are none, which the grid crosses out."""
    levels = sampler.model.grey_levels
    if lost := int(broken(images, levels).sum()):
        crossed = "1 is" if lost == 1 else f"{lost} are"
        caption += f"; of {len(images)} images {crossed} crossed out, with values that are not finite"
    return Picture(kind, caption, image_grid(images, levels, COLUMNS))


def _data(sampler: Sampler, images: Images, split: str) -> Picture:
    """Real images, as many as :func:`samples` shows, to judge those by."""
    few = len(images) <= GRID
    caption = f"All {len(images)} {split} images" if few else f"{GRID} {split} images, drawn at random"
    return _picture("data", caption, fixed_choice(images, GRID), sampler)


def _temperatures(sampler: Sampler, seed: int) -> Picture:
    drawn = sampler.draw_at(TEMPERATURES, COLUMNS, derive_seed(seed, "grid"))
    named = ", ".join(f"{temperature:g}" for temperature in TEMPERATURES)
    caption = f"Samples from the same noise at temperatures {named}, one row each"
    return _picture("temperatures", caption, drawn, sampler)


def _neighbours(sampler: Sampler, train: Images, seed: int) -> Picture:
    drawn = _drawn(sampler, GRID // 2, 1.0, seed)
    nearest = train[nearest_training_images(drawn, train)]
    # What is no image has no neighbour.
    lost = broken(drawn, sampler.model.grey_levels)[:, None, None, None]
    caption = "Samples, each followed by the training image nearest to it in pixels"
    return _picture("neighbours", caption, _pairs(drawn, np.where(lost, drawn, nearest)), sampler)


def _reconstructions(sampler: Sampler, images: Images) -> list[Picture]:
    originals = fixed_choice(images, GRID // 2)
    reconstructed = sampler.model.reconstruct(originals)
    if reconstructed is None:
        return []
    means = np.asarray(keras.ops.convert_to_numpy(reconstructed))
    caption = "Held-out images, drawn at random, each followed by its reconstruction (mean image at the posterior mean)"
    return [_picture("reconstructions", caption, _pairs(originals, means), sampler)]


def _interpolations(sampler: Sampler, images: Images) -> list[Picture]:
    """Mean images on the way between pairs of images, one pair a row."""
    chosen = fixed_choice(images, 2 * INTERPOLATIONS)
    n = len(chosen) // 2
    if not n:
        return []
    shares = np.linspace(0.0, 1.0, COLUMNS, dtype=np.float32)
    between = sampler.model.interpolate(chosen[:n], chosen[n : 2 * n], shares)
    if between is None:
        return []
    caption = (
        "Mean images along straight lines between the posterior means of two held-out images, drawn at random, one "
        "pair a row"
    )
    pixels = np.asarray(keras.ops.convert_to_numpy(between))
    return [_picture("interpolations", caption, pixels.reshape(-1, *pixels.shape[2:]), sampler)]


def _pairs(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """One of the first and one of the second in turn."""
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
