"""One run from its configuration to its measurements: a trial of the search, or a final run."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from bench.config import RunConfig
from bench.data.dataset import DatasetInfo, Images, Split, TuningData
from bench.errors import DivergedError
from bench.likelihood import LogLikelihood, log_likelihood
from bench.pictures import image_grid
from bench.quality import SMALLEST_SET, sample_quality
from bench.results import EpochRecord, Measurement
from bench.sampling import Sampler
from bench.seeds import derive_seed
from bench.throughput import sampling_speed, speed
from bench.training import TrainingLog, train
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
    model, log = _train(config, data, seed, on_epoch)
    # A look at validation is one small batch, done sooner than it would be compiled.
    validation = log_likelihood(
        model, data.validation.images, importance_samples, derive_seed("validation"), compiled=False
    )
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
    model, log = _train(config, data, seed, on_epoch)
    likelihood = log_likelihood(model, test.images, importance_samples, derive_seed("test"), on_progress=on_progress)
    _check_finite(likelihood, "test")
    sampler = Sampler(model)
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


def _train(config: RunConfig, data: TuningData, seed: int, on_epoch: OnEpoch) -> tuple[LikelihoodModel, TrainingLog]:
    # Names of layers and the graphs of earlier runs would otherwise pile up in the process.
    keras.utils.clear_session()
    keras.utils.set_random_seed(derive_seed(seed, "weights and noise"))
    model = build_model(config.model, data.info.image_shape, data.info.grey_levels)
    return model, train(model, data, config.training, seed, on_epoch)


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
