"""What the sides on PyTorch share: the device, a CUDA device where there is one, and the order of the images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch

from tests.benchmarks.peers.side import rate

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KIND = "gpu" if DEVICE.type == "cuda" else "cpu"
"""As the harness calls it."""


def synchronise() -> None:
    """Wait for what was begun; a processor has nothing outstanding."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def check_finite(loss: torch.Tensor) -> None:
    """Refuse the speed of a training that has left the numbers."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the training loss became {float(loss)}")


def batches(images: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Batches of the images without end, in a new random order for each pass over them."""
    while True:
        order = torch.randperm(len(images), device=images.device)
        for start in range(0, len(images), size):
            yield images[order[start : start + size]]


class Trained(ABC):
    """A model that is trained by its log-likelihood, a batch after the other."""

    optimizer: torch.optim.Optimizer
    batches: Iterator[torch.Tensor]
    loss: torch.Tensor

    @abstractmethod
    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """Log p of images, or a bound on it (n,)."""

    def train(self, seconds: float) -> float:
        """Images a second over about so many seconds."""
        return rate(self.step, seconds, self._finish)

    def step(self) -> int:
        """One step; its images."""
        images = next(self.batches)
        self.loss = -self.log_likelihood(images).mean()
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()
        return len(images)

    def _finish(self) -> None:
        synchronise()
        check_finite(self.loss)
