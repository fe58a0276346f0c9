"""Training, with an evaluation on validation now and then; it gives the weights of the best one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt

from bench.core.errors import DivergedError
from bench.core.results import EvaluationRecord
from bench.core.seeds import derive_seed
from bench.data.dataset import Split, TuningData
from bench.evaluation.likelihood import likelihood_program, log_likelihood
from bench.runtime.compiled import CompiledMethod
from bench.study.config import TrainingConfig
from bench.training.best_state import BestState
from bench.training.checkpoint import Checkpoint
from bench.training.course import REDUCTION, course
from bench.training.history import TrainingLog
from bench.training.optimizers import ScheduledAdam, ScheduledAdamax
from bench.training.program import Logs, training_program
from models.base.likelihood_model import LikelihoodModel

INITIALISATION_IMAGES = 1024
"""Training images that data-dependent weights are initialised on."""
CHUNK_SECONDS = 0.5
"""About how long the device trains before the host looks whether the loss is finite and a stop was asked for."""
CHUNK_GROWTH = 8.0
"""By which a chunk is at most longer than the one before: the first one of all has compiled."""
VALUES_WORTH_XLA = 2**22
"""Pixel values that the evaluations of a training see, beyond which XLA compiles them, on TensorFlow.

For a Glow of 6 steps on 8x8 digits its compilation repays after about 2 million; a dense VAE gains next to nothing.
"""
STAGES = 8
"""Of the ``staged`` decay of the learning rate."""
UNDECAYED = ["bias", "mixing", "moments", "scale", "shift"]
"""Parts of the names of weights that weight decay leaves alone; those of a flow's coupling networks are one weight."""


class ImageStream:
    """The order in which a split's images are trained on, a pure function of seed and position.

    The stream is one random permutation of the images after the other, cut into batches. Interval i,
    between two evaluations, is the i-th run of ``steps`` batches of it, so that budgets need not be whole passes.
    """

    def __init__(self, n: int, batch_size: int, steps: int, seed: int) -> None:
        self.n = n
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def interval(self, number: int) -> npt.NDArray[np.int64]:
        """Indices of the images of each of the batches of an interval (steps, batch_size)."""
        length = self.steps * self.batch_size
        positions = np.arange(number * length, (number + 1) * length)
        passes = positions // self.n
        chosen = [
            self.permutation(order)[positions[passes == order] % self.n]
            for order in range(int(passes[0]), int(passes[-1]) + 1)
        ]
        return np.concatenate(chosen).reshape(self.steps, self.batch_size)

    def permutation(self, number: int) -> npt.NDArray[np.int64]:
        """The order of the images in a pass over them all."""
        generator = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, "order", number)))
        return generator.permutation(self.n)


class TrainingPrograms:
    """The compiled programs that training a model takes; they serve one training after the other.

    Args:
        model: the model.
        evaluated: about how many images all evaluations of a training see together.
    """

    def __init__(self, model: LikelihoodModel, evaluated: int) -> None:
        self.training = training_program(model)
        many = evaluated * model.dimensions > VALUES_WORTH_XLA
        self.evaluation = likelihood_program(model, "often" if many else "sometimes")
        self.steps_at_once = 1


