"""The networks of the ladder VAE: bottom-up from the image, and top-down through the layers of latents.

All convolutions have stride 1: resolution is halved by laying the four pixels of each 2x2 block side by side, and
doubled by the inverse. Odd sizes are padded before, and cropped after. On lines, images of height 1, a block is 1x2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.base.config import Shape
from models.base.distributions import DiagonalGaussian, Tensor, tanh
from models.base.halving import halved
from models.base.window import Window, window
from models.ladder_vae.config import LadderVAEConfig, Rung
from models.layers.convolution import Convolution
from models.layers.residual_block import ResidualBlock

LOG_SCALE_LIMIT = 5.0
"""Log-scales lie between minus this and this, softly (Vahdat & Kautz 2020): no step of training makes a KL explode."""


def halve(x: Tensor, block: Window = (2, 2)) -> Tensor:
    """(n, h, w, c) -> (n, ⌈h/2⌉, ⌈w/2⌉, 4c), zero where a block reaches beyond x."""
    _, height, width, channels = x.shape
    b, d = block
    if height % b or width % d:
        x = ops.pad(x, ((0, 0), (0, height % b), (0, width % d), (0, 0)))
    rows, columns = -(-height // b), -(-width // d)
    blocks = ops.transpose(ops.reshape(x, (-1, rows, b, columns, d, channels)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(blocks, (-1, rows, columns, b * d * channels))


def double(y: Tensor, height: int, width: int, block: Window = (2, 2)) -> Tensor:
    """(n, ⌈h/2⌉, ⌈w/2⌉, 4c) -> (n, h, w, c): the inverse of :func:`halve` (Shi et al. 2016, eq. 4)."""
    _, rows, columns, channels = y.shape
    b, d = block
    blocks = ops.transpose(ops.reshape(y, (-1, rows, columns, b, d, channels // (b * d))), (0, 1, 3, 2, 4, 5))
    return ops.reshape(blocks, (-1, b * rows, d * columns, channels // (b * d)))[:, :height, :width]


def _convolution(inputs: int, filters: int, size: int | Window, gain: float = 1.0, **kwargs: Any) -> Convolution:
    """One whose weights have the variance gain/(s²·c) at first, or are 0."""
    initializer = keras.initializers.VarianceScaling(gain) if gain else "zeros"
    return Convolution(filters, size, kernel_initializer=initializer, inputs=inputs, **kwargs)


def _blocks(config: LadderVAEConfig, rung: Rung, size: Window) -> list[ResidualBlock]:
    share = 1.0 / (config.latent_layers * config.blocks)
    return [
        ResidualBlock(rung.channels, config.activation, share, size, name=f"block_{i}") for i in range(config.blocks)
    ]


class BottomUp(keras.layers.Layer):
    """What each layer of latents sees of the image, from one deterministic network.

    Args:
        config: the configuration.
        image_shape: (h, w, c) of what it sees of images.
    """

    def __init__(self, config: LadderVAEConfig, image_shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(config.activation)
        self.rungs = config.rungs(image_shape)
        self.block, kernel = window(2, image_shape), window(3, image_shape)
        channels = image_shape[2]
        self.halving = []
        for halvings in range(1, config.downsamplings + 1):
            inputs, channels = math.prod(self.block) * channels, config.channels_after(halvings)
            size = kernel if halvings == 1 else (1, 1)
            self.halving.append(_convolution(inputs, channels, size, name=f"halving_{halvings}"))
        self.blocks: list[ResidualBlock] = []
        self.outputs = []
        for number, rung in enumerate(self.rungs):
            self.blocks += _blocks(config, rung, kernel)
            # No bias: where it is added to, there is one.
            self.outputs.append(_convolution(rung.channels, rung.channels, 1, use_bias=False, name=f"output_{number}"))
        self.built = True

    def call(self, x: Tensor) -> list[Tensor]:
        """What it sees of images (n, h, w, c) to features (n, height, width, channels) of each layer, top first."""
        halvings, features = 0, []
        per_rung = len(self.blocks) // len(self.rungs)
        for number in reversed(range(len(self.rungs))):
            while halvings < self.rungs[number].halvings:
                x = self.halving[halvings](halve(x, self.block))
                halvings += 1
            for block in self.blocks[number * per_rung : (number + 1) * per_rung]:
                x = block(x)
            features.append(self.outputs[number](self.activation(x)))
        return features[::-1]


class LatentLayer(keras.layers.Layer):
    """One layer of latents: its prior and posterior given those above it, and what follows from it further down.

    Args:
        config: the configuration.
        rung: where it is.
        size: of the kernels that see a position's neighbours.
    """

    def __init__(self, config: LadderVAEConfig, rung: Rung, size: Window, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rung = rung
        self.activation = keras.activations.get(config.activation)
        latents = config.latent_channels
        self.prior_moments = _convolution(rung.channels, 2 * latents, size, gain=0.0, name="prior_moments")
        self.from_above = _convolution(rung.channels, rung.channels, 1, name="from_above")
        self.posterior_moments = _convolution(rung.channels, 2 * latents, size, gain=0.0, name="posterior_moments")
        gain = 1.0 / config.latent_layers
        self.of_latents = _convolution(latents, rung.channels, 1, gain=gain, name="of_latents")
        self.blocks = _blocks(config, rung, size)
        self.built = True

    def prior(self, above: Tensor) -> DiagonalGaussian:
        """p(z_l | z_>l) from the state above (…, height, width, channels), elementwise."""
        return _gaussian(self.prior_moments(self.activation(above)))

    def posterior(self, above: Tensor, features: Tensor) -> DiagonalGaussian:
        """q(u_l | x, z_>l) of u_l = (z_l - μ_p)/σ_p, elementwise.

        Args:
            above: states (k·n, height, width, channels), or a single one for all.
            features: what the layer sees of n images (n, height, width, channels).

        Returns:
            Moments (k, n, height, width, latents), or (1, n, …) for a single state.
        """
        n = ops.shape(features)[0]
        seen = by_sample(self.from_above(self.activation(above)), 1 if above.shape[0] == 1 else n)
        moments = self.posterior_moments(self.activation(flat(seen + features)))
        return _gaussian(by_sample(moments, n))

    def below(self, above: Tensor, z: Tensor) -> Tensor:
        """The state below, from that above and the layer's latents."""
        h = above + self.of_latents(z)
        for block in self.blocks:
            h = block(h)
        return h


