"""normflows' Glow (Stimper et al. 2023), built as in its own example."""

from __future__ import annotations

from importlib.metadata import version

import normflows
import torch

from tests.benchmarks.peers.on_torch import DEVICE, KIND, Trained, batches
from tests.benchmarks.peers.side import Side, rate
from tests.benchmarks.peers.works import LEARNING_RATE, LIKELIHOOD, SAMPLING, TRAINING, GlowWork


def prepare(work: GlowWork) -> Side:
    """The model, each of its programs run once."""
    peer = _Peer(work)
    # The first batch initialises the actnorms.
    for _ in range(2):
        peer.step()
    peer.evaluate()
    peer.sample()
    return Side(
        {"device": KIND, "versions": {"torch": torch.__version__, "normflows": version("normflows")}},
        {
            TRAINING: peer.train,
            LIKELIHOOD: lambda seconds: rate(peer.evaluate, seconds),
            SAMPLING: lambda seconds: rate(peer.sample, seconds),
        },
    )


def glow(work: GlowWork) -> normflows.MultiscaleFlow:
    """The flow, with the settings of normflows' example."""
    height, width, channels = work.image_shape
    bases, flows, merges = [], [], []
    for i in range(work.levels):  # the coarsest first
        halvings = work.levels - i
        blocks = [
            normflows.flows.GlowBlock(
                channels * 2 ** (halvings + 1), work.hidden_channels, split_mode="channel", scale=True
            )
            for _ in range(work.flow_depth)
        ]
        flows.append([*blocks, normflows.flows.Squeeze()])
        if i > 0:
            merges.append(normflows.flows.Merge())
        # What is factored out at a level is half of its channels; the coarsest level keeps all.
        latent_channels = channels * 2 ** (halvings + (i == 0))
        bases.append(normflows.distributions.GlowBase((latent_channels, height >> halvings, width >> halvings)))
    return normflows.MultiscaleFlow(bases, flows, merges, class_cond=False)


class _Peer(Trained):
    def __init__(self, work: GlowWork) -> None:
        height, width, channels = work.image_shape
        self.work = work
        self.flow = glow(work).to(DEVICE)
        self.optimizer = torch.optim.Adam(self.flow.parameters(), lr=LEARNING_RATE)
        shape = (work.images, channels, height, width)
        self.images = torch.randint(work.grey_levels, shape, dtype=torch.uint8, device=DEVICE)
        self.batches = batches(self.images, work.batch_size)

    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """log p(y) of dequantised images."""
        y = (images + torch.rand(images.shape, device=DEVICE)) / self.work.grey_levels
        return self.flow.log_prob(y, None)

    @torch.no_grad()
    def evaluate(self) -> int:
        return len(self.log_likelihood(self.images).cpu())

    @torch.no_grad()
    def sample(self) -> int:
        y, _ = self.flow.sample(self.work.samples)
        top = self.work.grey_levels - 1
        return len((y * self.work.grey_levels).clamp(0, top).to(torch.uint8).cpu())
