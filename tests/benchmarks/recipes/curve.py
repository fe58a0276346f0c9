"""A training by the harness, evaluation by evaluation. Import it once the Keras backend is selected."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from bench.core.results import EvaluationRecord
from bench.core.seeds import derive_seed
from bench.data.dataset import TuningData
from bench.evaluation.likelihood import likelihood_program, log_likelihood
from bench.study.config import TrainingConfig
from bench.training.loop import train
from models.base.config import ModelConfig
from models.registry import build_model


@dataclass(frozen=True)
class Evaluation:
    """One validation measurement.

    Attributes:
        images: training images seen.
        seconds: of training; :func:`learning_curve` says which.
        value: the metric's mean over validation images, by the one-sample bound.
        standard_error: of that mean, over images.
    """

    images: int
    seconds: float
    value: float
    standard_error: float | None


def learning_curve(
    data: TuningData,
    model_config: ModelConfig,
    training: TrainingConfig,
    seed: int,
    metric: str,
    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None,
) -> list[Evaluation]:
    """Train a new model, and return its evaluations with the seconds of its training steps alone.

    Args:
        data: training and validation images.
        model_config: the model.
        training: how it is trained.
        seed: of weights, noise and data order.
        metric: ``bits_per_dim`` or ``nll_nats``.
        on_evaluation: receives each evaluation at once, its seconds those of the harness's record: evaluations count.

    Raises:
        DivergedError: the loss, or validation, became NaN or infinite.
    """
    keras.utils.clear_session()
    random.seed(derive_seed(seed, "weights and noise"))
    model = build_model(model_config, data.info.image_shape, data.info.grey_levels)
    program = likelihood_program(model)
    evaluations: list[Evaluation] = []

    def add(record: EvaluationRecord) -> None:
        likelihood = log_likelihood(model, data.validation.images, 1, derive_seed("evaluation"), program)
        error = next(row.standard_error for row in likelihood.measurements("validation") if row.metric == metric)
        value = record.values[f"validation/{metric}"]
        evaluations.append(Evaluation(record.images, record.seconds, value, error))
        on_evaluation(evaluations[-1])

    log = train(model, data, training, seed=seed, on_evaluation=add)
    of_steps = np.cumsum(log.interval_seconds)
    return [
        Evaluation(each.images, float(seconds), each.value, each.standard_error)
        for each, seconds in zip(evaluations, of_steps, strict=True)
    ]
