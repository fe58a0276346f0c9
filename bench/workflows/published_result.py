"""What a published result is: a figure, and the recipe that gave it. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.errors import SettingsError
from bench.data.dataset import DatasetInfo
from bench.study.config import TrainingConfig
from models.base.config import ModelConfig


@dataclass(frozen=True)
class PublishedResult:
    """A published likelihood, and the recipe that gave it.

    Attributes:
        name: short name.
        title: what it is, as a table's row head.
        dataset: built-in data set.
        model: the published architecture.
        training: the published optimisation; ``images`` is its whole budget.
        metric: ``nll_nats`` or ``bits_per_dim``.
        published: the published test figure, in that metric; None where the model is ours.
        importance_samples: k of the published test bound.
        source: where it was published.
        deviations: in what the recipe here differs from the published one, beside its budget.
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

    def check_data(self, info: DatasetInfo) -> None:
        """Check that the model can be trained on a data set.

        Raises:
            SettingsError: it cannot take such images.
        """
        try:
            self.model.check_images(info.image_shape, info.grey_levels)
        except ValueError as error:
            raise SettingsError(f"{self.name} cannot be trained on {info.name}: {error}") from error