def build_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimizer with its learning-rate schedule, clipping and weight average."""
    schedule: keras.optimizers.schedules.LearningRateSchedule | None = None
    if config.decay == "staged":
        ends = np.cumsum(3.0 ** np.arange(STAGES)) / np.sum(3.0 ** np.arange(STAGES))
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries=[round(float(end) * config.steps) for end in ends[:-1]],
            values=[10 ** (-stage / (STAGES - 1)) for stage in range(STAGES)],
        )
    elif config.warmup_steps or config.decay == "cosine":
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if config.warmup_steps else 1.0,
            decay_steps=max(1, config.steps - config.warmup_steps),
            # A cosine decay to its own start is constant.
            alpha=0.0 if config.decay == "cosine" else 1.0,
            warmup_target=1.0 if config.warmup_steps else None,
            warmup_steps=config.warmup_steps,
        )
    optimizers = {"adam": ScheduledAdam, "adamax": ScheduledAdamax}
    optimizer = optimizers[config.optimizer](
        config.learning_rate,
        schedule,
        config.weight_decay or None,
        global_clipnorm=config.clip_norm or None,
        use_ema=config.weight_average > 0,
        ema_momentum=config.weight_average or None,
    )
    if config.weight_decay:
        # What shifts, scales and mixes channels is no excess of capacity.
        optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    return optimizer


def compile_for_training(model: LikelihoodModel, config: TrainingConfig) -> None:
    """Give the model its optimizer, with its variables."""
    # XLA on JAX alone, and said so. TensorFlow's own kernels are the faster ones on a processor, and its XLA cannot
    # differentiate a loop over a flow's steps.
    model.compile(optimizer=build_optimizer(config), jit_compile=keras.backend.backend() == "jax")
    model.optimizer.build(model.trainable_variables)


def train(
    model: LikelihoodModel,
    data: TuningData,
    config: TrainingConfig,
    seed: int,
    on_evaluation: Callable[[EvaluationRecord], None] = lambda record: None,
    checkpoint: Checkpoint | None = None,
    picture: Callable[[int], bytes | None] = lambda evaluation: None,
    programs: TrainingPrograms | None = None,
) -> TrainingLog:
    """Initialise the model on training images, train it, evaluate it at intervals, and leave it at its best evaluation.

    An evaluation is the one-sample bound on every validation image, from the same noise in every evaluation of every
    run, so that learning curves differ by their models alone. The weights of the one with the lowest bits/dim are what
    the model has in the end, and :func:`bench.training.course.course` says from the values when the learning rate is
    lowered and when training ends before its budget does.

    With a checkpoint, training continues after ``checkpoint.records()``, which ``on_evaluation`` does not receive
    again; where these are all, nothing is left to train. The state is saved once ``on_evaluation`` has returned.

    Args:
        model: a newly built model, or one that :func:`compile_for_training` has prepared for this ``config``.
        data: training and validation images.
        config: how to train.
        seed: orders the data; the model's own randomness was seeded when it was built.
        on_evaluation: receives the record of each evaluation; an error that it raises ends training.
        checkpoint: where the state is kept.
        picture: gives the samples that the record of an evaluation holds, if it is to hold any.
        programs: the model's, where an earlier training has left them; else they are compiled.

    Raises:
        DivergedError: the loss, or validation, became NaN or infinite.
        CheckpointError: the state cannot be saved.
    """
    stream = ImageStream(len(data.train), config.batch_size, config.steps_per_evaluation, seed)
    if not model.compiled:
        compile_for_training(model, config)
    programs = programs or TrainingPrograms(model, config.evaluations * len(data.validation))
    earlier = None if checkpoint is None else checkpoint.restore(model)
    if earlier is None:
        programs.training.initialise(data.train.images[stream.permutation(0)[:INITIALISATION_IMAGES]])
        log = TrainingLog([], [], config.steps_per_evaluation * config.batch_size)
    else:
        log = earlier.continued()
    best = BestState(model, with_optimizer=config.decay == "plateau")
    if checkpoint is not None and earlier is not None:
        best.arrays, checkpoint.best = checkpoint.best, {}
    done = len(log.records)
    began = time.perf_counter() - log.seconds
    for interval in range(done, config.evaluations):
        if course(log.validation, config).is_over:
            break
        if config.weight_average and interval:
            _swap_averages(model)
        began_interval = time.perf_counter()
        steps_before = interval * config.steps_per_evaluation
        metrics = _train_interval(model, programs, data.train, stream.interval(interval), steps_before)
        log.interval_seconds.append(time.perf_counter() - began_interval)
        if config.weight_average:
            # An evaluation then judges the averaged weights, as the final one will; a checkpoint holds them too, the
            # weights that are trained being with the optimizer.
            _swap_averages(model)
        values = {f"train/{name}": value for name, value in metrics.items()} | _evaluate(
            model, data.validation, programs.evaluation
        )
        for name, value in values.items():
            if not np.isfinite(value):
                raise DivergedError(f"{name} became {value} in evaluation {interval + 1}")
        record = EvaluationRecord(
            evaluation=interval + 1,
            images=(interval + 1) * log.images_per_interval,
            seconds=time.perf_counter() - began,
            values=values,
        )
        before = time.perf_counter()
        record = replace(record, samples=picture(record.evaluation))
        log.records.append(record)
        on_evaluation(record)
        now = course(log.validation, config)
        if now.best == interval:
            best.take()
        if now.is_reduced:
            best.restore()
            model.optimizer.base_rate.assign(config.learning_rate * REDUCTION**now.reductions)
        if checkpoint is not None:
            checkpoint.save(model, log, best.arrays)
        # What watches the training, logging, pictures and checkpoints, is no part of its time.
        began += time.perf_counter() - before
    best.restore()
    return log


def _train_interval(
    model: LikelihoodModel, programs: TrainingPrograms, train: Split, order: npt.NDArray[np.int64], steps_before: int
) -> dict[str, float]:
    """Train on the batches of an interval, a chunk at a time; the mean of each figure over its steps.

    Raises:
        DivergedError: the loss of a step is not finite.
    """
    labels = train.labels if model.classes else None
    logs: list[Logs] = []
    start = 0
    while start < len(order):
        stop = min(start + programs.steps_at_once, len(order))
        began = time.perf_counter()
        logs.append(programs.training.train(train.images, labels, order, start, stop))
        seconds = time.perf_counter() - began
        _check_finite(logs[-1]["loss"], steps_before + start)
        # Shorter than a person's patience, longer than the way to the device and back.
        change = min(CHUNK_GROWTH, CHUNK_SECONDS / seconds)
        programs.steps_at_once = max(1, round((stop - start) * change))
        start = stop
    return {name: float(np.mean(np.concatenate([each[name] for each in logs]))) for name in logs[0]}


def _check_finite(losses: npt.NDArray[np.float32], steps_before: int) -> None:
    lost = np.flatnonzero(~np.isfinite(losses))
    if len(lost):
        raise DivergedError(f"training loss became {losses[lost[0]]} at step {steps_before + lost[0] + 1}")


def _evaluate(model: LikelihoodModel, validation: Split, program: CompiledMethod) -> dict[str, float]:
    # Not the noise that judges the kept weights in the end: the choice among evaluations profits from this one.
    likelihood = log_likelihood(model, validation.images, 1, derive_seed("evaluation"), program)
    return {f"validation/{row.metric}": row.value for row in likelihood.measurements("validation")}


def _swap_averages(model: LikelihoodModel) -> None:
    """Exchange the weights and their moving averages, which Keras's optimizer keeps but has no public name for."""
    for weight, average in zip(model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True):
        value = np.array(weight)
        weight.assign(average)
        average.assign(value)
