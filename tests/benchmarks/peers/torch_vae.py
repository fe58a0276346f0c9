"""A VAE in plain PyTorch, as one writes it without a package: data in one tensor, a loop over random batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks.peers.on_torch import DEVICE, KIND, Trained, batches
from tests.benchmarks.peers.side import Side, rate
from tests.benchmarks.peers.works import LEARNING_RATE, LIKELIHOOD, SAMPLING, TRAINING, VAEWork

EVALUATED_AT_ONCE = 1000


def prepare(work: VAEWork) -> Side:
    """The model, each of its programs run once."""
    peer = _Peer(work)
    for _ in range(10):
        peer.step()
    peer.evaluate()
    peer.sample()
    return Side(
        {"device": KIND, "versions": {"torch": torch.__version__}},
        {
            TRAINING: peer.train,
            LIKELIHOOD: lambda seconds: rate(peer.evaluate, seconds),
            SAMPLING: lambda seconds: rate(peer.sample, seconds),
        },
    )


def dense(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Dense layers with activations between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def binary_images(work: VAEWork) -> torch.Tensor:
    """Synthetic images (n, pixels), as floats."""
    return torch.randint(2, (work.images, work.pixels)).float()


class _Peer(Trained):
    def __init__(self, work: VAEWork) -> None:
        self.work = work
        self.encoder = dense(work.encoder_sizes).to(DEVICE)
        self.decoder = dense(work.decoder_sizes).to(DEVICE)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        self.images = binary_images(work).to(DEVICE)
        self.batches = batches(self.images, work.batch_size)

    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """log p(x | z) at one z of the posterior, less the KL to the prior in closed form; (n,)."""
        mean, log_scale = self.encoder(images).chunk(2, dim=-1)
        logits = self.decoder(mean + log_scale.exp() * torch.randn_like(mean))
        reconstruction = -binary_cross_entropy_with_logits(logits, images, reduction="none").sum(-1)
        kl = (0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale).sum(-1)
        return reconstruction - kl

    @torch.no_grad()
    def evaluate(self) -> int:
        bounds = torch.cat([self.log_likelihood(images) for images in self.images.split(EVALUATED_AT_ONCE)])
        return len(bounds.cpu())

    @torch.no_grad()
    def sample(self) -> int:
        logits = self.decoder(torch.randn(self.work.samples, self.work.latent_size, device=DEVICE))
        return len(torch.bernoulli(logits.sigmoid()).to(torch.uint8).cpu())
