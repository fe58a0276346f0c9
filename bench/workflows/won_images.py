"""Pictures of the test images that each arm wins, made once a study is complete: reports cannot load its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.results import StudyResults, WonImages
from bench.evaluation.image_grid import image_grid
from reports.analysis.results import Study
from reports.analysis.won_images import wins

if TYPE_CHECKING:
    from bench.data.dataset import Dataset


def picture_won_images(results: StudyResults, dataset: Dataset, evaluation_images: int | None) -> list[WonImages]:
    """A picture of the images that each arm wins by most, for the pairs of arms that reports show.

    None of text and sound.

    Args:
        results: the study, whose final runs left the likelihood of each test image.
        dataset: its images; their test split is opened only where final runs were measured on it.
        evaluation_images: how many of the test images those were measured on; None for all.
    """
    found = [win for win in wins(Study(results)) if win.images]
    if not found or dataset.info.kind != "image":
        return []
    test = dataset.open_test().some(evaluation_images).images
    return [
        WonImages(
            win.winner,
            win.loser,
            win.images,
            image_grid(test[list(win.images)], dataset.info.grey_levels, len(win.images)),
        )
        for win in found
        # A table that somebody edited may name images that there are not.
        if min(win.images) >= 0 and max(win.images) < len(test)
    ]
