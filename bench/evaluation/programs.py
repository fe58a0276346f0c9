"""How models are measured: the protocol of a study, and the compiled programs of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from bench.data.dataset import DatasetInfo, Images
from bench.evaluation.cost.flops import operations_per_image
from bench.evaluation.diagnostics import Diagnostics
from bench.evaluation.likelihood import likelihood_program
from bench.evaluation.quality import Extractor
from bench.evaluation.sampling import Sampler
from models.base.likelihood_model import LikelihoodModel


@dataclass(frozen=True)
class OutsideData:
    """Images of another data set, whose likelihood is measured too.

    Attributes:
        name: the data set's name.
        images: its test images.
        digest: :attr:`bench.data.dataset.Dataset.digest`.
    """

    name: str
    images: Images = field(repr=False)
    digest: str


@dataclass(frozen=True)
class EvaluationProtocol:
    """How models are measured.

    Attributes:
        info: the data, whose kind decides on pictures and on the scores of samples.
        importance_samples: k of the bound.
        extractor: computes the features for sample quality; None where no network's features say how good samples are.
        outside: another data set, if any.
    """

    info: DatasetInfo
    importance_samples: int
    extractor: Extractor | None
    outside: OutsideData | None = None


class EvaluationPrograms:
    """The compiled programs that measure a model; its weights may change between two uses.

    Args:
        model: the model.
    """

    def __init__(self, model: LikelihoodModel) -> None:
        self.model = model
        self.likelihood_program = likelihood_program(model)
        self.sampler = Sampler(model)
        self.single = Sampler(model, batch_size=1)
        self.diagnostics = Diagnostics(model)

    @cached_property
    def operations(self) -> float | None:
        """Floating-point operations of one log-weight of one image."""
        return operations_per_image(self.model)
