"""What both sides compute: models of one shape, on synthetic images of one size.

Every side's process reads this, whatever is installed there: it imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEARNING_RATE = 1e-4
"""Of Adam, on every side. Noise cannot be learned: the rate only has to keep the weights finite."""
TRAINING, LIKELIHOOD, SAMPLING = "training", "likelihood", "sampling"


@dataclass(frozen=True)
class GlowWork:
    """A Glow with affine couplings and LU convolutions on images of 256 grey levels.

    Its coupling networks are Glow's own, or residual ones of gated blocks; steps of a checkerboard may come first.
    """

    levels: int
    flow_depth: int
    hidden_channels: int
    batch_size: int
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    grey_levels: int = 256
    images: int = 256
    """Trained on, in batches, and evaluated, at once."""
    samples: int = 256
    """Drawn at once."""
    network: Literal["convolutional", "residual"] = "convolutional"
    blocks: int = 3
    """Of a residual network."""
    checkerboard_steps: int = 0

    def __str__(self) -> str:
        height, width, channels = self.image_shape
        gated = f" gated ({self.blocks} blocks)" if self.network == "residual" else ""
        first = f" after {self.checkerboard_steps} checkerboard steps" if self.checkerboard_steps else ""
        return (
            f"Glow{gated} K={self.flow_depth} L={self.levels}{first} width {self.hidden_channels}, "
            f"batch {self.batch_size}, {channels}x{height}x{width}"
        )


@dataclass(frozen=True)
class VAEWork:
    """A dense VAE with ReLUs on binary images; its decoder mirrors its encoder."""

    hidden_sizes: tuple[int, ...]
    latent_size: int
    batch_size: int
    image_shape: tuple[int, int, int]
    grey_levels: int = 2
    images: int = 10_000
    """Trained on, and evaluated in one call."""
    samples: int = 256
    """Drawn at once."""

    @property
    def pixels(self) -> int:
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def encoder_sizes(self) -> tuple[int, ...]:
        """Inputs and outputs of the encoder's layers; it gives a mean and a log-scale for each latent."""
        return (self.pixels, *self.hidden_sizes, 2 * self.latent_size)

    @property
    def decoder_sizes(self) -> tuple[int, ...]:
        """Inputs and outputs of the decoder's layers."""
        return (self.latent_size, *reversed(self.hidden_sizes), self.pixels)

    def __str__(self) -> str:
        sizes = (self.pixels, *self.hidden_sizes, *self.decoder_sizes)
        return f"VAE {'-'.join(map(str, sizes))}, batch {self.batch_size}"


WORKS: dict[str, GlowWork | VAEWork] = {
    "glow-8x3-64": GlowWork(3, 8, 64, 32, (32, 32, 3)),
    "glow-4x2-64": GlowWork(2, 4, 64, 64, (28, 28, 1)),
    "glow-16x3-256": GlowWork(3, 16, 256, 32, (32, 32, 3)),
    "glow-gated": GlowWork(2, 4, 32, 64, (28, 28, 1), network="residual", blocks=2),
    "glow-checkerboard": GlowWork(2, 4, 32, 64, (28, 28, 1), network="residual", blocks=2, checkerboard_steps=2),
    "vae": VAEWork((200, 200), 50, 100, (28, 28, 1)),
}
