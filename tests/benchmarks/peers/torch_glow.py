"""A Glow as one would write it in plain PyTorch: gated residual coupling networks, checkerboard steps, split priors."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.peers.on_torch import DEVICE, KIND, Trained, batches
from tests.benchmarks.peers.side import Side, rate
from tests.benchmarks.peers.works import LEARNING_RATE, LIKELIHOOD, SAMPLING, TRAINING, GlowWork

LOG_2_PI = math.log(2 * math.pi)


def prepare(work: GlowWork) -> Side:
    """The model, each of its programs run once."""
    peer = _Peer(work)
    # The first batch initialises the actnorms.
    for _ in range(2):
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


def zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    """The convolution with weights 0, so that a coupling begins as the identity but for its scale."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def concat_elu(x: torch.Tensor) -> torch.Tensor:
    """Elu(x) and elu(-x) side by side."""
    return functional.elu(torch.cat([x, -x], dim=1))


class GatedBlock(nn.Module):
    """Norm(x + v·sigmoid(g)) over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.second = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.second(concat_elu(self.first(concat_elu(x)))).chunk(2, dim=1)
        return self.norm((x + value * gate.sigmoid()).movedim(1, -1)).movedim(-1, 1)


class ResidualNetwork(nn.Module):
    """A 3x3 convolution, gated blocks, a concat-ELU, and a 3x3 convolution that begins as 0."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), *(GatedBlock(width) for _ in range(blocks)))
        self.last = zeroed(nn.Conv2d(2 * width, outputs, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(concat_elu(self.body(x)))


class Step(nn.Module):
    """An actnorm, an invertible 1x1 convolution by its LU factors, and an affine coupling."""

    weight: torch.Tensor
    kept: torch.Tensor

    def __init__(self, channels: int, work: GlowWork, side: tuple[int, int] | None, parity: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.is_initialised = False
        permutation, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())
        self.half = channels // 2
        self.is_checkerboard = side is not None
        if side is None:
            inputs, moved = self.half, channels - self.half
        else:
            inputs = moved = channels
            pixels = torch.arange(side[0])[:, None] + torch.arange(side[1])
            self.register_buffer("stays", pixels % 2 == parity)
        self.network = ResidualNetwork(inputs, 2 * moved, work.hidden_channels, work.blocks)

    def matrix(self) -> torch.Tensor:
        """W = P L (U + diag(sign·exp(log s)))."""
        identity = torch.eye(len(self.log_diagonal), device=self.lower.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return self.permutation @ (self.lower.tril(-1) + identity) @ upper

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, c, h, w) -> the same, and the log-determinant (n,)."""
        if not self.is_initialised:
            with torch.no_grad():
                self.bias.copy_(-x.mean((0, 2, 3), keepdim=True))
                self.log_scale.copy_(-(x.std((0, 2, 3), keepdim=True) + 1e-6).log())
            self.is_initialised = True
        x = functional.conv2d((x + self.bias) * self.log_scale.exp(), self.matrix()[:, :, None, None])
        constant = x[0, 0].numel() * (self.log_scale.sum() + self.log_diagonal.sum())
        if self.is_checkerboard:
            shift, log_slope = self._affine(self.network(torch.where(self.stays, x, 0.0)))
            moved = torch.where(self.stays, x, (x + shift) * log_slope.exp())
            return moved, constant + torch.where(self.stays, 0.0, log_slope).sum((1, 2, 3))
        a, b = x[:, : self.half], x[:, self.half :]
        shift, log_slope = self._affine(self.network(a))
        return torch.cat([a, (b + shift) * log_slope.exp()], dim=1), constant + log_slope.sum((1, 2, 3))

    def inverse(self, y: torch.Tensor) -> torch.Tensor:
        """The x of a y."""
        if self.is_checkerboard:
            shift, log_slope = self._affine(self.network(torch.where(self.stays, y, 0.0)))
            x = torch.where(self.stays, y, y * (-log_slope).exp() - shift)
        else:
            a, b = y[:, : self.half], y[:, self.half :]
            shift, log_slope = self._affine(self.network(a))
            x = torch.cat([a, b * (-log_slope).exp() - shift], dim=1)
        x = functional.conv2d(x, torch.linalg.inv(self.matrix())[:, :, None, None])
        return x * (-self.log_scale).exp() - self.bias

    @staticmethod
    def _affine(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift, raw = theta.chunk(2, dim=1)
        return shift, functional.logsigmoid(raw + 2)


def normallog_likelihood(z: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Summed over all but the first axis (n,)."""
    return (-0.5 * (((z - mean) * (-log_scale).exp()).square() + LOG_2_PI) - log_scale).sum((1, 2, 3))


class PlainGlow(nn.Module):
    """Images (n, c, h, w) to latents, and log p of images that were scaled to [-1/2, 1/2)."""

    def __init__(self, work: GlowWork) -> None:
        super().__init__()
        height, width, channels = work.image_shape
        sides = (height, width)
        self.checkerboard = nn.ModuleList(Step(channels, work, sides, i % 2) for i in range(work.checkerboard_steps))
        self.levels, self.priors = nn.ModuleList(), nn.ModuleList()
        for level in range(work.levels):
            channels *= 4
            self.levels.append(nn.ModuleList(Step(channels, work, None, 0) for _ in range(work.flow_depth)))
            if level < work.levels - 1:
                channels //= 2
                self.priors.append(zeroed(nn.Conv2d(channels, 2 * channels, 3, padding=1)))
        self.top = nn.Parameter(torch.zeros(2, 1, channels, 1, 1))
        self.shape = (channels, height >> work.levels, width >> work.levels)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Log p(x) (n,)."""
        total = torch.zeros(len(x), device=x.device)
        for step in self.checkerboard:
            x, log_det = step(x)
            total = total + log_det
        for level, steps in enumerate(self.levels):
            x = functional.pixel_unshuffle(x, 2)
            for step in steps:
                x, log_det = step(x)
                total = total + log_det
            if level < len(self.priors):
                x, z = x.chunk(2, dim=1)
                total = total + normallog_likelihood(z, *self.priors[level](x).chunk(2, dim=1))
        return total + normallog_likelihood(x, *self.top)

    def sample(self, n: int) -> torch.Tensor:
        """Images (n, c, h, w)."""
        mean, log_scale = self.top
        x = mean + log_scale.exp() * torch.randn(n, *self.shape, device=self.top.device)
        for level in reversed(range(len(self.levels))):
            if level < len(self.priors):
                mean, log_scale = self.priors[level](x).chunk(2, dim=1)
                x = torch.cat([x, mean + log_scale.exp() * torch.randn_like(mean)], dim=1)
            for step in reversed(self.levels[level]):
                x = step.inverse(x)
            x = functional.pixel_shuffle(x, 2)
        for step in reversed(self.checkerboard):
            x = step.inverse(x)
        return x


class _Peer(Trained):
    def __init__(self, work: GlowWork) -> None:
        height, width, channels = work.image_shape
        self.work = work
        self.flow = PlainGlow(work).to(DEVICE)
        self.optimizer = torch.optim.Adam(self.flow.parameters(), lr=LEARNING_RATE)
        shape = (work.images, channels, height, width)
        self.images = torch.randint(work.grey_levels, shape, dtype=torch.uint8, device=DEVICE)
        self.batches = batches(self.images, work.batch_size)

    def log_likelihood(self, images: torch.Tensor) -> torch.Tensor:
        """log p of dequantised images."""
        return self.flow.log_prob((images + torch.rand(images.shape, device=DEVICE)) / self.work.grey_levels - 0.5)

    @torch.no_grad()
    def evaluate(self) -> int:
        return len(self.log_likelihood(self.images).cpu())

    @torch.no_grad()
    def sample(self) -> int:
        levels = self.work.grey_levels
        drawn = ((self.flow.sample(self.work.samples) + 0.5) * levels).clamp(0, levels - 1)
        return len(drawn.to(torch.uint8).cpu())
