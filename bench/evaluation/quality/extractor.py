"""Extractors of the features on which sample quality is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bench.core.errors import SettingsError
from bench.data.dataset import Images, TuningData
from bench.evaluation.quality.accuracy import Accuracy
from bench.evaluation.quality.estimate import Array

EXTRACTORS = ("classifier", "inception_v3")
"""Kinds of extractors."""


class Extractor(Protocol):
    """Turns integer images into feature vectors."""

    @property
    def name(self) -> str:
        """One of :data:`EXTRACTORS`."""
        ...

    @property
    def size(self) -> int:
        """Number of features d."""
        ...

    @property
    def description(self) -> str:
        """The network and its weights: metrics compare only if their extractors have the same description."""
        ...

    @property
    def accuracy(self) -> Accuracy | None:
        """How well the network does its task, where it was trained on the data."""
        ...

    def features(self, images: Images) -> Array:
        """Images (n, h, w, c) in 0..Q-1 -> features (n, d), in batches."""
        ...


def open_extractor(kind: str, data: TuningData, folder: Path) -> Extractor | None:
    """Open the extractor of a kind for a data set; None if its samples are not measured by one.

    Args:
        kind: ``classifier`` (small, trained on the data set's own training split and cached in ``folder``) or
            ``inception_v3`` (Keras's ImageNet weights, for colour images).
        data: the data set, without its test split.
        folder: where the classifier is cached, so that all runs of a study, on any backend, share it.

    Raises:
        SettingsError: the kind is unknown, or does not fit the data.
        DataError: a cached classifier is damaged, or the weights of Inception can neither be found nor downloaded.
    """
    if kind in EXTRACTORS and not data.info.has_features:
        return None
    if kind == "classifier":
        from bench.evaluation.quality.classifier import open_classifier

        return open_classifier(data, folder)
    if kind == "inception_v3":
        from bench.evaluation.quality.inception import open_inception

        return open_inception(data.info)
    raise SettingsError(f"feature extractor {kind!r} is unknown: one of {', '.join(EXTRACTORS)} is accepted.")


def must_be_trained(kind: str, data: TuningData, folder: Path) -> bool:
    """Whether :func:`open_extractor` would train a network first, as none is cached.

    Raises:
        DataError: none could be cached in ``folder``.
    """
    if kind != "classifier" or not data.info.has_features:
        return False
    from bench.evaluation.quality.classifier import is_cached

    return not is_cached(data, folder)
