"""Our Glow's weights in the blocks of normflows (Stimper et al. 2023), an independent implementation in PyTorch.

normflows writes a flow from the latents to the data, so that its ``inverse`` is our ``encode``. Its conventions,
version 1.7.3, against ours:

    part             normflows, direction of the density             ours
    layout           (n, c, h, w)                                    (n, h, w, c)
    squeeze          channel 4c + 2i + j of pixel (i, j) of a block  the same
    actnorm          (x - t)·exp(-s)                                 exp(s)·(x + b): t = -b, s = -s
    1x1 convolution  W x, W = P L (U + diag(sign·exp(log_S)))        the same
    coupling         sigmoid(r + 2)·(b - t)                          sigmoid(r + 2)·(b + t): t = -t
                     channels of t and r interleaved                 first all of t, then all of r
    its network      convolutions 3x3, 1x1, 3x3                      the last one times exp(3·scale): folded in
    split            first half goes on                              the same
    base             a mean and a log-scale per channel              top prior: the same; split priors: conditional

normflows has no split prior that depends on the half that goes on. Two comparisons cover it: with split priors made
constant, all of log p is normflows' ``MultiscaleFlow.log_prob``; with our conditional ones, maps and
log-determinants are normflows' and the prior is PyTorch's ``conv2d`` and ``Normal``.
"""

from __future__ import annotations

from collections.abc import Callable

import normflows
import numpy as np
import numpy.typing as npt
import torch

from models.bijections.actnorm import ActNorm
from models.bijections.coupling import CheckerboardCoupling, Coupling
from models.bijections.coupling_networks import ZeroConvolution
from models.bijections.elementwise import Affine
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.glow.model import Glow

Array = npt.NDArray[np.float64]


class Peer:
    """normflows' Glow with the weights of ours, in double precision."""

    def __init__(self, model: Glow) -> None:
        settings = model.configuration
        levels = range(settings.levels)
        shapes = [(channels, height, width) for height, width, channels in reversed(model.latent_shapes)]
        bases = [normflows.distributions.GlowBase(shape) for shape in shapes]
        flows = [self._level(model, level) for level in reversed(levels)]  # normflows begins at the coarsest
        merges = [normflows.flows.Merge() for _ in levels[1:]]
        self.flow = normflows.MultiscaleFlow(bases, flows, merges, class_cond=False).double()
        _set_base(self.flow.q0[0], _array(model.top_prior.moments))
        self.split_convolutions = [_scaled_convolution(prior.convolution) for prior in reversed(model.split_priors)]
        for base, (_, bias) in zip(self.flow.q0[1:], self.split_convolutions, strict=True):
            _set_base(base, bias.numpy())

    @staticmethod
    def _level(model: Glow, level: int) -> list[torch.nn.Module]:
        """The blocks of one level, last first, and the squeeze."""
        settings = model.configuration
        blocks = []
        for step in model.chains[level].bijections[1].unrolled():
            channels = step.actnorm.bias.shape[0]
            block = normflows.flows.GlowBlock(
                channels,
                settings.hidden_channels,
                scale=settings.coupling == "affine",
                scale_map="sigmoid",
                use_lu=settings.permutation == "lu",
            ).double()
            their_coupling, their_convolution, their_actnorm = block.flows
            _copy_actnorm(step.actnorm, their_actnorm)
            _copy_convolution(step.convolution, their_convolution)
            _copy_network(step.coupling, their_coupling.flows[1].param_map.net)
            blocks.append(block)
        return [*reversed(blocks), normflows.flows.Squeeze()]

    @torch.no_grad()
    def log_prob(self, y: Array) -> Array:
        """normflows' own log p(y) (n,). Its bases take the split priors' biases: our kernels have to be zero."""
        if any(kernel.any() for kernel, _ in self.split_convolutions):
            raise ValueError("normflows has no split prior with a kernel: make them constant, or take the conditional")
        return np.asarray(self.flow.log_prob(_channels_first(y), None))

    @torch.no_grad()
    def conditional_log_prob(self, y: Array) -> Array:
        """log p(y) (n,) through normflows' maps, each factored-out half under a Gaussian conditioned on the other."""
        x, log_prob = _channels_first(y), torch.zeros(len(y), dtype=torch.float64)
        for i in reversed(range(self.flow.num_levels)):
            for step in reversed(self.flow.flows[i]):
                x, log_det = step.inverse(x)
                log_prob = log_prob + log_det
            if i:
                (x, z), _ = self.flow.merges[i - 1].inverse(x)
                kernel, bias = self.split_convolutions[i - 1]
                mean, log_scale = torch.nn.functional.conv2d(x, kernel, bias, padding=1).chunk(2, dim=1)
                log_prob = log_prob + torch.distributions.Normal(mean, log_scale.exp()).log_prob(z).sum((1, 2, 3))
        return np.asarray(log_prob + self.flow.q0[0].log_prob(x))

    @torch.no_grad()
    def encode(self, y: Array) -> list[Array]:
        """All latents, finest first as ours are, (n, h, w, c)."""
        latents, _ = self.flow.inverse_and_log_det(_channels_first(y))
        return [_channels_last(z) for z in reversed(latents)]

    @torch.no_grad()
    def decode(self, latents: list[Array]) -> Array:
        """Images (n, h, w, c) from all latents, finest first."""
        y, _ = self.flow.forward_and_log_det([_channels_first(z) for z in reversed(latents)])
        return _channels_last(y)


