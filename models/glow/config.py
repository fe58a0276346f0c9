"""The configuration of Glow, and its size. This module imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from models.base.config import Shape
from models.base.registry import register_family
from models.base.size import Size, convolution
from models.base.window import window
from models.flows.config import FlowConfig, dequantisation_size, network_size, zero_convolution_size


class GlowConfig(FlowConfig):
    """Glow (Kingma & Dhariwal 2018).

    Attributes:
        levels: L, the number of scales; each begins with a squeeze, and all but the last end with a split. 0 leaves
            images at full resolution, also those of odd size, to ``checkerboard_steps`` alone.
        flow_depth: K, the steps of flow per level.
        checkerboard_steps: steps of flow before the first squeeze, each of which moves the pixels of one colour of a
            checkerboard given those of the other, the colours taking turns (Dinh et al. 2017).
        network: kind of the coupling networks, those of a variational dequantisation among them: Glow's three
            ``convolutional`` layers, or ``residual``, gated residual blocks with normalisation (Lippe 2022).
        hidden_channels: width of the coupling networks.
        blocks: residual blocks of a residual network.
        coupling: what a coupling does to the values it moves: affine (with a sigmoid scale), additive, or
            ``mixture_logistic``, the distribution function of a mixture of logistics (Ho et al. 2019).
        coupling_components: logistics of a value in ``mixture_logistic``.
        permutation: parameterisation of the invertible 1x1 convolutions: ``lu`` (their section 3.2) or ``plain``.
        learned_top_prior: whether mean and scale of the last latent's prior are trained.
        classes: number of class labels that condition the last latent's prior; 0 for none.
    """

    family: Literal["glow"] = "glow"
    levels: Annotated[int, Field(ge=0, le=8)] = 2
    flow_depth: Annotated[int, Field(ge=1, le=256)] = 4
    checkerboard_steps: Annotated[int, Field(ge=0, le=256)] = 0
    network: Literal["convolutional", "residual"] = "convolutional"
    hidden_channels: Annotated[int, Field(ge=1)] = 64
    blocks: Annotated[int, Field(ge=1)] = 3
    coupling: Literal["affine", "additive", "mixture_logistic"] = "affine"
    coupling_components: Annotated[int, Field(ge=1)] = 4
    permutation: Literal["lu", "plain"] = "lu"
    learned_top_prior: bool = True
    classes: Annotated[int, Field(ge=0)] = 0

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"levels": 2, "flow_depth": 4, "hidden_channels": 64},
        "paper": {"levels": 3, "flow_depth": 32, "hidden_channels": 512},
    }

    @model_validator(mode="after")
    def _has_steps(self) -> GlowConfig:
        if not self.levels and not self.checkerboard_steps:
            raise ValueError("levels=0 leaves no step of flow: take levels >= 1 or checkerboard_steps >= 1")
        return self

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the images cannot be squeezed ``levels`` times, or as a dequantisation needs."""
        height, width, _ = image_shape
        sides = (width,) if height == 1 else (height, width)
        most = min((size & -size).bit_length() - 1 for size in sides)
        if self.levels > most:
            uniform = " with dequantisation=uniform" if self.dequantisation == "variational" else ""
            raise ValueError(
                f"levels={self.levels} squeezes the image {self.levels} times, but {height}x{width} can be halved "
                + (
                    f"only {most} times: take levels <= {most}"
                    if most
                    else f"not even once: pad or crop the images, or take levels=0 and checkerboard_steps{uniform}"
                )
            )
        super().check_images(image_shape, grey_levels)

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights and multiply-adds of all steps of flow, of the priors and of the dequantisation."""
        return sum(_parts(self, image_shape, grey_levels), Size())

    @property
    def compiled_steps(self) -> int:
        """The steps of flow of all levels, and those before the first."""
        return self.checkerboard_steps + self.levels * self.flow_depth

    @property
    def parameters_per_value(self) -> int:
        """How many outputs of a coupling network describe what becomes of one value."""
        return {"additive": 1, "affine": 2, "mixture_logistic": 2 + 3 * self.coupling_components}[self.coupling]


def activation_bytes(config: GlowConfig, image_shape: Shape) -> int:
    """Bytes that a coupling at the highest resolution needs of one image.

    They are those of its 3x3 convolutions' narrower sides, shifted nine times, and of its hidden layers.
    """
    height, width, channels = config.continuous_shape(image_shape)
    taps, (rows, columns) = math.prod(window(3, image_shape)), window(2, image_shape)
    inputs, changed = channels, channels
    if not config.checkerboard_steps:
        half = rows * columns * channels // 2
        height, width, inputs, changed = height // rows, width // columns, half, half
    hidden, outputs = config.hidden_channels, config.parameters_per_value * changed
    if config.network == "convolutional":
        widths = taps * min(inputs, hidden) + 2 * hidden + taps * min(hidden, outputs)
    else:
        widths = taps * min(inputs, hidden) + 15 * hidden + taps * min(2 * hidden, outputs)
    return 4 * height * width * widths


def _steps(
    config: GlowConfig, number: int, channels: int, kept: int, changed: int, taps: int, pixels: int
) -> Iterator[Size]:
    outputs = changed * config.parameters_per_value
    for _ in range(number):
        yield Size(2 * channels, 0)
        yield convolution(channels, channels, 1, pixels, bias=False)
        yield from network_size(config.network, config.hidden_channels, config.blocks, kept, outputs, taps, pixels)


def _parts(config: GlowConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    networks = config.network, config.hidden_channels, config.blocks
    yield from dequantisation_size(config, image_shape, grey_levels, *networks)
    height, width, channels = config.continuous_shape(image_shape)
    taps, (rows, columns) = math.prod(window(3, image_shape)), window(2, image_shape)
    yield from _steps(config, config.checkerboard_steps, channels, channels, channels, taps, height * width)
    for level in range(config.levels):
        height, width, channels = height // rows, width // columns, rows * columns * channels
        kept = channels // 2
        yield from _steps(config, config.flow_depth, channels, kept, channels - kept, taps, height * width)
        if level < config.levels - 1:
            factored = channels // 2
            channels -= factored
            yield from zero_convolution_size(channels, 2 * factored, taps, height * width)
    yield Size(2 * channels * (config.learned_top_prior + config.classes), 0)


register_family(GlowConfig, "models.glow.model:Glow", title="Glow")
