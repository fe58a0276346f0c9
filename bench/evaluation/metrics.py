"""The registry of measures, our own and the user's, which are computed for each final run."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from bench.core.errors import SettingsError
from bench.core.extensions import mark_as_code
from bench.core.metrics import Metric, define_metric
from bench.core.results import Measurement
from bench.core.seeds import derive_seed
from bench.data.dataset import Images
from bench.evaluation.broken_samples import with_noise_for_broken
from bench.evaluation.image_grid import Picture
from bench.evaluation.likelihood import LogLikelihood, log_likelihood
from bench.evaluation.programs import EvaluationPrograms, EvaluationProtocol

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """The results of measuring one model.

    Attributes:
        measurements: the numbers.
        tables: tables of the result schema, by name.
        pictures: grids of samples and of reconstructions.
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
    """The inputs of a metric: a trained model, images that it has not seen, and samples of it.

    Attributes:
        programs: the model's compiled programs.
        images: held-out images (n, h, w, c), integers in 0..Q-1.
        split: their name, ``validation`` or ``test``.
        train: training images (m, h, w, c).
        protocol: how models are measured.
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
        """The bound of each image; the seed of its noise derives from ``name``."""
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
    def samples_as_drawn(self) -> Images:
        """As many samples of the model as there are held-out images; -1 where a value is not finite."""
        return self.programs.sampler.draw(len(self.images), 1.0, derive_seed(self.seed, "quality samples"))

    @cached_property
    def samples(self) -> Images:
        """The same, integers in 0..Q-1: a sample with a value that is not finite is an image of random grey levels."""
        return with_noise_for_broken(self.samples_as_drawn, self.model.grey_levels)


def only_finite(measurements: Iterable[Measurement]) -> Evaluation:
    """The measurements whose value is a finite number; of each other one this, as the reason why it is missing."""
    found = Evaluation([])
    for row in measurements:
        if math.isfinite(row.value):
            found.measurements.append(row)
        else:
            found.unavailable[row.metric] = f"{row.key} is {row.value}"
    return found


Measure = Callable[[EvaluationContext], Evaluation]
MetricFunction = TypeVar("MetricFunction", bound=Callable[[EvaluationContext], float])

MEASURES: dict[str, Measure] = {}
"""The measures of a final run, by name, in order."""


def register_measure(name: str) -> Callable[[Measure], Measure]:
    """Register a function that returns several measurements; see :func:`register_metric` for a single number."""

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
    """Decorate a function from the context to a number, to register it as a metric.

    It is computed for each final run, logged as ``GROUP/NAME`` and shown in reports beside our own. If it raises an
    error or is not finite, the run continues, and the report says why the metric is missing.

    Args:
        name: lower-case letters, digits and ``_``.
        label: its name in tables.
        definition: one sentence that a reader can check.
        unit: its unit.
        higher_is_better: which way is better; None where neither is.
        group: first part of its key in MLflow, such as ``quality``.

    Raises:
        SettingsError: another metric has that name, or the name cannot be logged.
    """
    if not group.isidentifier():
        raise SettingsError(f"metric {name!r}: group={group!r} is not a name; letters, digits and _ are accepted")
    define_metric(Metric(name, label, unit, higher_is_better, definition))

    def register(function: MetricFunction) -> MetricFunction:
        mark_as_code(function)

        def measure(context: EvaluationContext) -> Evaluation:
            try:
                value = float(function(context))
            except Exception as error:  # The function is the user's: it may raise anything.
                log.exception("metric %s could not be measured", name)
                return Evaluation([], unavailable={name: f"{type(error).__name__}: {error}"})
            return only_finite([Measurement(group, name, value, n=len(context.images))])

        MEASURES[f"metric {name}"] = measure
        return function

    return register


def measure_all(context: EvaluationContext) -> Evaluation:
    """The results of all registered measures of one model."""
    found = Evaluation([])
    for measure in MEASURES.values():
        found += measure(context)
    return found
