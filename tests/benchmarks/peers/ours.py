"""Our side, through the public functions of the harness. The Keras backend has to be selected before this is imported.

Each figure is of whole calls, from integer images on the host to results on the host: data order, noise and what the
harness watches are part of it. Only looks at validation are not, as the harness's own training speed has it.
"""

from __future__ import annotations

from importlib.metadata import version

import keras
import numpy as np

from bench.data.dataset import DatasetInfo, Split, TuningData
from bench.evaluation.likelihood import likelihood_program, log_likelihood
from bench.evaluation.sampling import Sampler
from bench.runtime.backend import device
from bench.study.config import TrainingConfig
from bench.training.loop import train
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig
from tests.benchmarks.peers.side import Side, rate
from tests.benchmarks.peers.works import LEARNING_RATE, LIKELIHOOD, SAMPLING, TRAINING, GlowWork, VAEWork

EPOCH_SECONDS = 1.5
"""What an epoch is to take: long beside what happens once in each."""
VALIDATION_IMAGES = 2


def prepare(work: GlowWork | VAEWork) -> Side:
    """The model, with its programs compiled."""
    ours = _Ours(work)
    backend = keras.backend.backend()
    size = ours.config.size(work.image_shape, work.grey_levels)
    assert size is not None, "our families state their size"
    about = {
        "device": device().partition(":")[0],
        "versions": {"keras": version("keras"), backend: version(backend)},
        "multiplications": size.multiplications,
    }
    ours.evaluate()
    ours.sample()
    return Side(
        about,
        {
            TRAINING: ours.train,
            LIKELIHOOD: lambda seconds: rate(ours.evaluate, seconds),
            SAMPLING: lambda seconds: rate(ours.sample, seconds),
        },
    )


class _Ours:
    def __init__(self, work: GlowWork | VAEWork) -> None:
        self.work = work
        self.config = _configuration(work)
        self.data = _synthetic(work)
        self.model = build_model(self.config, work.image_shape, work.grey_levels)
        self.program = likelihood_program(self.model)
        self.sampler = Sampler(self.model, work.samples)
        self.steps = 2
        # The first speed is that of a very short epoch, and too low.
        for _ in range(2):
            self.speed = self._train(epochs=1)
            self.steps = max(1, round(EPOCH_SECONDS * self.speed / work.batch_size))

    def train(self, seconds: float) -> float:
        """Images a second over as many warm epochs as take about so long."""
        self.speed = self._train(max(1, round(seconds * self.speed / (self.steps * self.work.batch_size))))
        return self.speed

    def _train(self, epochs: int) -> float:
        """Images a second over so many epochs after a first one that does not count."""
        config = TrainingConfig(
            learning_rate=LEARNING_RATE,
            clip_norm=0.0,
            batch_size=self.work.batch_size,
            images=(1 + epochs) * self.steps * self.work.batch_size,
            evaluations=1 + epochs,
        )
        speeds = train(self.model, self.data, config, seed=0).images_per_second()
        # All images over all seconds: epochs are equally long.
        return float(len(speeds) / np.sum(1 / speeds))

    def evaluate(self) -> int:
        """One log-weight of each image, from noise that is drawn for it."""
        images = self.data.train.images
        log_likelihood(self.model, images, 1, 0, self.program)
        return len(images)

    def sample(self) -> int:
        """One batch of integer images."""
        return len(self.sampler.draw(self.work.samples, 1.0, 0))


def _configuration(work: GlowWork | VAEWork) -> ModelConfig:
    if isinstance(work, VAEWork):
        return VAEConfig(latent_size=work.latent_size, hidden_sizes=work.hidden_sizes)
    return GlowConfig(
        levels=work.levels,
        flow_depth=work.flow_depth,
        hidden_channels=work.hidden_channels,
        network=work.network,
        blocks=work.blocks,
        checkerboard_steps=work.checkerboard_steps,
    )


def _synthetic(work: GlowWork | VAEWork) -> TuningData:
    generator = np.random.default_rng(0)
    sizes = {"train": work.images, "validation": VALIDATION_IMAGES, "test": 0}
    train, validation = (
        Split(generator.integers(work.grey_levels, size=(sizes[name], *work.image_shape), dtype=np.uint8))
        for name in ("train", "validation")
    )
    info = DatasetInfo("noise", work.image_shape, work.grey_levels, sizes, 0, "Drawn uniformly.")
    return TuningData(info, "noise", train, validation)
