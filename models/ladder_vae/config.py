"""The configuration of the ladder VAE, its layout and its size. This module imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.base.config import Activation, ModelConfig, Shape
from models.base.halving import check_halvings, halved
from models.base.pixels import Observation, check_observation, input_shape, observation_for, parameters_per_value
from models.base.registry import register_family
from models.base.size import Size, convolution
from models.base.window import window


@dataclass(frozen=True)
class Rung:
    """Where a layer of latents lies: at height x width, after so many halvings of the image, with so many channels."""

    halvings: int
    height: int
    width: int
    channels: int


class LadderVAEConfig(ModelConfig):
    """A convolutional top-down VAE of several layers of latents (Sønderby et al. 2016; Child 2021).

    Attributes:
        latent_layers: layers of latents, spread evenly from the coarsest resolution to the first halving.
        latent_channels: latents at each position of each layer.
        hidden_channels: channels of the networks at the first halving, doubled at each further one.
        downsamplings: how often the image is halved on the way to the top layer.
        blocks: residual blocks of each layer, bottom-up and top-down.
        activation: nonlinearity of hidden layers.
        input_scaling: what the bottom-up network sees of a pixel: x/(Q-1) less its mean over training images
            (``centred``), or a channel for each symbol (``one_hot``), for symbols without an order.
        observation: distribution of a pixel given all latents; ``auto`` takes Bernoulli for 2 grey levels, a
            categorical up to 32 and for one-hot symbols, and a mixture of discretised logistics elsewhere.
        mixture_components: logistics in ``logistic_mixture``.
        kl_warmup_steps: training steps over which the weight of the KL rises linearly from 0 to 1 (Sønderby et al.
            2016).
        free_bits: nats per layer of latents below which its KL, in the mean of a batch, is not penalised (Kingma et al.
            2016). Above 0, JAX does not divide a batch among cores.
    """

    family: Literal["ladder_vae"] = "ladder_vae"
    latent_layers: Annotated[int, Field(ge=2, le=16)] = 3
    latent_channels: Annotated[int, Field(ge=1)] = 8
    hidden_channels: Annotated[int, Field(ge=1)] = 32
    downsamplings: Annotated[int, Field(ge=1, le=8)] = 2
    blocks: Annotated[int, Field(ge=1)] = 1
    activation: Activation = "silu"
    input_scaling: Literal["centred", "one_hot"] = "centred"
    observation: Observation = "auto"
    mixture_components: Annotated[int, Field(ge=1)] = 5
    kl_warmup_steps: Annotated[int, Field(ge=0)] = 0
    free_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    later_settings: ClassVar[frozenset[str]] = frozenset({"input_scaling"})
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"latent_layers": 3, "downsamplings": 3, "hidden_channels": 32, "blocks": 1},
        "wide": {"latent_layers": 3, "downsamplings": 3, "hidden_channels": 40, "blocks": 2},
    }

    def observation_for(self, grey_levels: int) -> Observation:
        """The observation distribution that ``auto`` stands for on data with ``grey_levels`` levels."""
        return observation_for(self.observation, grey_levels, self.input_scaling)

    def parameters_per_value(self, grey_levels: int) -> int:
        """How many outputs describe one channel of one pixel."""
        return parameters_per_value(self.observation_for(grey_levels), grey_levels, self.mixture_components)

    def channels_after(self, halvings: int) -> int:
        """Channels of the networks after one halving of the image or more."""
        channels: int = self.hidden_channels * 2 ** (halvings - 1)
        return channels

    def rungs(self, image_shape: Shape) -> list[Rung]:
        """Where the layers of latents lie, the top one first; odd sizes are halved upwards."""
        gaps, steps = self.latent_layers - 1, self.downsamplings - 1
        found = []
        for layer in range(self.latent_layers):
            halvings = self.downsamplings - (2 * layer * steps + gaps) // (2 * gaps)
            found.append(Rung(halvings, *halved(image_shape[:2], halvings), self.channels_after(halvings)))
        return found

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the observation distribution or the halving does not fit the images."""
        check_observation(self.observation, grey_levels)
        check_halvings(self.downsamplings, image_shape)

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights and multiply-adds of the bottom-up and the top-down network."""
        return sum(_parts(self, image_shape, grey_levels), Size())

    @property
    def compiled_steps(self) -> int:
        """The layers of latents."""
        return self.latent_layers


def _parts(config: LadderVAEConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    height, width, channels = image_shape
    outputs = channels * config.parameters_per_value(grey_levels)
    *_, seen = input_shape(config.input_scaling, image_shape, grey_levels)
    taps, block = (math.prod(window(size, image_shape)) for size in (3, 2))
    yield Size(height * width * outputs)  # output bias
    latents = config.latent_channels
    rungs = config.rungs(image_shape)
    top = rungs[0]
    yield Size(top.height * top.width * top.channels)  # where the way down starts
    for halvings in range(1, config.downsamplings + 1):
        pixels = math.prod(halved((height, width), halvings))
        hidden = config.channels_after(halvings)
        if halvings == 1:
            yield convolution(block * seen, hidden, taps, pixels)
            yield convolution(hidden, block * outputs, taps, pixels, bias=False)
        else:
            above = config.channels_after(halvings - 1)
            yield convolution(block * above, hidden, 1, pixels)
            yield convolution(hidden, block * above, 1, pixels)
    for rung in rungs:
        pixels, hidden = rung.height * rung.width, rung.channels
        for _ in range(2 * 2 * config.blocks):  # two convolutions a block; bottom-up and top-down
            yield convolution(hidden, hidden, taps, pixels)
        yield convolution(hidden, hidden, 1, pixels)  # the posterior's, from above
        yield convolution(hidden, hidden, 1, pixels, bias=False)  # and from the image
        for _ in range(2):  # moments of posterior and of prior
            yield convolution(hidden, 2 * latents, taps, pixels)
        yield convolution(latents, hidden, 1, pixels)


register_family(LadderVAEConfig, "models.ladder_vae.model:LadderVAE", title="Ladder VAE")
