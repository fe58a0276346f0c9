"""Trains a model, evaluates it on validation at intervals, and restores the weights of the best evaluation."""

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
from bench.study.definition import LEAST_EVALUATIONS
from bench.training.checkpoint import Checkpoint
from bench.training.early_stopping import decide
from bench.training.history import RESCUES, TrainingLog
from bench.training.kept_state import KeptState, Milestones, best_variables
from bench.training.optimizers import ScheduledAdam, ScheduledAdamax
from bench.training.program import Logs, training_program
from bench.training.rescue import Rescue, base_rate
from models.base.likelihood_model import LikelihoodModel

INITIALISATION_IMAGES = 1024
"""Training images on which data-dependent weights are initialised."""
CHUNK_SECONDS = 0.5
"""Target duration of a chunk; after each one the host checks the loss and requests to stop."""
CHUNK_GROWTH = 8.0
"""A chunk has at most this many times the steps of the one before, as the first includes compilation."""
VALUES_WORTH_XLA = 2**22
"""Pixel values over ten evaluations, above which XLA compiles the evaluation on TensorFlow, whatever the budget is.

For a Glow of 6 steps on 8x8 digits compilation pays off after about 2 million; a dense VAE gains almost nothing.
"""
STAGES = 8
"""Stages of the ``staged`` decay of the learning rate."""
UNDECAYED = ["bias", "mixing", "moments", "pseudo_inputs", "scale", "shift", "symbol_means", "symbol_logits"]
"""Weights whose names contain one of these have no decay; a flow's coupling networks are stored as one weight."""


class ImageStream:
    """The order of the training images, a pure function of seed and position.

    Random permutations of the images, one per epoch, are joined and cut into batches. Interval i, between two
    evaluations, is the i-th sequence of ``steps`` batches: a budget need not be whole epochs.
    """

    def __init__(self, n: int, batch_size: int, steps: int, seed: int) -> None:
        self.n = n
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def interval(self, number: int) -> npt.NDArray[np.int64]:
        """Indices of the images of each batch of an interval (steps, batch_size)."""
        length = self.steps * self.batch_size
        positions = np.arange(number * length, (number + 1) * length)
        epochs = positions // self.n
        indices = [
            self.permutation(epoch)[positions[epochs == epoch] % self.n]
            for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
        ]
        return np.concatenate(indices).reshape(self.steps, self.batch_size)

    def permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        """The order of the images in an epoch."""
        generator = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, "order", epoch)))
        return generator.permutation(self.n)


class TrainingPrograms:
    """The compiled programs that train and evaluate a model; successive trainings of the model share them.

    Args:
        model: the model.
        evaluated: images over all evaluations of a training.
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
            # A cosine decay with alpha 1 is constant.
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
        # Weights that shift, scale and mix channels add no capacity, and pseudo-inputs are images.
        optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    return optimizer


def compile_for_training(model: LikelihoodModel, config: TrainingConfig) -> None:
    """Compile the model with its optimizer, and create the optimizer's variables."""
    # XLA on JAX alone: on a processor TensorFlow's own kernels are faster, and its XLA cannot differentiate a loop over
    # a flow's steps.
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
    on_rescue: Callable[[str], None] = lambda line: None,
    until: int | None = None,
    milestones: Milestones | None = None,
) -> TrainingLog:
    """Initialise the model on training images, train it, evaluate it at intervals, and restore its best weights.

    An evaluation is the one-sample bound on every validation image, under the same noise in every evaluation of every
    run, so that learning curves differ by their models alone. The model ends with the weights of the evaluation with
    the lowest bits/dim; :func:`bench.training.early_stopping.decide` decides when the learning rate is lowered and when
    training stops before the end of its budget. Where ``config`` allows rescues, training that diverges is taken back
    to its last evaluation by :class:`bench.training.rescue.Rescue`.

    With a checkpoint, training resumes after ``checkpoint.records()``, which ``on_evaluation`` does not receive again.
    The state is saved after ``on_evaluation`` returns, and in any case where training stops: a later call with a larger
    ``until``, or with a larger budget if the schedule does not depend on it, continues bitwise.

    Args:
        model: a new model, or one that :func:`compile_for_training` has compiled for this ``config``.
        data: training and validation images.
        config: how to train.
        seed: orders the data; the model's own randomness was seeded when it was built.
        on_evaluation: receives the record of each evaluation; an error that it raises ends training.
        checkpoint: where the state is saved.
        picture: returns the samples of an evaluation's record, or None.
        programs: the model's programs, if an earlier training has compiled them.
        on_rescue: receives a line that says what happened, at each rescue.
        until: the evaluation after which training stops; by default the last one.
        milestones: keeps the best weights after some of the evaluations.

    Raises:
        DivergedError: the loss, or validation, became NaN or infinite, and no rescue was left.
        CheckpointError: the state cannot be saved.
    """
    stream = ImageStream(len(data.train), config.batch_size, config.steps_per_evaluation, seed)
    if not model.compiled:
        compile_for_training(model, config)
    programs = programs or TrainingPrograms(model, LEAST_EVALUATIONS * len(data.validation))
    earlier = None if checkpoint is None else checkpoint.restore(model)
    if earlier is None:
        programs.training.initialise(data.train.images[stream.permutation(0)[:INITIALISATION_IMAGES]])
        log = TrainingLog([], [], config.steps_per_evaluation * config.batch_size)
    else:
        log = earlier.continued()
    milestones = milestones or Milestones()
    best = KeptState(best_variables(model, with_optimizer=config.decay == "plateau"))
    if checkpoint is not None and earlier is not None:
        best.arrays, checkpoint.best = checkpoint.best, {}
        milestones.weights = {n: own for n, own in checkpoint.milestones.items() if n in milestones.evaluations}
        checkpoint.milestones = {}
    rescue = Rescue(model, config, log)
    rescue.keep()
    began = time.perf_counter() - log.seconds
    last = config.evaluations if until is None else until
    while (interval := len(log.records)) < last and not decide(log.validation, config).stops:
        began_interval = time.perf_counter()
        while True:
            try:
                values, ended = _train_and_evaluate(model, programs, data, config, stream, interval)
                break
            except DivergedError as error:
                on_rescue(rescue.go_back(error))
        log.interval_seconds.append(ended - began_interval)
        if config.rescues:
            values[RESCUES] = float(rescue.count)
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
        now = decide(log.validation, config)
        if now.best == interval:
            best.capture()
        milestones.keep(interval + 1, best.arrays)
        if now.lowers_rate:
            best.restore()
            model.optimizer.base_rate.assign(base_rate(config, log, rescue.count))
        rescue.keep()
        if checkpoint is not None:
            is_last = len(log.records) == last or now.stops
            checkpoint.save(model, log, best.arrays, milestones.weights, is_last)
        # Logging, pictures and checkpoints do not count as training time.
        began += time.perf_counter() - before
    best.restore()
    return log


