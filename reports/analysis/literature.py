"""Published likelihoods of the benchmark data sets, to set the obtained beside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Published:
    """A published test likelihood, and what it took where that was published too.

    Attributes:
        model: its name in the publication; no other result of the same data has it.
        value: in the unit of the data set's metric.
        source: where it was published.
        url: the address of the source.
        weights: number of trainable weights; None where it was not published.
        images: training images seen; None where it was not published.
        hardware: on what it was trained and how long, as far as that was published.
        metric: ``bits_per_dim`` or ``nll_nats``.
    """

    model: str
    value: float
    source: str
    url: str
    weights: int | None = None
    images: int | None = None
    hardware: str = ""
    metric: str = "bits_per_dim"


GRATHWOHL = "Grathwohl et al. (2019), table 2"
FFJORD = "https://arxiv.org/abs/1810.01367"
LIPPE = "Lippe, UvA deep learning tutorials, tutorial 11"
TUTORIAL = "https://uvadlc-notebooks.readthedocs.io/en/latest/tutorial_notebooks/tutorial11/NF_image_modeling.html"
TUTORIAL_IMAGES = 200 * 390 * 128
"""200 passes over 390 batches of 128."""
BURDA = "Burda, Grosse & Salakhutdinov (2016), on the fixed binarisation"
IWAE = "https://arxiv.org/abs/1509.00519"
BURDA_IMAGES = 3280 * 50_000
"""Passes over the training images."""
DITTADI = "Dittadi, ladder-vae-pytorch"
LADDER = "https://github.com/addtt/ladder-vae-pytorch"
NATS = "nll_nats"

RESULTS: dict[tuple[str, int], list[Published]] = {
    ("mnist", 256): [
        Published("Real NVP", 1.06, GRATHWOHL, FFJORD),
        Published("Glow", 1.05, GRATHWOHL, FFJORD),
        Published("FFJORD", 0.99, GRATHWOHL, FFJORD),
        Published("Residual Flow", 0.97, "Chen et al. (2019)", "https://arxiv.org/abs/1906.02735"),
        Published("8 couplings", 1.078, LIPPE, TUTORIAL, 556_312, TUTORIAL_IMAGES, "1 RTX 3090, 2 h 37 min"),
        Published(
            *("8 couplings, variational dequantisation", 1.043, LIPPE, TUTORIAL),
            *(628_388, TUTORIAL_IMAGES, "1 RTX 3090, 3 h 25 min"),
        ),
        Published(
            *("8 couplings, multi-scale", 1.020, LIPPE, TUTORIAL),
            *(1_711_818, TUTORIAL_IMAGES, "1 RTX 3090, 2 h 17 min"),
        ),
    ],
    ("fashion_mnist", 256): [
        Published("Glow", 2.96, "Nalisnick et al. (2019)", "https://arxiv.org/abs/1810.09136"),
    ],
    ("cifar10", 256): [
        Published("Real NVP", 3.49, GRATHWOHL, FFJORD),
        Published(
            *("Glow", 3.35, "Kingma & Dhariwal (2018), table 2", "https://arxiv.org/abs/1807.03039"), hardware="8 GPUs"
        ),
        Published("Glow, fewer steps", 3.46, "Nalisnick et al. (2019)", "https://arxiv.org/abs/1810.09136"),
        Published(
            *("Glow, batches of 64", 3.39, "van Amersfoort, Glow-PyTorch", "https://github.com/y0ast/Glow-PyTorch"),
            hardware="1 GPU",
        ),
        Published("FFJORD", 3.40, GRATHWOHL, FFJORD),
        Published("Flow++", 3.08, "Ho et al. (2019), table 1", "https://arxiv.org/abs/1902.00275"),
        Published(
            *("Autoregressive dequantisation", 3.06, "Hoogeboom et al. (2020)", "https://arxiv.org/abs/2001.11235")
        ),
        Published("Ladder VAE, 15 layers", 3.34, f"{DITTADI}, k = 100", LADDER, 15_000_000),
        Published("BIVA", 3.08, "Maaløe et al. (2019)", "https://arxiv.org/abs/1902.02102"),
        Published(
            *("NVAE", 2.91, "Vahdat & Kautz (2020)", "https://arxiv.org/abs/2007.03898"),
            *(None, 400 * 50_000, "8 V100, 55 h"),
        ),
        Published(
            *("Very deep VAE", 2.87, "Child (2021)", "https://github.com/openai/vdvae"),
            *(39_000_000, 32_000_000, "2 V100, almost a week"),
        ),
        Published(
            *("Efficient very deep VAE, ELBO", 2.87, "Hazami et al. (2022)"),
            "https://github.com/Rayhane-mamah/Efficient-VDVAE",
        ),
        Published("PixelCNN++", 2.92, "Salimans et al. (2017)", "https://arxiv.org/abs/1701.05517"),
        Published("PixelSNAIL", 2.85, "Chen et al. (2018)", "https://arxiv.org/abs/1712.09763"),
        Published(
            *("Locally masked PixelCNN++, 8 orders", 2.887, "Jain et al. (2020)", "https://github.com/ajayjain/lmconv")
        ),
        Published(
            *("DistAug Transformer", 2.56, "Jun et al. (2020)"),
            *("https://github.com/openai/distribution_augmentation", 150_000_000),
        ),
        Published("Score SDE", 2.99, "Song et al. (2021)", "https://arxiv.org/abs/2011.13456"),
        Published(
            *("Diffusion (VDM)", 2.64, "Kingma et al. (2021)", "https://github.com/google-research/vdm"),
        ),
    ],
    ("binarized_mnist", 2): [
        Published("VAE, 200-200 tanh, 50 latents", 88.71, BURDA, IWAE, images=BURDA_IMAGES, metric=NATS),
        Published("IWAE, k = 5, the same network", 87.63, BURDA, IWAE, images=BURDA_IMAGES, metric=NATS),
        Published("IWAE, k = 50, the same network", 87.10, BURDA, IWAE, images=BURDA_IMAGES, metric=NATS),
        Published(
            *("VAE, VampPrior", 85.57, "Tomczak & Welling (2018), table 1", "https://arxiv.org/abs/1705.07120"),
            metric=NATS,
        ),
        Published("Ladder VAE, 3 layers", 79.24, f"{DITTADI}, k = 1,000", LADDER, 3_000_000, metric=NATS),
        Published("Ladder VAE, 6 layers", 78.52, f"{DITTADI}, k = 1,000", LADDER, 6_000_000, metric=NATS),
        Published("Ladder VAE, 12 layers", 78.30, f"{DITTADI}, k = 1,000", LADDER, 12_000_000, metric=NATS),
        Published(
            *("NADE", 88.86, "Larochelle & Murray (2011)"),
            "https://proceedings.mlr.press/v15/larochelle11a.html",
            metric=NATS,
        ),
        Published("MADE", 88.04, "Germain et al. (2015)", "https://arxiv.org/abs/1502.03509", metric=NATS),
        Published("PixelCNN", 81.30, "van den Oord et al. (2016)", "https://arxiv.org/abs/1601.06759", metric=NATS),
    ],
}
"""By name of the data set and its number of grey levels, under which the publications measured it."""
IMAGE_SHAPES = {
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "binarized_mnist": (28, 28, 1),
}
"""Of the images that they measured."""


def published(dataset: Mapping[str, object]) -> list[Published]:
    """What is known of a study's data set, the lowest first; empty where nothing is."""
    if dataset.get("kind", "image") != "image":
        return []
    name, levels, shape = str(dataset.get("name")), dataset.get("grey_levels"), dataset.get("image_shape")
    # A user's file may be called like it, and its images may have been resized.
    if isinstance(shape, list | tuple) and tuple(shape) != IMAGE_SHAPES.get(name):
        return []
    known = RESULTS.get((name, int(levels) if isinstance(levels, int | float) else 0), [])
    return sorted(known, key=lambda each: each.value)


def published_bits(dataset: Mapping[str, object]) -> list[tuple[Published, float]]:
    """What is known of a study's data set, each with its bits/dim; without those in nats if an image's size is not."""
    shape = dataset.get("image_shape")
    dimensions = math.prod(int(side) for side in shape) if isinstance(shape, list | tuple) else 0
    units = {"bits_per_dim": 1.0, "nll_nats": 1 / (dimensions * math.log(2)) if dimensions else math.nan}
    found = [(each, each.value * units.get(each.metric, math.nan)) for each in published(dataset)]
    return [(each, bits) for each, bits in found if math.isfinite(bits)]
