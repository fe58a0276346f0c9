"""The published multi-scale flow by its recipe, in a few minutes, and its test bound. Imported once JAX is selected."""

from __future__ import annotations

import random
import time

from bench.core.results import EvaluationRecord
from bench.data.registry import load
from bench.evaluation.likelihood import log_likelihood
from bench.training.loop import train
from models.registry import build_model
from studies.published import PUBLISHED
from tests.benchmarks.accelerator.data import tuning_data
from tests.benchmarks.accelerator.part import Part

RESULT = PUBLISHED["flow-multiscale"]
EVALUATIONS = 20
MARGIN = 0.9
"""Share of the time that the images are for; the rest is for evaluations."""


def measure(part: Part) -> None:
    """Train within the time, and measure on test."""
    data = tuning_data(part.data, part.sizes.validation_images)
    config = RESULT.model.model_copy(update=part.sizes.flow)
    speed = _speed(part)
    training = RESULT.training.model_copy(
        update={"images": round(MARGIN * part.sizes.flow_seconds * speed), "evaluations": EVALUATIONS}
    )
    part.tell(RESULT.title, "images/s in training", speed)

    def tell(record: EvaluationRecord) -> None:
        value = record.values["validation/bits_per_dim"]
        part.tell("learning curve", "validation bits/dim", value, images=record.images, seconds=record.seconds)

    random.seed(0)
    model = build_model(config, data.info.image_shape, data.info.grey_levels)
    log = train(model, data, training, seed=0, on_evaluation=tell)
    part.tell(RESULT.title, "training images", log.records[-1].images)
    part.tell(RESULT.title, "training seconds", log.records[-1].seconds)
    part.tell(RESULT.title, "trainable weights", model.count_params())
    test = load(str(part.data)).open_test().some(part.sizes.flow_images)
    began = time.perf_counter()
    likelihood = log_likelihood(model, test.images, RESULT.importance_samples, 0)
    found = {each.metric: each for each in likelihood.measurements("test")}["bits_per_dim"]
    note = f"k = {RESULT.importance_samples}, {len(test.images):,} images; published, of {RESULT.published_images:,} "
    note += f"training images: {RESULT.published}"
    part.tell(RESULT.title, "test bits/dim", found.value, error=found.standard_error, note=note)
    part.tell(RESULT.title, "seconds of the test bound", time.perf_counter() - began)


def _speed(part: Part) -> float:
    """Images/s of the second half of a short training: the first one compiles."""
    data = tuning_data(part.data, 2)
    model = build_model(RESULT.model.model_copy(update=part.sizes.flow), data.info.image_shape, data.info.grey_levels)
    images = part.sizes.flow_trial_steps * RESULT.training.batch_size
    training = RESULT.training.model_copy(update={"images": images, "evaluations": 2})
    log = train(model, data, training, seed=0)
    return log.images_per_interval / log.interval_seconds[1]
