"""Several trainings as one program against one at a time: images per second in total. Imported once JAX is selected."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import numpy as np

from bench.study.config import TrainingConfig
from bench.training.loop import compile_for_training
from bench.training.program import training_program
from bench.training.vectorized import VectorizedTraining
from models.base.config import ModelConfig
from models.base.likelihood_model import LikelihoodModel
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig
from tests.benchmarks.accelerator.data import tuning_data
from tests.benchmarks.accelerator.part import Part

STEPS = 2048
"""Of an epoch: more than are taken at once."""
FIRST_STEPS = 8
RATE = 1e-4


def measure(part: Part) -> None:
    """The VAE of the published recipe, and a small Glow."""
    levels, depth, width = part.sizes.packed_glow
    images = tuning_data(part.data, part.sizes.validation_images).train.images
    configs: dict[str, ModelConfig] = {
        "VAE 200-200, 50 latents": VAEConfig.preset("iwae"),
        f"Glow K={depth} L={levels} width {width}": GlowConfig(levels=levels, flow_depth=depth, hidden_channels=width),
    }
    batch = part.sizes.packed_batch
    generator = np.random.default_rng(0)
    for name, config in configs.items():
        subject = f"{name}, batch {batch}"
        order = generator.integers(len(images), size=(STEPS, batch))
        program = training_program(_model(config, images, batch))
        program.initialise(images[:batch])
        alone = _speed(lambda steps: program.train(images, None, order, 0, steps), batch, part)  # noqa: B023 - used at once
        part.tell(subject, "one at a time, images/s", alone)
        for trainings in part.sizes.packs:
            pack = VectorizedTraining(_model(config, images, batch), [RATE] * trainings, range(trainings))
            orders = generator.integers(len(images), size=(trainings, STEPS, batch))
            pack.initialise(images, orders[:, 0])
            total = _speed(lambda steps: pack.train(images, orders, 0, steps), trainings * batch, part)  # noqa: B023
            part.tell(subject, f"{trainings} at once, images/s in total", total)
            part.tell(subject, f"{trainings} at once, over one at a time", total / alone)


def _model(config: ModelConfig, images: np.ndarray, batch: int) -> LikelihoodModel:
    random.seed(0)
    model = build_model(config, images.shape[1:], 256)
    compile_for_training(model, TrainingConfig(learning_rate=RATE, batch_size=batch))
    return model


def _speed(train: Callable[[int], object], images: int, part: Part) -> float:
    """Images a second, the median of some turns.

    Args:
        train: takes so many steps.
        images: of a step.
        part: says how long a turn is, and how many there are.
    """
    train(FIRST_STEPS)  # compiles
    steps = min(STEPS, max(1, round(FIRST_STEPS * part.sizes.turn_seconds / _seconds(train, FIRST_STEPS))))
    return statistics.median(steps * images / _seconds(train, steps) for _ in range(part.sizes.rounds))


def _seconds(train: Callable[[int], object], steps: int) -> float:
    began = time.perf_counter()
    train(steps)
    return time.perf_counter() - began
