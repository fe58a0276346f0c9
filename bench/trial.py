"""One run from its configuration to its measurements: a trial of the search, or a final run."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import keras
import numpy as np

from bench.config import RunConfig
from bench.data.dataset import DatasetInfo, Images, Split, TuningData
from bench.errors import DivergedError
from bench.likelihood import LogLikelihood, likelihood_program, log_likelihood
from bench.pictures import image_grid
from bench.quality import SMALLEST_SET, sample_quality
from bench.results import EpochRecord, Measurement
from bench.sampling import Sampler
from bench.seeds import derive_seed
from bench.throughput import sampling_speed, speed
from bench.training import TrainingLog, compile_for_training, train
from models.configs import Shape
from models.likelihood_model import LikelihoodModel
from models.registry import build_model
from models.vae import VAE

GRID = 64
"""Images in a grid of samples."""
COLUMNS = 8
TEMPERATURE = 0.7
"""Of the second grid of samples; the paper's figures use it (Kingma & Dhariwal 2018, section 6)."""

OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Picture:
    """A grid of images with its caption."""

    kind: str
    caption: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its model, learning curve, measurements and pictures."""

    model: LikelihoodModel
    log: TrainingLog
    measurements: list[Measurement]
    pictures: list[Picture]


def validation_bits_per_dim(outcome: Outcome) -> float:
    """The number that selection minimises."""
    return next(m.value for m in outcome.measurements if m.key == "validation/bits_per_dim")


def run_trial(config: RunConfig, data: TuningData, seed: int, importance_samples: int, on_epoch: OnEpoch) -> Outcome:
    """Train one configuration and judge it on validation.

    Args:
        config: what to train.
        data: training and validation images; the test split is out of reach from here.
        seed: the run's seed; all of its randomness derives from it.
        importance_samples: k of the validation bound.
        on_epoch: receives the learning curve as it grows; an error that it raises ends the run.

    Raises:
        DivergedError: the loss or the validation bound is not finite.
    """
    model, log = _train(_workbench(config, data.info), data, seed, on_epoch)
    # Done sooner than it would be compiled.
    program = likelihood_program(model, compiled=False)
    validation = log_likelihood(model, data.validation.images, importance_samples, derive_seed("validation"), program)
    _check_finite(validation, "validation")
    measurements = [*validation.measurements("validation"), *_cost(model, log)]
    sampler = Sampler(model, compiled=False)
    return Outcome(model, log, measurements, _pictures(sampler, data.info, data.validation.images, seed))


def run_final(
    config: RunConfig,
    data: TuningData,
    test: Split,
    seed: int,
    importance_samples: int,
    on_epoch: OnEpoch,
    on_progress: Callable[[int, int], None],
) -> Outcome:
    """Train an already selected configuration from one seed, then measure it on test.

    Args:
        config: what to train.
        data: training and validation images.
        test: test images, used for nothing but measuring.
        seed: the run's seed.
        importance_samples: k of the test bound.
        on_epoch: receives the learning curve as it grows.
        on_progress: receives (done, total) log-weights of the test evaluation.

    Raises:
        DivergedError: the loss or a bound is not finite.
    """
    workbench = _workbench(config, data.info)
    model, log = _train(workbench, data, seed, on_epoch)
    likelihood = log_likelihood(
        model, test.images, importance_samples, derive_seed("test"), workbench.likelihood_program, on_progress
    )
    _check_finite(likelihood, "test")
    sampler = workbench.sampler
    measurements = [
        *likelihood.measurements("test"),
        speed("evaluate_images_per_second", likelihood.rates),
        sampling_speed(sampler),
        *_cost(model, log),
    ]
    if len(test) >= SMALLEST_SET:
        samples = sampler.draw(len(test), 1.0, derive_seed(seed, "quality samples"))
        measurements += sample_quality(samples, test.images, data.train.images, data.info.grey_levels)
    return Outcome(model, log, measurements, _pictures(sampler, data.info, test.images, seed))


class _Workbench:
    """The model of one configuration with its compiled programs, for one run after the other.

    On small data compiling takes longer than training. Runs that differ by their seed alone share every program: each
    begins with :meth:`reset`, which leaves nothing of the one before.
    """

    def __init__(self, config: RunConfig, image_shape: Shape, grey_levels: int) -> None:
        # Names of layers and the graphs of earlier runs would otherwise pile up in the process.
        keras.utils.clear_session()
        self.config = config
        self.image_shape = image_shape
        self.grey_levels = grey_levels
        self.model = self._build()
        compile_for_training(self.model, config.training)
        self.likelihood_program = likelihood_program(self.model)
        self.sampler = Sampler(self.model)

    def _build(self) -> LikelihoodModel:
        return build_model(self.config.model, self.image_shape, self.grey_levels)

    def reset(self, seed: int) -> None:
        """Put weights, random state and optimizer where those of a newly built model are under this seed."""
        keras.utils.set_random_seed(derive_seed(seed, "weights and noise"))
        fresh = self._build()
        compile_for_training(fresh, self.config.training)
        self.model.seed_generator.state.assign(fresh.seed_generator.state)
        for now, new in (
            (self.model.weights, fresh.weights),
            (self.model.optimizer.variables, fresh.optimizer.variables),
        ):
            for variable, value in zip(now, new, strict=True):
                variable.assign(value)


@lru_cache(maxsize=1)
def _workbench_of(config: RunConfig, image_shape: Shape, grey_levels: int) -> _Workbench:
    return _Workbench(config, image_shape, grey_levels)


def _workbench(config: RunConfig, info: DatasetInfo) -> _Workbench:
    """The workbench of the run before, if its configuration was the same; else a new one in its place."""
    return _workbench_of(config, info.image_shape, info.grey_levels)


def _train(
    workbench: _Workbench, data: TuningData, seed: int, on_epoch: OnEpoch
) -> tuple[LikelihoodModel, TrainingLog]:
    workbench.reset(seed)
    try:
        log = train(workbench.model, data, workbench.config.training, seed, on_epoch)
    except BaseException:
        # Training that broke off may leave the model's arrays handed over to the device, and unusable.
        _workbench_of.cache_clear()
        raise
    return workbench.model, log


def _check_finite(likelihood: LogLikelihood, split: str) -> None:
    """A model whose training loss is finite may still give an image no probability at all."""
    lost = int(np.sum(~np.isfinite(likelihood.bound)))
    if lost:
        raise DivergedError(f"the {split} bound is not finite for {lost} of {len(likelihood.bound)} images")


def _cost(model: LikelihoodModel, log: TrainingLog) -> list[Measurement]:
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    # ru_maxrss counts kilobytes on Linux and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return [
        speed("train_images_per_second", log.images_per_second()),
        Measurement("cost", "parameters", parameters),
        Measurement("cost", "training_seconds", log.seconds),
        Measurement("cost", "first_epoch_seconds", log.epoch_seconds[0]),
        Measurement("cost", "peak_memory_bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit),
    ]


def _pictures(sampler: Sampler, info: DatasetInfo, images: Images, seed: int) -> list[Picture]:
    """Samples at temperature 1 and below, from the same noise; for a VAE reconstructions beside their originals."""
    pictures = []
    for kind, temperature in (("samples", 1.0), ("samples_temperature", TEMPERATURE)):
        samples = sampler.draw(GRID, temperature, derive_seed(seed, "grid"))
        caption = f"{GRID} samples at temperature {temperature:g}, not selected"
        pictures.append(Picture(kind, caption, image_grid(samples, info.grey_levels, COLUMNS)))
    if isinstance(sampler.model, VAE):
        originals = images[: GRID // 2]
        means = np.asarray(keras.ops.convert_to_numpy(sampler.model.reconstruct(originals)))
        # Pairs side by side: original, reconstruction, original, reconstruction, …
        pairs = np.stack([originals, means], axis=1).reshape(-1, *info.image_shape)
        caption = "Held-out images, each followed by its reconstruction (mean image at the posterior mean)"
        pictures.append(Picture("reconstructions", caption, image_grid(pairs, info.grey_levels, COLUMNS)))
    return pictures
