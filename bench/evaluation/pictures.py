"""The pictures that a run leaves, by what its data is: grids of images, waveforms and spectrograms, nothing of text."""

from __future__ import annotations

from bench.data.dataset import DatasetInfo, Images
from bench.evaluation.image_grid import Picture
from bench.evaluation.sample_grids import final_grids, trial_grids, watched_samples
from bench.evaluation.sampling import Sampler
from bench.evaluation.sound_pictures import final_sounds, trial_sounds, watched_sounds


def trial_pictures(info: DatasetInfo, sampler: Sampler, images: Images, seed: int) -> list[Picture]:
    """What a trial shows: samples, and what its family makes of held-out ``images``."""
    if info.kind == "text":
        return []
    return trial_sounds(info, sampler, seed) if info.kind == "audio" else trial_grids(sampler, images, seed)


def final_pictures(
    info: DatasetInfo, sampler: Sampler, images: Images, split: str, train: Images, seed: int
) -> list[Picture]:
    """What a final run shows: held-out data beside samples, and more of images."""
    if info.kind == "text":
        return []
    if info.kind == "audio":
        return final_sounds(info, sampler, images, split, seed)
    return final_grids(sampler, images, split, train, seed)


def picture_while_training(info: DatasetInfo, sampler: Sampler, evaluation: int, last: int) -> bytes | None:
    """A few samples at an evaluation: at 1, 2, 4, 8, … and the last, as samples change less and less."""
    shown = evaluation == last or (evaluation & (evaluation - 1) == 0 and 3 * evaluation < 2 * last)
    if info.kind == "text" or not shown:
        return None
    return watched_sounds(info, sampler) if info.kind == "audio" else watched_samples(sampler)