def _train_and_evaluate(
    model: LikelihoodModel,
    programs: TrainingPrograms,
    data: TuningData,
    config: TrainingConfig,
    stream: ImageStream,
    interval: int,
) -> tuple[dict[str, float], float]:
    """Train on an interval and evaluate: the values of its record, and when the training steps ended.

    Raises:
        DivergedError: one of the values, or the loss of a step, is not finite.
    """
    if config.weight_average and interval:
        _swap_averages(model)
    steps_before = interval * config.steps_per_evaluation
    metrics = _train_interval(model, programs, data.train, stream.interval(interval), steps_before)
    ended = time.perf_counter()
    if config.weight_average:
        # The averaged weights are evaluated, and saved as the model's; the optimizer holds those that are trained.
        _swap_averages(model)
    values = {f"train/{name}": value for name, value in metrics.items()} | _evaluate(
        model, data.validation, programs.evaluation
    )
    for name, value in values.items():
        if not np.isfinite(value):
            raise DivergedError(f"{name} became {value} in evaluation {interval + 1}")
    return values, ended


def _train_interval(
    model: LikelihoodModel, programs: TrainingPrograms, train: Split, order: npt.NDArray[np.int64], steps_before: int
) -> dict[str, float]:
    """Train on the batches of an interval, a chunk at a time; the mean of each metric over its steps.

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
        change = min(CHUNK_GROWTH, CHUNK_SECONDS / seconds)
        programs.steps_at_once = max(1, round((stop - start) * change))
        start = stop
    return {name: float(np.mean(np.concatenate([each[name] for each in logs]))) for name in logs[0]}


def _check_finite(losses: npt.NDArray[np.float32], steps_before: int) -> None:
    lost = np.flatnonzero(~np.isfinite(losses))
    if len(lost):
        raise DivergedError(f"training loss became {losses[lost[0]]} at step {steps_before + lost[0] + 1}")


def _evaluate(model: LikelihoodModel, validation: Split, program: CompiledMethod) -> dict[str, float]:
    # Other noise than that of the final validation bound, as the choice of the best evaluation overfits this one.
    likelihood = log_likelihood(model, validation.images, 1, derive_seed("evaluation"), program)
    return {f"validation/{row.metric}": row.value for row in likelihood.measurements("validation")}


def _swap_averages(model: LikelihoodModel) -> None:
    """Exchange the weights and their moving averages, which Keras's optimizer keeps under a private name."""
    for weight, average in zip(model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True):
        value = np.array(weight)
        weight.assign(average)
        average.assign(value)
