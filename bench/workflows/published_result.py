"""Published results: a likelihood, and the model and training that obtained it. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.errors import SettingsError
from bench.data.dataset import DatasetInfo
from bench.data.preparation import AS_STORED
from bench.data.registry import describe
from bench.study.config import TrainingConfig
from models.base.config import ModelConfig


@dataclass(frozen=True)
class PublishedResult:
    """A published likelihood, and the model and training that obtained it.

    Attributes:
        name: short name.
        title: its name in tables.
        dataset: built-in data set.
        model: the published architecture.
        training: the published training; ``images`` is its whole budget.
        metric: ``nll_nats`` or ``bits_per_dim``.
        published: the published value on test; None if the model is ours.
        importance_samples: k of the published test bound.
        source: where it was published.
        deviations: how model and training differ from the published ones, beside the budget.
        published_images: training images that the published model saw; None where that is not published.
    """

    name: str
    title: str
    dataset: str
    model: ModelConfig
    training: TrainingConfig
    metric: str
    published: float | None
    importance_samples: int
    source: str
    deviations: str
    published_images: int | None = None

    def check_data(self, info: DatasetInfo) -> None:
        """Check that a data set is of the kind on which the likelihood was published.

        Raises:
            SettingsError: its images have another shape or number of grey levels, or the model does not accept them.
        """
        try:
            self.model.check_images(info.image_shape, info.grey_levels)
        except ValueError as error:
            raise SettingsError(f"{self.name} cannot be trained on {info.name}: {error}") from error
        own = describe(self.dataset, AS_STORED)
        if (info.image_shape, info.grey_levels) != (own.image_shape, own.grey_levels):
            raise SettingsError(
                f"{self.name} was published on {_kind(own)}, and {info.name} has {_kind(info)}: likelihoods of other "
                f"images are not comparable"
            )


def _kind(info: DatasetInfo) -> str:
    height, width, channels = info.image_shape
    return f"{height}x{width}x{channels} images of {info.grey_levels} grey levels"
