"""What the sides on PyTorch share: the device, a CUDA device where there is one, and the order of the images."""

from __future__ import annotations

from collections.abc import Iterator

import torch

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
