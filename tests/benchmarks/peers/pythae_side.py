"""pythae's VAE (Chadebec et al. 2022) under its own trainer, with an encoder and a decoder of the same layers."""

from __future__ import annotations

import logging
import tempfile
import time
from importlib.metadata import version
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from tests.benchmarks.peers.on_torch import KIND, synchronise
from tests.benchmarks.peers.side import Side
from tests.benchmarks.peers.torch_vae import binary_images, dense
from tests.benchmarks.peers.works import LEARNING_RATE, TRAINING, VAEWork


def prepare(work: VAEWork) -> Side:
    """The model, trained for two epochs."""
    # Each of pythae's loggers sets its own level.
    logging.disable(logging.INFO)
    peer = _Peer(work)
    return Side(
        {"device": KIND, "versions": {"torch": torch.__version__, "pythae": version("pythae")}}, {TRAINING: peer.train}
    )


class Encoder(BaseEncoder):
    """Mean and log-variance of the posterior."""

    def __init__(self, work: VAEWork) -> None:
        super().__init__()
        self.layers = dense(work.encoder_sizes)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        mean, log_variance = self.layers(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Probability of each pixel to be on."""

    def __init__(self, work: VAEWork) -> None:
        super().__init__()
        self.layers = dense(work.decoder_sizes)

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).sigmoid())


class _EpochSeconds(TrainingCallback):
    """How long each epoch takes, from its begin to its end: as long as the trainer itself counts it as training."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, training_config: BaseTrainerConfig, **others: Any) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, training_config: BaseTrainerConfig, **others: Any) -> None:
        synchronise()
        self.seconds.append(time.perf_counter() - self.began)


class _Peer:
    def __init__(self, work: VAEWork) -> None:
        self.work = work
        config = VAEConfig(input_dim=(work.pixels,), latent_dim=work.latent_size, reconstruction_loss="bce")
        self.model = VAE(config, encoder=Encoder(work), decoder=Decoder(work))
        self.data = BaseDataset(binary_images(work), torch.zeros(work.images))
        self.speed = self._train(epochs=1)

    def train(self, seconds: float) -> float:
        """Images a second over as many warm epochs as take about so long."""
        self.speed = self._train(max(1, round(seconds * self.speed / self.work.images)))
        return self.speed

    def _train(self, epochs: int) -> float:
        """Images a second over so many epochs after a first one that does not count."""
        clock = _EpochSeconds()
        # The trainer saves the model when it is done.
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=self.work.batch_size,
                num_epochs=1 + epochs,
                learning_rate=LEARNING_RATE,
            )
            BaseTrainer(self.model, self.data, training_config=config, callbacks=[clock]).train()
        return epochs * self.work.images / sum(clock.seconds[1:])