class TopDown(keras.layers.Layer):
    """From the latents to the distribution of each pixel, layer by layer; prior and posterior share it.

    Args:
        config: the configuration.
        image_shape: (h, w, c).
        outputs: numbers that describe one pixel, its channels together.
    """

    def __init__(self, config: LadderVAEConfig, image_shape: Shape, outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(config.activation)
        self.image_size = image_shape[:2]
        self.rungs = config.rungs(image_shape)
        self.latents = config.latent_channels
        top, finest = self.rungs[0], self.rungs[-1]
        self.start = self.add_weight(shape=(top.height, top.width, top.channels), initializer="zeros", name="start")
        self.block, kernel = window(2, image_shape), window(3, image_shape)
        self.layers = [LatentLayer(config, rung, kernel, name=f"layer_{i}") for i, rung in enumerate(self.rungs)]
        self.doubling = []
        for halvings in range(2, config.downsamplings + 1):
            inputs = config.channels_after(halvings)
            filters = math.prod(self.block) * config.channels_after(halvings - 1)
            self.doubling.append(_convolution(inputs, filters, 1, name=f"doubling_{halvings}"))
        self.output_convolution = _convolution(
            finest.channels, math.prod(self.block) * outputs, kernel, gain=0.0, use_bias=False, name="output"
        )
        self.built = True

    @property
    def sizes(self) -> list[int]:
        """Latents of each layer, the top one first."""
        return [rung.height * rung.width * self.latents for rung in self.rungs]

    def split(self, flat: Tensor) -> list[Tensor]:
        """A number for each latent (…, latents of all layers), by layer: (…, height, width, latents), the top first."""
        ends = list(itertools.accumulate(self.sizes))[:-1]
        parts = ops.split(flat, ends, axis=-1)
        shapes = [(rung.height, rung.width, self.latents) for rung in self.rungs]
        batch = [ops.shape(flat)[axis] for axis in range(len(flat.shape) - 1)]
        return [ops.reshape(part, (*batch, *shape)) for part, shape in zip(parts, shapes, strict=True)]

    def decode(self, standardised: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The outputs (n, h, w, outputs) that the latents z_l = μ_p(z_>l) + σ_p(z_>l)·u_l lead to.

        Args:
            standardised: u_l (n, height, width, latents), given the number l of a layer, 0 for the top, and the state
                above it.
        """
        h = self.start[None]
        for number, layer in enumerate(self.layers):
            h = layer.below(h, layer.prior(h).sample(standardised(number, h)))
            below = self.rungs[number + 1].halvings if number + 1 < len(self.rungs) else 1
            for halvings in range(layer.rung.halvings, below, -1):
                h = double(self.doubling[halvings - 2](h), *halved(self.image_size, halvings - 1), self.block)
        return double(self.output_convolution(self.activation(h)), *self.image_size, self.block)


def _gaussian(moments: Tensor) -> DiagonalGaussian:
    mean, raw = ops.split(moments, 2, axis=-1)
    return DiagonalGaussian(mean, LOG_SCALE_LIMIT * tanh(raw / LOG_SCALE_LIMIT))


def by_sample(x: Tensor, n: int) -> Tensor:
    """(k·n, …) -> (k, n, …)."""
    return ops.reshape(x, (-1, n, *x.shape[1:]))


def flat(x: Tensor) -> Tensor:
    """(k, n, …) -> (k·n, …)."""
    return ops.reshape(x, (-1, *x.shape[2:]))
