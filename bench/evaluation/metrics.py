"""The door for a metric: our own and a user's are registered here, and measured of each final run."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from bench.core.errors import SettingsError
from bench.core.extensions import mark_as_code
from bench.core.metrics import Metric, define_metric
from bench.core.results import Measurement
from bench.core.seeds import derive_seed
from bench.data.dataset import Images
from bench.evaluation.likelihood import LogLikelihood, log_likelihood
from bench.evaluation.programs import EvaluationPrograms, EvaluationProtocol
from bench.evaluation.sample_grids import Picture

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        measurements: the numbers.
        tables: what is more than a number, by name: those of the result schema.
        pictures: what its samples look like.
        unavailable: metric -> why it could not be measured.
    """

    measurements: list[Measurement]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: Evaluation) -> Evaluation:
        return Evaluation(
            [*self.measurements, *other.measurements],
            {**self.tables, **other.tables},
            [*self.pictures, *other.pictures],
            {**self.unavailable, **other.unavailable},
        )


@dataclass(frozen=True)
class EvaluationContext:
    """What a metric is computed from: a trained model, images that it has not seen, and samples of it.

    Attributes:
        programs: the model's compiled programs.
        images: held-out images (n, h, w, c), integers in 0..Q-1.
        split: their name, ``validation`` or ``test``.
        train: training images (m, h, w, c).
        protocol: what models are measured with.
        seed: the run's seed.
        on_progress: receives (done, total) log-weights of the likelihood.
    """

    programs: EvaluationPrograms = field(repr=False)
    images: Images = field(repr=False)
    split: str
    train: Images = field(repr=False)
    protocol: EvaluationProtocol = field(repr=False)
    seed: int
    on_progress: Callable[[int, int], None] = field(default=lambda done, total: None, repr=False)

    @property
    def model(self) -> LikelihoodModel:
        """The model, with its final weights."""
        return self.programs.model

    @cached_property
    def likelihood(self) -> LogLikelihood:
        """The bound of each held-out image."""
        return self.log_likelihood(self.images, self.split, self.on_progress)

    def log_likelihood(
        self, images: Images, name: str, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> LogLikelihood:
        """The bound of each of some images; ``name`` gives its noise."""
        return log_likelihood(
            self.model,
            images,
            self.protocol.importance_samples,
            derive_seed(name),
            self.programs.likelihood_program,
            on_progress,
            timed=True,
        )

    @cached_property
    def samples(self) -> Images:
        """As many samples of the model as there are held-out images, integers in 0..Q-1."""
        return self.programs.sampler.draw(len(self.images), 1.0, derive_seed(self.seed, "quality samples"))


Measure = Callable[[EvaluationContext], Evaluation]
MetricFunction = TypeVar("MetricFunction", bound=Callable[[EvaluationContext], float])

MEASURES: dict[str, Measure] = {}
"""What is measured of a final run, by name, in order."""


def register_measure(name: str) -> Callable[[Measure], Measure]:
    """Register a function that measures several things at once; see :func:`register_metric` for a single number."""

    def register(measure: Measure) -> Measure:
        MEASURES[name] = measure
        return measure

    return register


def register_metric(
    name: str,
    *,
    label: str,
    definition: str,
    unit: str = "",
    higher_is_better: bool | None = None,
    group: str = "custom",
) -> Callable[[MetricFunction], MetricFunction]:
    """Register a metric of the user's own; it decorates a function from the context to a number.

    It is measured of each final run, logged as ``GROUP/NAME`` and shown in reports beside our own. Where it raises or
    is not finite, the run goes on, and the report says why the metric is missing.

    Args:
        name: of lower-case letters, digits and ``_``.
        label: as tables write it.
        definition: one sentence that a reader can check.
        unit: of the number.
        higher_is_better: which way is better; None where neither is.
        group: the first part of its key in MLflow, such as ``quality``.

    Raises:
        SettingsError: another metric of that name is defined, or the name cannot be logged.
    """
    define_metric(Metric(name, label, unit, higher_is_better, definition))

    def register(function: MetricFunction) -> MetricFunction:
        mark_as_code(Path(inspect.getsourcefile(function) or name))

        def measure(context: EvaluationContext) -> Evaluation:
            try:
                value = float(function(context))
            except Exception as error:  # The function is the user's: it may raise anything.
                log.exception("metric %s could not be measured", name)
                return Evaluation([], unavailable={name: f"{type(error).__name__}: {error}"})
            if not math.isfinite(value):
                return Evaluation([], unavailable={name: f"its value is {value}"})
            return Evaluation([Measurement(group, name, value, n=len(context.images))])

        MEASURES[f"metric {name}"] = measure
        return function

    if not group.isidentifier():
        raise SettingsError(f"metric {name!r}: group={group!r} is no name; letters, digits and _ are accepted")
    return register


def measure_all(context: EvaluationContext) -> Evaluation:
    """Everything that is registered, measured of one model."""
    found = Evaluation([])
    for measure in MEASURES.values():
        found += measure(context)
    return found
