"""The settings that flows share, and the sizes of their parts. This module imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.base.config import ModelConfig, Shape
from models.base.size import Size, convolution
from models.base.window import window


class FlowConfig(ModelConfig):
    """A flow of dequantised images.

    Attributes:
        dequantisation: ``uniform`` (Theis et al. 2016) or ``variational`` (Ho et al. 2019), which squeezes images once
            and needs an even height and width, of a line an even length; both place a value beside the next larger one.
            ``categorical``, for symbols without an order, encodes each symbol by a distribution of its own (Lippe &
            Gavves 2021), and leaves ``preprocessing`` unused.
        dequantisation_depth: coupling steps of the variational dequantisation.
        encoding_channels: d, the dimensions in which ``categorical`` encodes a symbol.
        preprocessing: the map from the unit cube to the flow's space: ``linear``, ``logit``, or ``marginal``, which
            brings the marginal of each channel near a normal one (:mod:`models.bijections.preprocessing`).
        alpha: α, by which the last two keep the ends of the cube at a finite distance.
        dropout: share of the coupling networks' last hidden channels that are left out at random in training, image by
            image.
        recompute: whether the backward pass computes the inside of each step of flow again instead of keeping it:
            memory then hardly grows with the depth, and a training step costs a forward pass more.
    """

    dequantisation: Literal["uniform", "variational", "categorical"] = "uniform"
    preprocessing: Literal["linear", "logit", "marginal"] = "marginal"
    alpha: Annotated[float, Field(ge=1e-6, lt=0.5, allow_inf_nan=False)] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dequantisation_depth: Annotated[int, Field(ge=1)] = 2
    encoding_channels: Annotated[int, Field(ge=1, le=256)] = 4
    recompute: bool = False

    later_settings: ClassVar[frozenset[str]] = frozenset({"encoding_channels"})

    def continuous_shape(self, image_shape: Shape) -> Shape:
        """The shape of the continuous images that the flow takes: that of the images, or of their encodings."""
        height, width, channels = image_shape
        of_a_value = self.encoding_channels if self.dequantisation == "categorical" else 1
        return height, width, channels * of_a_value

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if a variational dequantisation cannot squeeze the images."""
        height, width, _ = image_shape
        rows, columns = window(2, image_shape)
        if self.dequantisation == "variational" and (height % rows or width % columns):
            raise ValueError(
                f"dequantisation=variational squeezes the image once, but {height}x{width} cannot be halved: "
                "pad or crop the images, or take dequantisation=uniform"
            )


def network_size(
    kind: str, hidden_channels: int, blocks: int, inputs: int, outputs: int, taps: int, pixels: int
) -> Iterator[Size]:
    """The parts of a network of :func:`models.bijections.coupling_networks.network_of`.

    Its kernels that see a pixel's neighbours have so many taps, and are applied at so many pixels.
    """
    yield convolution(inputs, hidden_channels, taps, pixels)
    if kind == "convolutional":
        yield convolution(hidden_channels, hidden_channels, 1, pixels)
        yield from zero_convolution_size(hidden_channels, outputs, taps, pixels)
        return
    for _ in range(blocks):
        yield convolution(2 * hidden_channels, hidden_channels, taps, pixels)
        yield convolution(2 * hidden_channels, 2 * hidden_channels, 1, pixels)
        yield Size(2 * hidden_channels, 0)
    yield convolution(2 * hidden_channels, outputs, taps, pixels)


def zero_convolution_size(inputs: int, outputs: int, taps: int, pixels: int) -> Iterator[Size]:
    """The parts of a :class:`models.bijections.coupling_networks.ZeroConvolution`."""
    yield convolution(inputs, outputs, taps, pixels)
    yield Size(outputs, 0)


def dequantisation_size(
    config: FlowConfig, image_shape: Shape, grey_levels: int, kind: str, hidden_channels: int, blocks: int
) -> Iterator[Size]:
    """The parts of the dequantisation, with networks of this kind."""
    height, width, channels = image_shape
    if config.dequantisation == "categorical":
        numbers = grey_levels * config.encoding_channels
        # Locations, scales and shares are looked up; the densities of all symbols are computed at each value.
        yield Size(2 * numbers + grey_levels, numbers * math.prod(image_shape))
    if config.dequantisation != "variational":
        return
    taps, block = (math.prod(window(size, image_shape)) for size in (3, 2))
    squeezed = block * channels
    half = squeezed // 2
    yield Size(2 * squeezed, 0)
    for _ in range(config.dequantisation_depth):
        yield from network_size(kind, hidden_channels, blocks, squeezed + half, 2 * half, taps, height * width // block)
