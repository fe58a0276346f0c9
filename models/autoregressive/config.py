"""The configuration of the autoregressive model, and its size. This module imports no framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.base.config import Activation, ModelConfig, Shape
from models.base.pixels import Observation, check_observation, observation_for, parameters_per_value
from models.base.registry import register_family
from models.base.size import Size, convolution


class AutoregressiveConfig(ModelConfig):
    """A PixelCNN: masked convolutions in residual blocks (van den Oord et al. 2016; Salimans et al. 2017).

    Attributes:
        hidden_channels: width of the network; each channel of the image has its share of them.
        blocks: residual blocks, each a masked 3x3 convolution and a 1x1 convolution.
        first_kernel: odd width of the first masked convolution. What lies above the diagonals of the later ones is
            seen by it alone.
        activation: nonlinearity of hidden layers.
        dropout: share of the hidden units of a block that are left out at random in training.
        observation: distribution of a value given those before it; ``auto`` takes Bernoulli for 2 grey levels, a
            categorical up to 32, and a mixture of discretised logistics above.
        mixture_components: logistics in ``logistic_mixture``.
    """

    family: Literal["autoregressive"] = "autoregressive"
    hidden_channels: Annotated[int, Field(ge=1)] = 64
    blocks: Annotated[int, Field(ge=0, le=64)] = 4
    first_kernel: Annotated[int, Field(ge=3, le=63)] = 9
    activation: Activation = "silu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    observation: Observation = "auto"
    mixture_components: Annotated[int, Field(ge=1)] = 5

    is_exact: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"hidden_channels": 48, "blocks": 3, "first_kernel": 7},
        "wide": {"hidden_channels": 96, "blocks": 6},
    }

    def observation_for(self, grey_levels: int) -> Observation:
        """The observation distribution that ``auto`` stands for on data with ``grey_levels`` levels."""
        return observation_for(self.observation, grey_levels)

    def parameters_per_value(self, grey_levels: int) -> int:
        """How many outputs of the network describe one channel of one pixel."""
        return parameters_per_value(self.observation_for(grey_levels), grey_levels, self.mixture_components)

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
    yield convolution(channels, hidden, _taps(config.first_kernel), pixels, bias=False)
    yield Size(pixels * (hidden + outputs))  # a bias for each pixel, of the first hidden layer and of the outputs
    for _ in range(config.blocks):
        yield convolution(hidden, hidden, _taps(3), pixels)
        yield convolution(hidden, hidden, 1, pixels)
    yield convolution(hidden, outputs, 1, pixels, bias=False)


def _taps(size: int) -> int:
    """Positions of a kernel that comes before a pixel or lies on it: those of the rows above, and of its own row."""
    return (size // 2) * size + size // 2 + 1


register_family(AutoregressiveConfig, "models.autoregressive.model:Autoregressive", title="PixelCNN")
