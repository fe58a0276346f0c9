"""All that is measured of a trained model on held-out images: likelihood, diagnostics, sample quality, speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from bench.core.errors import DivergedError
from bench.core.results import Measurement
from bench.core.seeds import derive_seed
from bench.data.dataset import DatasetInfo, Images
from bench.data.registry import check_outside, describe, load
from bench.evaluation.auroc import auroc
from bench.evaluation.cost.flops import operations_per_image
from bench.evaluation.diagnostics import Diagnostics
from bench.evaluation.likelihood import LogLikelihood, likelihood_program, log_likelihood
from bench.evaluation.quality import Extractor, sample_quality
from bench.evaluation.sample_grids import Picture, final_pictures
from bench.evaluation.sampling import Sampler
from bench.evaluation.throughput import sampling_latency, sampling_speed, speed
from models.base.likelihood_model import LikelihoodModel


@dataclass(frozen=True)
class OutsideData:
    """Images of another data set, whose likelihood is asked for."""

    name: str
    images: Images = field(repr=False)


@dataclass(frozen=True)
class EvaluationProtocol:
    """What models are measured with.

    Attributes:
        importance_samples: k of the bound.
        extractor: gives the features of sample quality.
        outside: another data set, where there is one.
    """

    importance_samples: int
    extractor: Extractor
    outside: OutsideData | None = None


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


class Evaluator:
    """Measures a model, whose weights may change between two calls: its compiled programs are kept.

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
    def operations(self) -> float:
        """Floating-point operations of one log-weight of one image."""
        return operations_per_image(self.model)

    def evaluate(
        self,
        held_out: Images,
        split: str,
        train: Images,
        protocol: EvaluationProtocol,
        seed: int,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Evaluation:
        """Everything that can be measured without training.

        Args:
            held_out: images (n, h, w, c) that the model was not trained on.
            split: their name, ``validation`` or ``test``.
            train: training images, for the floor of sample quality and the nearest neighbours.
            protocol: with what to measure.
            seed: the run's seed, from which that of the samples derives.
            on_progress: receives (done, total) log-weights of the likelihood.

        Raises:
            DivergedError: the bound of an image is not finite.
        """
        model = self.model
        likelihood = self._likelihood(held_out, split, protocol.importance_samples, on_progress)
        check_finite(likelihood, split)
        diagnostics, tables = self.diagnostics.measure(held_out, derive_seed(seed, "diagnostics"))
        samples = self.sampler.draw(len(held_out), 1.0, derive_seed(seed, "quality samples"))
        quality = sample_quality(samples, held_out, train, protocol.extractor, model.grey_levels)
        sampling, sampling_compile = sampling_speed(self.sampler)
        return Evaluation(
            measurements=[
                *likelihood.measurements(split),
                *likelihood.tightness(split),
                *self._outside(protocol, likelihood),
                *diagnostics,
                *quality.measurements,
                speed("evaluate_images_per_second", likelihood.rates, likelihood.batch_size),
                sampling,
                *sampling_latency(self.single),
                Measurement("cost", "operations_per_image", self.operations),
                Measurement("cost", "evaluation_compile_seconds", likelihood.compile_seconds + sampling_compile),
            ],
            tables={
                "likelihood_by_image": likelihood.table_by_image(),
                "bound_by_samples": likelihood.table_by_samples(),
                **tables,
            },
            pictures=final_pictures(self.sampler, held_out, train, seed),
            unavailable=quality.unavailable,
        )

    def _likelihood(
        self, images: Images, name: str, k: int, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> LogLikelihood:
        return log_likelihood(
            self.model, images, k, derive_seed(name), self.likelihood_program, on_progress, timed=True
        )

    def _outside(self, protocol: EvaluationProtocol, own: LogLikelihood) -> list[Measurement]:
        """The other data set's bits/dim under the model, and how well the likelihood tells the two apart."""
        outside = protocol.outside
        if outside is None:
            return []
        other = self._likelihood(outside.images[: len(own.bound)], "outside", protocol.importance_samples)
        split = "out_of_distribution"
        told = auroc(own.bound, other.bound)
        rows = [
            *other.measurements(split),
            Measurement(split, "auroc", told.value, told.standard_error, len(other.bound), own.kind),
        ]
        return [replace(row, conditions=outside.name) for row in rows]


def check_finite(likelihood: LogLikelihood, split: str) -> None:
    """A model whose training loss is finite may still give an image no probability at all.

    Raises:
        DivergedError: some image's bound is infinite or NaN.
    """
    lost = int(np.sum(~np.isfinite(likelihood.bound)))
    if lost:
        raise DivergedError(f"the {split} bound is not finite for {lost} of {len(likelihood.bound)} images")


def open_outside(dataset: str, info: DatasetInfo) -> OutsideData:
    """The test images of another data set, for the likelihood that a model of ``info``'s images gives them.

    Args:
        dataset: a built-in name or a path, as for :func:`bench.data.registry.load`.
        info: the data that models are trained on.

    Raises:
        DataError: there is no such data set.
        SettingsError: its images have another shape or number of grey levels.
    """
    check_outside(dataset, info)
    return OutsideData(describe(dataset).name, load(dataset).open_test().images)
