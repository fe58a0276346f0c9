"""normflows' Glow on real data, fed with y = (x + u)/Q or with the logit of it."""

from __future__ import annotations

import math
from importlib.metadata import version

import torch

from tests.benchmarks.peers.likelihood import torch_training
from tests.benchmarks.peers.likelihood.side import Answer
from tests.benchmarks.peers.likelihood.works import ALPHA, Run
from tests.benchmarks.peers.normflows_side import glow
from tests.benchmarks.peers.works import GlowWork


def train(run: Run) -> Answer:
    """One training; ``run.variant`` is ``linear`` or ``logit``."""
    versions = {"torch": torch.__version__, "normflows": version("normflows")}
    return torch_training.train(run, lambda images: _Glow(run), versions)


class _Glow:
    def __init__(self, run: Run) -> None:
        assert isinstance(run.of.architecture, GlowWork)
        self.work = run.of.architecture
        self.has_logit = run.variant == "logit"
        self.flow = glow(self.work)

    def module(self) -> torch.nn.Module:
        return self.flow

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        return -self.log_weights(images).mean()

    def log_weights(self, images: torch.Tensor) -> torch.Tensor:
        """log p(y) - D log Q at one uniform u, y = (x + u)/Q in the cube."""
        x = images.permute(0, 3, 1, 2).float()
        y = (x + torch.rand_like(x)) / self.work.grey_levels
        log_prob = -math.log(self.work.grey_levels) * math.prod(self.work.image_shape)
        if self.has_logit:
            y, log_det = logit(y)
            log_prob = log_prob + log_det
        return log_prob + self.flow.log_prob(y, None)


def logit(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The logit of s = α + (1 - 2α)·y, and Σ log(1 - 2α) - log s - log(1 - s) over each image."""
    s = ALPHA + (1 - 2 * ALPHA) * y
    log_s, log_rest = s.log(), (-s).log1p()
    return log_s - log_rest, (math.log1p(-2 * ALPHA) - log_s - log_rest).flatten(1).sum(1)
