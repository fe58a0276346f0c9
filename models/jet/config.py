"""The configuration of Jet, and its size. This module imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from models.base.config import Shape
from models.base.registry import register_family
from models.base.size import Size, convolution
from models.base.window import window
from models.flows.config import FlowConfig, dequantisation_size

MLP_RATIO = 4
"""Hidden units of a transformer block's two dense layers, by its width (Dosovitskiy et al. 2021)."""
SPLITS = {
    "checkerboard": ("checkerboard",),
    "rows": ("rows",),
    "columns": ("columns",),
    "all": ("checkerboard", "columns", "rows"),
    "none": (),
}
"""The ways to split patches that take turns, two couplings each, by the name of ``patch_split``."""


def splits(patch_split: str, rows: int) -> tuple[str, ...]:
    """The ways to split patches in so many rows: ``all`` leaves out ``rows`` where there is a single one.

    Higher images that are a single row of patches are refused where ``rows`` would be in use.
    """
    ways = SPLITS[patch_split]
    return tuple(way for way in ways if way != "rows") if patch_split == "all" and rows == 1 else ways


class JetConfig(FlowConfig):
    """Jet (Kolesnikov et al. 2024): affine couplings on tokens, whose networks are vision transformers.

    Attributes:
        patch_size: p, which divides height and width; a token is the p²·c values of a patch of pxp pixels, and of 1xp
            on a line, an image of height 1.
        couplings: K, one after the other.
        channel_couplings: couplings that split the values of each token, before each one that splits the patches.
        patch_split: which patches stay in a coupling that splits them: those of one colour of a ``checkerboard``,
            every second of the ``rows`` or ``columns``, or these three in turns, ``all``; each is followed by its
            opposite. All three occur from 5·(channel_couplings + 1) couplings on, but for the rows on a line. ``none``:
            every coupling splits the values of each token.
        blocks: transformer blocks of each coupling's network.
        width: of the networks, a multiple of ``heads``.
        heads: attention heads of each block.
        dequantisation_channels: width of the convolutional networks of a variational dequantisation.
    """

    family: Literal["jet"] = "jet"
    patch_size: Annotated[int, Field(ge=1)] = 4
    couplings: Annotated[int, Field(ge=1, le=256)] = 9
    channel_couplings: Annotated[int, Field(ge=0, le=256)] = 2
    patch_split: Literal["checkerboard", "rows", "columns", "all", "none"] = "all"
    blocks: Annotated[int, Field(ge=1)] = 1
    width: Annotated[int, Field(ge=1)] = 64
    heads: Annotated[int, Field(ge=1)] = 4
    dequantisation_channels: Annotated[int, Field(ge=1)] = 32

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"couplings": 9, "blocks": 1, "width": 64, "heads": 4},
        "small": {"couplings": 15, "blocks": 1, "width": 128, "heads": 4},
        "paper": {"couplings": 32, "channel_couplings": 4, "blocks": 2, "width": 512, "heads": 8},
    }

    @model_validator(mode="after")
    def _heads_divide_width(self) -> JetConfig:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} do not divide width={self.width}: take a multiple of heads as width")
        return self

    @property
    def patch_couplings(self) -> int:
        """How many couplings split the patches."""
        return 0 if self.patch_split == "none" else self.couplings // (self.channel_couplings + 1)

    def tokens(self, image_shape: Shape) -> tuple[int, int, int]:
        """Rows and columns of patches, and the values of a token."""
        height, width, channels = self.continuous_shape(image_shape)
        rows, columns = window(self.patch_size, image_shape)
        return height // rows, width // columns, rows * columns * channels

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if patches do not cover the images, or leave nothing to split."""
        super().check_images(image_shape, grey_levels)
        if refusal := self._refusal(image_shape):
            raise ValueError(f"{refusal}: {self._instead(image_shape)}")

    def _refusal(self, image_shape: Shape) -> str:
        """Why the patches do not fit such images; empty where they do."""
        height, width, _ = image_shape
        p, patch = self.patch_size, window(self.patch_size, image_shape)
        if height % patch[0] or width % patch[1]:
            return f"patch_size={p} does not divide images of {height}x{width}"
        rows, columns, values = self.tokens(image_shape)
        if values < 2 and self.couplings > self.patch_couplings:
            return f"patch_size={p} leaves tokens of a single value, which cannot be split"
        patches = {"checkerboard": rows * columns, "rows": rows, "columns": columns}
        in_use = splits(self.patch_split, height)[: math.ceil(self.patch_couplings / 2)]
        if any(patches[kind] < 2 for kind in in_use):
            return f"patch_split={self.patch_split} cannot split {rows}x{columns} patches of patch_size={p}"
        return ""

    def _instead(self, image_shape: Shape) -> str:
        """What to take for such images, none of it refused in its turn."""
        height, width, _ = image_shape
        common = width if height == 1 else math.gcd(height, width)
        divisors = [p for p in range(1, common + 1) if common % p == 0]

        def fits(**change: object) -> bool:
            return not self.model_copy(update=change)._refusal(image_shape)

        sizes = [p for p in divisors if fits(patch_size=p)]
        options = [_one_of(sizes)] if sizes else []
        for name, value in (("channel_couplings", 0), ("patch_split", "none")):
            if fits(**{name: value}):
                options.append(f"{name}={value}")
            elif not sizes and (others := [p for p in divisors if fits(patch_size=p, **{name: value})]):
                options.append(f"{_one_of(others)} with {name}={value}")
        options[:1] = [f"take {each}" for each in options[:1]]
        return ", or ".join(options if sizes else [*options, "pad or crop the images"])

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights and multiply-adds of all couplings and of the dequantisation."""
        return sum(_parts(self, image_shape, grey_levels), Size())

    @property
    def compiled_steps(self) -> int:
        """The couplings."""
        return self.couplings


def _one_of(sizes: list[int]) -> str:
    *some, last = map(str, sizes)
    return f"patch_size={', '.join(some)} or {last}" if some else f"patch_size={last}"


def activation_bytes(config: JetConfig, image_shape: Shape) -> int:
    """Bytes that a coupling needs of one image: its blocks' attention weights, and what the layers give."""
    rows, columns, _ = config.tokens(image_shape)
    tokens = rows * columns
    of_a_token = config.width * (8 + 2 * MLP_RATIO) + 2 * config.heads * tokens
    return 4 * tokens * config.blocks * of_a_token


def _parts(config: JetConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    rows, columns, values = config.tokens(image_shape)
    tokens, width = rows * columns, config.width
    networks = "convolutional", config.dequantisation_channels
    yield from dequantisation_size(config, image_shape, grey_levels, *networks, blocks=0)
    for _ in range(config.couplings):
        yield convolution(values, width, 1, tokens)
        yield Size(tokens * width, 0)  # where each token lies
        for _ in range(config.blocks):
            yield Size(2 * 2 * width, 0)  # scales and shifts of two normalisations
            yield convolution(width, 3 * width, 1, tokens)
            yield Size(0, 2 * tokens**2 * width)  # queries by keys, weights by values
            yield convolution(width, width, 1, tokens)
            yield convolution(width, MLP_RATIO * width, 1, tokens)
            yield convolution(MLP_RATIO * width, width, 1, tokens)
        yield Size(2 * width, 0)
        yield convolution(width, 2 * values, 1, tokens)


register_family(JetConfig, "models.jet.model:Jet", title="Jet")
