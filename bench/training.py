"""Training through Keras's own ``fit``, with a typed reason when it ends early."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from bench.checkpoint import Checkpoint
from bench.config import TrainingConfig
from bench.data.dataset import Split, TuningData
from bench.errors import DivergedError
from bench.likelihood import likelihood_program, log_likelihood
from bench.results import EpochRecord
from bench.scheduled_rate import ScheduledAdam, ScheduledAdamax
from bench.seeds import derive_seed
from bench.training_log import TrainingLog
from models.likelihood_model import LikelihoodModel

INITIALISATION_IMAGES = 1024
"""Training images that data-dependent weights are initialised on."""
STAGES = 8
"""Of the ``staged`` decay of the learning rate."""


class ImageStream(keras.utils.PyDataset):
    """Batches of a split in an order that is a pure function of seed and position.

    The stream is one random permutation of the images after the other, cut into batches; epoch e of Keras is the
    e-th stretch of ``steps`` batches of it, so that training budgets need not be whole passes.
    """

    def __init__(self, split: Split, batch_size: int, steps: int, seed: int, with_labels: bool) -> None:
        super().__init__()
        self.split = split
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.with_labels = with_labels
        self.epoch = 0
        self._permutations: dict[int, npt.NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self._indices((self.epoch * self.steps + index) * self.batch_size)
        images = self.split.images[chosen]
        if self.with_labels and self.split.labels is not None:
            return ((images, self.split.labels[chosen]),)
        return (images,)

    def _indices(self, start: int) -> npt.NDArray[np.int64]:
        """The ``batch_size`` indices from position ``start`` of the stream."""
        n = len(self.split)
        positions = np.arange(start, start + self.batch_size)
        passes = positions // n
        return np.concatenate(
            [self._permutation(int(p))[positions[passes == p] % n] for p in range(passes[0], passes[-1] + 1)]
        )

    def _permutation(self, number: int) -> npt.NDArray[np.int64]:
        if number not in self._permutations:
            generator = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, "order", number)))
            self._permutations[number] = generator.permutation(len(self.split))
            self._permutations.pop(number - 2, None)
        return self._permutations[number]


class _StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the run at the first batch after which the mean loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not np.isfinite(loss):
            step = int(self.model.optimizer.iterations)
            raise DivergedError(f"training loss became {loss} at step {step}")


class _LearningCurve(keras.callbacks.Callback):
    """Moves the stream on, times each epoch, looks at validation, hands the record over, and saves the state."""

    def __init__(
        self,
        stream: ImageStream,
        look: Callable[[], dict[str, float]],
        picture: Callable[[int], bytes | None],
        on_epoch: Callable[[EpochRecord], None],
        log: TrainingLog,
        checkpoint: Checkpoint | None,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.look = look
        self.picture = picture
        self.on_epoch = on_epoch
        self.log = log
        self.checkpoint = checkpoint

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.began = time.perf_counter() - self.log.seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.stream.epoch = epoch
        self.epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.log.epoch_seconds.append(time.perf_counter() - self.epoch_began)
        values = {f"train/{name}": float(value) for name, value in (logs or {}).items()} | self.look()
        for name, value in values.items():
            if not np.isfinite(value):
                raise DivergedError(f"{name} became {value} in epoch {epoch + 1}")
        record = EpochRecord(
            epoch=epoch + 1,
            images=(epoch + 1) * self.stream.steps * self.stream.batch_size,
            seconds=time.perf_counter() - self.began,
            values=values,
        )
        before = time.perf_counter()
        record = replace(record, samples=self.picture(record.epoch))
        self.log.records.append(record)
        self.on_epoch(record)
        if self.checkpoint is not None:
            self.checkpoint.save(self.model, self.log, last=record.epoch == self.params["epochs"])
        # What watches the training, logging, pictures and checkpoints, is no part of its time.
        self.began += time.perf_counter() - before


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
    return optimizers[config.optimizer](
        config.learning_rate,
        schedule,
        global_clipnorm=config.clip_norm or None,
        use_ema=config.weight_average > 0,
        ema_momentum=config.weight_average or None,
    )


def compile_for_training(model: LikelihoodModel, config: TrainingConfig) -> None:
    """Give the model its optimizer, and have its training step compiled when it is first run."""
    # XLA on every backend, and said so: Keras's "auto" leaves it out on a CPU under TensorFlow, where flows of small
    # images then run at half the speed, and draws other random numbers.
    model.compile(optimizer=build_optimizer(config), jit_compile=True)
    # Built before the first step: TensorFlow traces a function twice if its first trace creates variables.
    model.optimizer.build(model.trainable_variables)


def train(
    model: LikelihoodModel,
    data: TuningData,
    config: TrainingConfig,
    seed: int,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    checkpoint: Checkpoint | None = None,
    picture: Callable[[int], bytes | None] = lambda epoch: None,
) -> TrainingLog:
    """Initialise the model on training images, then train it and look at validation after each epoch.

    A look is the one-sample bound on every validation image, from the same noise at every look of every run, so that
    learning curves differ by their models alone.

    With a checkpoint, training goes on after the epochs of ``checkpoint.records()``, which ``on_epoch`` is not told of
    again; where these are all, nothing is left to train. The state of an epoch is saved once ``on_epoch`` has returned.

    Args:
        model: a newly built model, or one that :func:`compile_for_training` has prepared for this ``config``.
        data: training and validation images.
        config: how to train.
        seed: orders the data; the model's own randomness was seeded when it was built.
        on_epoch: receives each epoch's record as it ends; an error that it raises ends training.
        checkpoint: where the state is kept.
        picture: gives the samples that the record of an epoch holds, if it is to hold any.

    Raises:
        DivergedError: the loss, or validation, became NaN or infinite.
        CheckpointError: the state cannot be saved.
    """
    with_labels = bool(getattr(model.configuration, "classes", 0))
    stream = ImageStream(data.train, config.batch_size, config.steps_per_report, seed, with_labels)
    if not model.compiled:
        compile_for_training(model, config)
    earlier = None if checkpoint is None else checkpoint.restore(model)
    if earlier is None:
        model.initialise(data.train.images[stream._permutation(0)[:INITIALISATION_IMAGES]])
        log = TrainingLog([], [], stream.steps * stream.batch_size)
    else:
        log = earlier.continued()
    done = len(log.records)
    # A look is soon done, and compiling it would take longer than all looks together.
    program = likelihood_program(model, compiled=False)

    def look() -> dict[str, float]:
        likelihood = log_likelihood(model, data.validation.images, 1, derive_seed("validation"), program)
        return {f"validation/{row.metric}": row.value for row in likelihood.measurements("validation")}

    callbacks: list[keras.callbacks.Callback] = [
        _StopWhenNotFinite(),
        _LearningCurve(stream, look, picture, on_epoch, log, checkpoint),
    ]
    if config.weight_average:
        # A look then judges the averaged weights, as the final evaluation will.
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        # So does a checkpoint hold them, the weights that are trained being with the optimizer: the next epoch begins
        # by swapping them back. Keras has no public way to say that they are swapped already.
        swap._ema_weights_in_model = done > 0
        callbacks.insert(0, swap)
    model.fit(stream, epochs=config.reports, initial_epoch=done, shuffle=False, verbose=0, callbacks=callbacks)
    return log
