"""Which test images an arm wins: those on which its bits/dim lie below another arm's by most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.analysis import differences
from reports.analysis.practical import by_mean

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.results import WonImages
    from reports.analysis.results import Study

MOST_IMAGES = 8
"""Images that are shown of those that an arm wins."""
MOST_PAIRS = 4
"""Pairs of arms of which images are shown: the best arm and each of the next."""


@dataclass(frozen=True)
class Win:
    """The test images that an arm wins against another, over the means of their seeds.

    Attributes:
        winner: the arm with the lower bits/dim on them.
        loser: the other.
        images: places of the clearest ones among the images that final runs are measured on, the clearest first.
        bits: by how many bits/dim the winner lies below the loser on each of these.
        won: the number of all images that it wins.
        clearly: the number of those that it wins by more than the region of equivalence.
        measured: the number of images that both were measured on.
    """

    winner: str
    loser: str
    images: tuple[int, ...]
    bits: tuple[float, ...]
    won: int
    clearly: int
    measured: int

    def shows(self, picture: WonImages) -> bool:
        """Whether a picture is that of these images: one of an earlier selection, or of other runs, may not be."""
        return (picture.winner, picture.loser, picture.images) == (self.winner, self.loser, self.images)


def wins(study: Study) -> list[Win]:
    """What the arm with the lowest mean test bits/dim wins against each of the next ones, and loses.

    None of a pair whose runs left no likelihoods of the same images, or where likelihoods are in several units.
    """
    ranked = by_mean(study)
    if not ranked or set(differences.likelihood_units(study)) - {"bits/dim"}:
        return []
    means = {arm: _means(study, arm) for arm in ranked[: MOST_PAIRS + 1]}
    best, *others = means
    found = []
    for other in others:
        ours, theirs = means[best], means[other]
        if ours is not None and theirs is not None and ours.index.equals(theirs.index):
            found += [_win(study, best, other, theirs - ours), _win(study, other, best, ours - theirs)]
    return found


def _means(study: Study, arm: str) -> pd.Series | None:
    """An arm's bits/dim of each test image, the mean over its seeds."""
    bits = study.bits_by_image[arm]
    return None if bits is None else bits.mean(axis=0)


def _win(study: Study, winner: str, loser: str, gain: pd.Series) -> Win:
    """What ``winner`` wins, whose bits/dim lie below those of ``loser`` by ``gain``."""
    positive = gain[gain > 0].sort_values(ascending=False, kind="stable")
    clearest = positive.iloc[:MOST_IMAGES]
    return Win(
        winner=winner,
        loser=loser,
        images=tuple(int(image) for image in clearest.index),
        bits=tuple(float(bits) for bits in clearest),
        won=len(positive),
        clearly=int((positive > study.results.equivalence).sum()),
        measured=len(gain),
    )
