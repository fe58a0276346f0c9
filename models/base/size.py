"""The size of a model, logs from its configuration without building it: weights, and multiplications per image.

A dry run answers from here at once; tests hold the counts to those of the built models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from models.base.config import GlowConfig, ModelConfig, Shape, VAEConfig


@dataclass(frozen=True)
class Size:
    """Trainable weights of a model, and the multiply-adds of one likelihood of one image (a forward pass)."""

    parameters: int
    multiplications: int

    def __add__(self, other: Size) -> Size:
        return Size(self.parameters + other.parameters, self.multiplications + other.multiplications)


def model_size(config: ModelConfig, image_shape: Shape, grey_levels: int) -> Size:
    """Size of the model that ``config`` describes on images of this kind."""
    parts = _vae(config, image_shape, grey_levels) if isinstance(config, VAEConfig) else _glow(config, image_shape)
    return sum(parts, Size(0, 0))


def _dense(inputs: int, outputs: int, bias: bool = True) -> Size:
    return Size(inputs * outputs + outputs * bias, inputs * outputs)


def _convolution(inputs: int, outputs: int, kernel: int, pixels: int, bias: bool = True) -> Size:
    """``pixels``: positions at which the kernel is applied."""
    weights = kernel * kernel * inputs * outputs
    return Size(weights + outputs * bias, weights * pixels)


def _vae(config: VAEConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    height, width, channels = image_shape
    dimensions = height * width * channels
    per_pixel = config.parameters_per_pixel(grey_levels)
    yield Size(dimensions * per_pixel, 0)  # output bias
    if config.network == "dense":
        widths = [dimensions, *config.layer_sizes]
        for inputs, outputs in pairwise(widths):
            yield _dense(inputs, outputs)
        yield _dense(widths[-1], 2 * config.latent_size)
        widths = [config.latent_size, *reversed(config.layer_sizes)]
        for inputs, outputs in pairwise(widths):
            yield _dense(inputs, outputs)
        yield _dense(widths[-1], dimensions * per_pixel, bias=False)
        return
    sizes = [(height, width)]
    for _ in range(config.downsamplings):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    widths = [config.hidden_channels * 2**i for i in range(config.downsamplings + 1)]
    for i, ((rows, columns), outputs) in enumerate(zip(sizes, widths, strict=True)):
        yield _convolution(widths[i - 1] if i else channels, outputs, 3, rows * columns)
        if config.network == "residual":
            for _ in range(2 * 2 * config.blocks):  # two convolutions a block; encoder and decoder
                yield _convolution(outputs, outputs, 3, rows * columns)
        if i:
            # Upsampling: a transposed convolution applies its kernel at each coarse pixel.
            yield _convolution(outputs, widths[i - 1], 3, rows * columns)
    coarse = sizes[-1][0] * sizes[-1][1] * widths[-1]
    yield _dense(coarse, 2 * config.latent_size)
    yield _dense(config.latent_size, coarse)
    yield _convolution(widths[0], channels * per_pixel, 3, height * width, bias=False)


def _coupling_network(inputs: int, hidden: int, outputs: int, pixels: int) -> Iterator[Size]:
    yield _convolution(inputs, hidden, 3, pixels)
    yield _convolution(hidden, hidden, 1, pixels)
    yield from _zero_convolution(hidden, outputs, pixels)


def _zero_convolution(inputs: int, outputs: int, pixels: int) -> Iterator[Size]:
    yield _convolution(inputs, outputs, 3, pixels)
    yield Size(outputs, 0)


def _glow(config: ModelConfig, image_shape: Shape) -> Iterator[Size]:
    if not isinstance(config, GlowConfig):
        raise TypeError(f"no size is known for {type(config).__name__}")
    height, width, channels = image_shape
    if config.dequantisation == "variational":
        squeezed = 4 * channels
        yield Size(2 * squeezed, 0)
        for _ in range(config.dequantisation_depth):
            half = squeezed // 2
            yield from _coupling_network(squeezed + half, config.hidden_channels, 2 * half, height * width // 4)
    for level in range(config.levels):
        height, width, channels = height // 2, width // 2, 4 * channels
        kept = channels // 2
        outputs = (channels - kept) * (2 if config.coupling == "affine" else 1)
        for _ in range(config.flow_depth):
            yield Size(2 * channels, 0)
            yield _convolution(channels, channels, 1, height * width, bias=False)
            yield from _coupling_network(kept, config.hidden_channels, outputs, height * width)
        if level < config.levels - 1:
            factored = channels // 2
            channels -= factored
            yield from _zero_convolution(channels, 2 * factored, height * width)
    yield Size(2 * channels * (config.learned_top_prior + config.classes), 0)
