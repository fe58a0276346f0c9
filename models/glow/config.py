"""The configuration of Glow, and its size. This module imports no framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.base.config import ModelConfig, Shape
from models.base.registry import register_family
from models.base.size import Size, convolution


class GlowConfig(ModelConfig):
    """Glow (Kingma & Dhariwal 2018).

    Attributes:
        levels: L, the number of scales; each begins with a squeeze, and all but the last end with a split.
        flow_depth: K, the steps of flow per level.
        hidden_channels: width of the coupling networks.
        coupling: affine (with a sigmoid scale) or additive.
        permutation: parameterisation of the invertible 1x1 convolutions: ``lu`` (their section 3.2) or ``plain``.
        learned_top_prior: whether mean and scale of the last latent's prior are trained.
        classes: number of class labels that condition the last latent's prior; 0 for none.
        dequantisation: ``uniform`` (Theis et al. 2016) or ``variational`` (Ho et al. 2019).
        dequantisation_depth: coupling steps of the variational dequantisation.
        preprocessing: the map from the unit cube to the flow's space: ``linear``, ``logit``, or ``marginal``, which
            brings the marginal of each channel near a normal one (:mod:`models.bijections.preprocessing`).
        alpha: α, by which the last two keep the ends of the cube at a finite distance.
        dropout: share of the coupling networks' last hidden channels that are left out at random in training, image by
            image.
        recompute: whether the backward pass computes the inside of each step of flow again instead of keeping it:
            memory then hardly grows with the depth, and a training step costs a forward pass more.
    """

    family: Literal["glow"] = "glow"
    levels: Annotated[int, Field(ge=1, le=8)] = 2
    flow_depth: Annotated[int, Field(ge=1, le=256)] = 4
    hidden_channels: Annotated[int, Field(ge=1)] = 64
    coupling: Literal["affine", "additive"] = "affine"
    permutation: Literal["lu", "plain"] = "lu"
    learned_top_prior: bool = True
    classes: Annotated[int, Field(ge=0)] = 0
    dequantisation: Literal["uniform", "variational"] = "uniform"
    preprocessing: Literal["linear", "logit", "marginal"] = "marginal"
    alpha: Annotated[float, Field(ge=1e-6, lt=0.5, allow_inf_nan=False)] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dequantisation_depth: Annotated[int, Field(ge=1)] = 2
    recompute: bool = False

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"levels": 2, "flow_depth": 4, "hidden_channels": 64},
        "paper": {"levels": 3, "flow_depth": 32, "hidden_channels": 512},
    }

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the images cannot be squeezed ``levels`` times."""
        height, width, _ = image_shape
        most = min((size & -size).bit_length() - 1 for size in (height, width))
        if self.levels > most:
            raise ValueError(
                f"levels={self.levels} squeezes the image {self.levels} times, but {height}x{width} can be halved "
                + (f"only {most} times: take levels <= {most}" if most else "not even once: pad or crop the images")
            )

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights and multiply-adds of all steps of flow, of the priors and of the dequantisation."""
        return sum(_parts(self, image_shape), Size())

    @property
    def compiled_steps(self) -> int:
        """The steps of flow of all levels."""
        return self.levels * self.flow_depth


def _coupling_network(inputs: int, hidden: int, outputs: int, pixels: int) -> Iterator[Size]:
    yield convolution(inputs, hidden, 9, pixels)
    yield convolution(hidden, hidden, 1, pixels)
    yield from _zero_convolution(hidden, outputs, pixels)


def _zero_convolution(inputs: int, outputs: int, pixels: int) -> Iterator[Size]:
    yield convolution(inputs, outputs, 9, pixels)
    yield Size(outputs, 0)


def _parts(config: GlowConfig, image_shape: Shape) -> Iterator[Size]:
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
            yield convolution(channels, channels, 1, height * width, bias=False)
            yield from _coupling_network(kept, config.hidden_channels, outputs, height * width)
        if level < config.levels - 1:
            factored = channels // 2
            channels -= factored
            yield from _zero_convolution(channels, 2 * factored, height * width)
    yield Size(2 * channels * (config.learned_top_prior + config.classes), 0)


register_family(GlowConfig, "models.glow.model:Glow", title="Glow")
