"""The configuration of the autoregressive model, and its size. This module imports no framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.base.config import Activation, ModelConfig, Shape
from models.base.pixels import Observation, check_observation, input_shape, observation_for, parameters_per_value
from models.base.registry import register_family
from models.base.size import Size, convolution
from models.base.window import Window, window


class AutoregressiveConfig(ModelConfig):
    """A PixelCNN: masked convolutions in residual blocks (van den Oord et al. 2016; Salimans et al. 2017).

    Of lines, images of height 1, its convolutions are 1x3: those of a WaveNet of kernel 2, without its gates.

    Attributes:
        hidden_channels: width of the network; each channel of the image has its share of them.
        blocks: residual blocks, each a masked 3x3 convolution and a 1x1 convolution.
        first_kernel: odd width of the first masked convolution. What lies above the diagonals of the later ones is
            seen by it alone.
        dilation_cycle: blocks over which the dilation of their 3x3 convolutions doubles, from 1 to 2 to 4 and so on,
            before it is 1 again (van den Oord et al. 2016, WaveNet); 1 for none. On a line, a value sees the ``reach``
            values before it. Of a dilation beyond the image, a pixel sees itself alone.
        input_scaling: what the network sees of a value: x/(Q-1) less its mean over training images (``centred``), or a
            channel for each symbol (``one_hot``), for symbols without an order.
        activation: nonlinearity of hidden layers.
        dropout: share of the hidden units of a block that are left out at random in training.
        observation: distribution of a value given those before it; ``auto`` takes Bernoulli for 2 grey levels, a
            categorical up to 32 and for one-hot symbols, and a mixture of discretised logistics elsewhere.
        mixture_components: logistics in ``logistic_mixture``.
    """

    family: Literal["autoregressive"] = "autoregressive"
    hidden_channels: Annotated[int, Field(ge=1)] = 64
    blocks: Annotated[int, Field(ge=0, le=64)] = 4
    first_kernel: Annotated[int, Field(ge=3, le=63)] = 9
    dilation_cycle: Annotated[int, Field(ge=1, le=16)] = 1
    input_scaling: Literal["centred", "one_hot"] = "centred"
    activation: Activation = "silu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    observation: Observation = "auto"
    mixture_components: Annotated[int, Field(ge=1)] = 5

    is_exact: ClassVar[bool] = True
    later_settings: ClassVar[frozenset[str]] = frozenset({"dilation_cycle", "input_scaling"})
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"hidden_channels": 48, "blocks": 3, "first_kernel": 7},
        "wide": {"hidden_channels": 96, "blocks": 6},
        "sequence": {"blocks": 6, "dilation_cycle": 6, "dropout": 0.1},
    }

    def observation_for(self, grey_levels: int) -> Observation:
        """The observation distribution that ``auto`` stands for on data with ``grey_levels`` levels."""
        return observation_for(self.observation, grey_levels, self.input_scaling)

    def parameters_per_value(self, grey_levels: int) -> int:
        """How many outputs of the network describe one channel of one pixel."""
        return parameters_per_value(self.observation_for(grey_levels), grey_levels, self.mixture_components)

    def dilation(self, block: int) -> int:
        """That of the convolution of block 0, 1, …."""
        return int(2 ** (block % self.dilation_cycle))

    @property
    def reach(self) -> int:
        """The farthest value of its own row, in a line any value, that a value's distribution depends on."""
        return self.first_kernel // 2 + sum(map(self.dilation, range(self.blocks)))

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if a setting does not fit the images."""
        if self.first_kernel % 2 == 0:
            raise ValueError(
                f"first_kernel={self.first_kernel} is even: take {self.first_kernel - 1} or {self.first_kernel + 1}"
            )
        channels = image_shape[2]
        if self.hidden_channels < channels:
            raise ValueError(
                f"hidden_channels={self.hidden_channels} leaves some of the {channels} channels of the images without "
                f"any: take at least {channels}"
            )
        check_observation(self.observation, grey_levels)

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights of all convolutions and biases, masked ones included, and their multiply-adds."""
        return sum(_parts(self, image_shape, grey_levels), Size())


def _parts(config: AutoregressiveConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    height, width, channels = image_shape
    pixels, hidden = height * width, config.hidden_channels
    outputs = channels * config.parameters_per_value(grey_levels)
    first, later = (_taps(window(size, image_shape)) for size in (config.first_kernel, 3))
    *_, inputs = input_shape(config.input_scaling, image_shape, grey_levels)
    yield convolution(inputs, hidden, first, pixels, bias=False)
    yield Size(pixels * (hidden + outputs))  # a bias for each pixel, of the first hidden layer and of the outputs
    for _ in range(config.blocks):
        yield convolution(hidden, hidden, later, pixels)
        yield convolution(hidden, hidden, 1, pixels)
    yield convolution(hidden, outputs, 1, pixels, bias=False)


def _taps(size: Window) -> int:
    """Positions of a kernel that comes before a pixel or lies on it: those of the rows above, and of its own row."""
    rows, columns = size
    return (rows // 2) * columns + columns // 2 + 1


register_family(AutoregressiveConfig, "models.autoregressive.model:Autoregressive", title="PixelCNN")
