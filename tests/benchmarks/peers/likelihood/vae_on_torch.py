"""A VAE in plain PyTorch on real data, its inputs x/(Q - 1), with or without the data's marginals as output bias."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tests.benchmarks.peers.likelihood import torch_training
from tests.benchmarks.peers.likelihood.side import Answer
from tests.benchmarks.peers.likelihood.works import Run
from tests.benchmarks.peers.torch_vae import dense
from tests.benchmarks.peers.works import VAEWork

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def train(run: Run) -> Answer:
    """One training; ``run.variant`` is ``plain`` or ``marginals``."""
    return torch_training.train(run, lambda images: _VAE(run, images), {"torch": torch.__version__})


class _VAE:
    def __init__(self, run: Run, images: torch.Tensor) -> None:
        assert isinstance(run.of.architecture, VAEWork)
        self.work = run.of.architecture
        self.levels = self.work.grey_levels
        activation = ACTIVATIONS[run.of.activation]
        self.encoder = dense(self.work.encoder_sizes, activation)
        *hidden, pixels = self.work.decoder_sizes
        self.decoder = dense((*hidden, pixels * (1 if self.levels == 2 else self.levels)), activation)
        if run.variant == "marginals":
            last = self.decoder[-1]
            assert isinstance(last, nn.Linear)
            last.bias.data = self._marginals(images.flatten(1).long())

    def module(self) -> nn.Module:
        return nn.ModuleList([self.encoder, self.decoder])

    def _marginals(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel's grey levels over the training images x (n, pixels), each level counted once more."""
        counts = torch.stack([(x == level).sum(0) + 1 for level in range(self.levels)], dim=-1).float()
        if self.levels == 2:
            return (counts[:, 1] / counts[:, 0]).log()
        return (counts / counts.sum(-1, keepdim=True)).log().flatten()

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Minus the ELBO, its KL in closed form."""
        x = images.flatten(1)
        mean, log_scale = self._posterior(x)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        kl = (0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale).sum(-1)
        return (kl - self._log_prob(x, z)).mean()

    def log_weights(self, images: torch.Tensor) -> torch.Tensor:
        """log p(x | z) + log p(z) - log q(z | x) at one z of the posterior: the KL is sampled, as on our side."""
        x = images.flatten(1)
        mean, log_scale = self._posterior(x)
        noise = torch.randn_like(mean)
        z = mean + log_scale.exp() * noise
        # The constants of both Gaussians cancel.
        kl = (0.5 * (z.square() - noise.square()) - log_scale).sum(-1)
        return self._log_prob(x, z) - kl

    def _posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_scale = self.encoder(x.float() / (self.levels - 1)).chunk(2, dim=-1)
        return mean, log_scale

    def _log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """log p(x | z) (n,)."""
        logits = self.decoder(z)
        if self.levels == 2:
            return -binary_cross_entropy_with_logits(logits, x.float(), reduction="none").sum(-1)
        by_pixel = logits.unflatten(-1, (math.prod(self.work.image_shape), self.levels))
        return -cross_entropy(by_pixel.transpose(1, 2), x.long(), reduction="none").sum(-1)