def _array(weight: object) -> Array:
    return np.asarray(weight, dtype=np.float64)


def _tensor(array: Array) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)


def _channels_first(x: Array) -> torch.Tensor:
    return _tensor(np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, 1)))


def _channels_last(x: torch.Tensor) -> Array:
    return np.ascontiguousarray(np.moveaxis(np.asarray(x), 1, -1))


def _set_base(base: normflows.distributions.GlowBase, moments: Array) -> None:
    mean, log_scale = np.split(moments, 2)
    base.loc.data = _tensor(mean)[None, :, None, None]
    base.log_scale.data = _tensor(log_scale)[None, :, None, None]


def _copy_actnorm(ours: ActNorm, theirs: normflows.flows.ActNorm) -> None:
    theirs.t.data = _tensor(-_array(ours.bias))[None, :, None, None]
    theirs.s.data = _tensor(-_array(ours.log_scale))[None, :, None, None]
    theirs.data_dep_init_done = torch.tensor(1.0)


def _copy_convolution(ours: LUConvolution | PlainConvolution, theirs: normflows.flows.mixing.Invertible1x1Conv) -> None:
    if isinstance(ours, PlainConvolution):
        theirs.W.data = _tensor(_array(ours.kernel))
        return
    packed = _array(ours.packed)
    theirs.P = _tensor(_array(ours.permutation))
    theirs.sign_S = _tensor(_array(ours.sign))
    theirs.L.data = _tensor(np.tril(packed, -1))
    theirs.U.data = _tensor(np.triu(packed, 1))
    theirs.log_S.data = _tensor(np.diag(packed).copy())


def _scaled_convolution(ours: ZeroConvolution) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernel (out, in, 3, 3) and bias (out,), both times exp(3·scale)."""
    scale = np.exp(3 * _array(ours.log_scale))
    kernel, bias = (_array(weight) * scale for weight in (ours.convolution.kernel, ours.convolution.bias))
    return _tensor(kernel.transpose(3, 2, 0, 1).copy()), _tensor(bias)


def _copy_hidden(ours: Coupling, theirs: torch.nn.Sequential) -> ZeroConvolution:
    """Copy the first two convolutions, and give the last one of ours."""
    first, second, last = ours.network.stages
    for stage, convolution in ((first, theirs[0]), (second, theirs[2])):
        convolution.weight.data = _tensor(_array(stage.kernel).transpose(3, 2, 0, 1).copy())
        convolution.bias.data = _tensor(_array(stage.bias))
    return last


def _copy_network(ours: Coupling, theirs: torch.nn.Sequential) -> None:
    last = _copy_hidden(ours, theirs)
    for weight, values in zip((theirs[4].weight, theirs[4].bias), _scaled_convolution(last), strict=True):
        if isinstance(ours.elementwise, Affine):
            shift, raw = values.chunk(2)
            weight.data = torch.stack([-shift, raw], dim=1).flatten(0, 1)
        else:
            weight.data = -values


class MaskedPeer:
    """normflows' masked affine flow with the weights of our affine coupling on a checkerboard, in double precision.

    Theirs is y = m·x + (1 - m)·(exp(s(m·x))·x + t(m·x)): s = log sigmoid(r + 2), t = exp(s)·b.
    """

    def __init__(self, ours: CheckerboardCoupling, channels: int) -> None:
        convolution, hidden = torch.nn.Conv2d, ours.network.stages[0].filters
        self.network = torch.nn.Sequential(
            convolution(channels, hidden, 3, padding=1),
            torch.nn.ReLU(),
            convolution(hidden, hidden, 1),
            torch.nn.ReLU(),
            convolution(hidden, 2 * channels, 3, padding=1),
        ).double()
        last = _copy_hidden(ours, self.network)
        self.network[4].weight.data, self.network[4].bias.data = _scaled_convolution(last)
        stays = np.broadcast_to(ours.sums % 2 == int(ours.parity), (*ours.sums.shape[:2], channels))
        mask = torch.tensor(np.moveaxis(stays, -1, 0).astype(np.float64))
        self.flow = normflows.flows.MaskedAffineFlow(mask, _Module(self._shift), _Module(self._log_scale))

    def _log_scale(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid(self.network(x).chunk(2, dim=1)[1] + 2.0)

    def _shift(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).chunk(2, dim=1)[0] * self._log_scale(x).exp()

    @torch.no_grad()
    def forward(self, x: Array) -> tuple[Array, Array]:
        """Y and the log-determinant of images x (n, h, w, c)."""
        y, log_det = self.flow.forward(_channels_first(x))
        return _channels_last(y), np.asarray(log_det)

    @torch.no_grad()
    def inverse(self, y: Array) -> Array:
        """The images that y came from."""
        return _channels_last(self.flow.inverse(_channels_first(y))[0])


class _Module(torch.nn.Module):
    """A function as a module, which normflows asks for."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.forward = function
