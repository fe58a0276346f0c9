"""Published results: a likelihood, and the model and training that obtained it. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.errors import SettingsError
from bench.data.dataset import DatasetInfo
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
        """Check that the model can be trained on a data set.

        Raises:
            SettingsError: the model does not accept its images.
        """
        try:
            self.model.check_images(info.image_shape, info.grey_levels)
        except ValueError as error:
            raise SettingsError(f"{self.name} cannot be trained on {info.name}: {error}") from error
