"""Measures a trained model on held-out images: likelihood, diagnostics, sample quality, speed, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.core.errors import DivergedError
from bench.core.results import TABLES, Measurement
from bench.core.seeds import derive_seed
from bench.data.choice import fixed_choice
from bench.data.dataset import DatasetInfo, Images, Split
from bench.data.preparation import AS_STORED, Preparation
from bench.data.registry import check_outside, load
from bench.evaluation.auroc import auroc
from bench.evaluation.broken_samples import broken, share_of_broken
from bench.evaluation.likelihood import LogLikelihood
from bench.evaluation.metrics import Evaluation, EvaluationContext, measure_all, only_finite, register_measure
from bench.evaluation.programs import EvaluationPrograms, EvaluationProtocol, OutsideData
from bench.evaluation.quality import UNAVAILABLE_WITHOUT_FEATURES, sample_quality, text_quality
from bench.evaluation.sample_grids import final_pictures
from bench.evaluation.sound_pictures import sound_pictures
from bench.evaluation.throughput import sampling_latency, sampling_speed, speed

SEQUENCES = 8
"""Sequences of text or sound, and samples, that a final run keeps to be read or listened to."""
MOST_VALUES = 2**17
"""Of their integers in all, unless a single one has more: a page holds 16 bits of each."""


def evaluate(
    programs: EvaluationPrograms,
    held_out: Images,
    split: str,
    train: Images,
    protocol: EvaluationProtocol,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compute all registered measures of a model.

    Args:
        programs: the model's compiled programs.
        held_out: images (n, h, w, c) that the model was not trained on.
        split: their name, ``validation`` or ``test``.
        train: training images, for the floor of sample quality and the nearest neighbours.
        protocol: how to measure.
        seed: the run's seed, from which the samples' seed derives.
        on_progress: receives (done, total) log-weights of the likelihood.

    Raises:
        DivergedError: the bound of an image is not finite.
    """
    return measure_all(EvaluationContext(programs, held_out, split, train, protocol, seed, on_progress))


@register_measure("likelihood")
def _likelihood(context: EvaluationContext) -> Evaluation:
    found, kind = context.likelihood, context.protocol.info.kind
    check_finite(found, context.split)
    tables = {"likelihood_by_image": found.table_by_image(), "bound_by_samples": found.table_by_samples()}
    # A single weight of 0 makes the ELBO infinite, and leaves the bound by all of an image's finite.
    rows = only_finite([*found.measurements(context.split, kind), *found.tightness(context.split, kind)])
    return replace(rows, tables=tables)


@register_measure("out of distribution")
def _out_of_distribution(context: EvaluationContext) -> Evaluation:
    """The other data set's bits/dim under the model, and how well the likelihood separates the two."""
    outside, own = context.protocol.outside, context.likelihood
    if outside is None:
        return Evaluation([])
    split, kind = "out_of_distribution", context.protocol.info.kind
    other = context.log_likelihood(Split(outside.images).some(len(own.bound), kind).images, "outside")
    separation = auroc(own.bound, other.bound, kind)
    rows = [
        *other.measurements(split, kind),
        Measurement(split, "auroc", separation.value, separation.standard_error, len(other.bound), own.kind),
    ]
    # Another data set's image may have no probability at all: that is the lowest rank, and no divergence.
    return only_finite(replace(row, conditions=outside.name) for row in rows)


@register_measure("diagnostics")
def _diagnostics(context: EvaluationContext) -> Evaluation:
    seed = derive_seed(context.seed, "diagnostics")
    rows, tables = context.programs.diagnostics.measure(context.images, seed)
    if context.protocol.info.kind != "image":
        # A family takes windows for independent, and they resemble their neighbours.
        rows = [replace(row, standard_error=None) for row in rows]
    return Evaluation(rows, tables)


@register_measure("sample quality")
def _sample_quality(context: EvaluationContext) -> Evaluation:
    levels, extractor = context.model.grey_levels, context.protocol.extractor
    lost = share_of_broken(context.samples_as_drawn, levels)
    are_broken = broken(context.samples_as_drawn, levels)
    if context.protocol.info.kind == "text":
        quality = text_quality(context.samples, context.images, context.train, levels, are_broken)
        return Evaluation([*quality.measurements, lost], unavailable=quality.unavailable)
    if extractor is None:
        return Evaluation([lost], unavailable=UNAVAILABLE_WITHOUT_FEATURES)
    quality = sample_quality(context.samples, context.images, context.train, extractor, levels, are_broken)
    skill = [] if extractor.accuracy is None else extractor.accuracy.measurements(extractor.description)
    return Evaluation([*quality.measurements, *skill, lost], unavailable=quality.unavailable)


@register_measure("throughput")
def _throughput(context: EvaluationContext) -> Evaluation:
    likelihood, programs = context.likelihood, context.programs
    operations = programs.operations
    sampling, sampling_compile = sampling_speed(programs.sampler)
    return Evaluation(
        [
            speed("evaluate_images_per_second", likelihood.rates, likelihood.batch_size),
            sampling,
            *sampling_latency(programs.single),
            *([] if operations is None else [Measurement("cost", "operations_per_image", operations)]),
            Measurement("cost", "evaluation_compile_seconds", likelihood.compile_seconds + sampling_compile),
        ]
    )


@register_measure("pictures")
def _pictures(context: EvaluationContext) -> Evaluation:
    info = context.protocol.info
    if info.kind == "text":
        return Evaluation([])
    if info.kind == "audio":
        return Evaluation([], pictures=sound_pictures(info, context.images, context.split, context.samples_as_drawn))
    sampler = context.programs.sampler
    return Evaluation([], pictures=final_pictures(sampler, context.images, context.split, context.train, context.seed))


@register_measure("sequences")
def _sequences(context: EvaluationContext) -> Evaluation:
    """Some held-out sequences and samples as they are, of text and of sound."""
    if context.protocol.info.kind == "image":
        return Evaluation([])
    most = max(1, min(SEQUENCES, MOST_VALUES // context.model.dimensions))
    sets = (fixed_choice(context.images, most), context.samples_as_drawn[:most])
    frames = []
    for drawn, sequences in enumerate(sets):
        number, position = (each.reshape(-1) for each in np.indices((len(sequences), sequences.shape[2])))
        columns = (np.full_like(number, drawn), number, position, sequences.reshape(-1).astype(np.int64))
        frames.append(pd.DataFrame(dict(zip(TABLES["sequences"], columns, strict=True))))
    return Evaluation([], {"sequences": pd.concat(frames, ignore_index=True)})


def check_finite(likelihood: LogLikelihood, split: str) -> None:
    """Check that the bound of every image is finite, which a finite training loss does not imply.

    Raises:
        DivergedError: an image's bound is infinite or NaN.
    """
    lost = int(np.sum(~np.isfinite(likelihood.bound)))
    if lost:
        raise DivergedError(f"the {split} bound is not finite for {lost} of {len(likelihood.bound)} images")


def open_outside(dataset: str, info: DatasetInfo, preparation: Preparation = AS_STORED) -> OutsideData:
    """Load the test images of another data set, to measure their likelihood under models of ``info``'s images.

    Args:
        dataset: a name or a path, as for :func:`bench.data.registry.load`.
        info: the data that the models are trained on.
        preparation: how that data is read.

    Raises:
        DataError: there is no such data set.
        SettingsError: its images have another shape or number of grey levels.
    """
    found = load(dataset, check_outside(dataset, info, preparation))
    return OutsideData(found.info.name, found.open_test().images, found.digest)
