"""The training loop that the sides on PyTorch share: Adam at a constant rate, evaluated now and then."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch

from tests.benchmarks.peers.likelihood.side import Answer
from tests.benchmarks.peers.likelihood.works import VALIDATION_SEED, Run
from tests.benchmarks.peers.on_torch import DEVICE, synchronise

EVALUATED_AT_ONCE = 500
"""Images."""


class Model(Protocol):
    """What the loop trains and evaluates."""

    def module(self) -> torch.nn.Module:
        """All weights."""

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """A scalar, nats per image."""

    def log_weights(self, images: torch.Tensor) -> torch.Tensor:
        """The one-sample bound on log P(x) in nats (n,) of integer images (n, h, w, c)."""


def train(run: Run, build: Callable[[torch.Tensor], Model], versions: dict[str, str]) -> Answer:
    """Train a model, timing its steps, and evaluate it after each ``steps`` of them.

    Args:
        run: what is trained.
        build: makes the model, given the training images.
        versions: of packages.
    """
    torch.manual_seed(run.seed)
    with np.load(run.file) as arrays:
        images, validation = (torch.from_numpy(arrays[name]).to(DEVICE) for name in ("train", "validation"))
    work = run.of
    model = build(images)
    module = model.module().to(DEVICE)
    optimizer = torch.optim.Adam(module.parameters(), lr=run.learning_rate)
    stream = _batches(images, work.architecture.batch_size)
    evaluations: list[tuple[int, float, float, float | None]] = []
    seen, seconds = 0, 0.0
    while seen < run.images:
        module.train()
        began = time.perf_counter()
        for _ in range(work.steps):
            loss = model.loss(next(stream))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        synchronise()
        seconds += time.perf_counter() - began
        seen += work.images_between_evaluations
        module.eval()
        value, error = _evaluate(model, validation, run)
        if not (torch.isfinite(loss) and math.isfinite(value)):
            return Answer(evaluations, versions, note=f"diverged: {work.metric} {value} after {seen} images")
        evaluations.append((seen, seconds, value, error))
        print(f"{seen} images, {seconds:.1f} s: {work.metric} {value:.4f}", file=sys.stderr, flush=True)
    return Answer(evaluations, versions)


def _batches(images: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Full batches without end: one random permutation of the images after the other, cut into batches."""
    order = torch.empty(0, dtype=torch.long, device=images.device)
    while True:
        while len(order) < size:
            order = torch.cat([order, torch.randperm(len(images), device=images.device)])
        yield images[order[:size]]
        order = order[size:]


@torch.no_grad()
def _evaluate(model: Model, validation: torch.Tensor, run: Run) -> tuple[float, float]:
    """The metric's mean over images and its standard error; the noise is the same at every evaluation."""
    with torch.random.fork_rng():
        torch.manual_seed(VALIDATION_SEED)
        nats = torch.cat([model.log_weights(images) for images in validation.split(EVALUATED_AT_ONCE)]).double()
    values = -nats
    if run.of.metric == "bits_per_dim":
        values = values / (math.log(2) * math.prod(run.of.architecture.image_shape))
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))
