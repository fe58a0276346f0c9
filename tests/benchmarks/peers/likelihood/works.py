"""What is trained, on which data, from which budgets, and by which sides.

Every side's process reads this, whatever is installed there: it imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tests.benchmarks.peers.works import GlowWork, VAEWork

OURS = "reparam-bench"
VALIDATION_SEED = 0
"""Of the peers' noise, the same at every evaluation, as ours is."""
ALPHA = 1e-4
"""Of the logit before normflows' Glow."""

SIDES: dict[str, tuple[str, str]] = {
    OURS: ("ours", ""),
    "normflows": ("glow_on_torch", "linear"),
    "normflows with a logit": ("glow_on_torch", "logit"),
    "plain PyTorch": ("vae_on_torch", "plain"),
    "PyTorch with the marginals as bias": ("vae_on_torch", "marginals"),
}
"""By the names that the page gives them: a module of this folder and its variant."""


@dataclass(frozen=True)
class LikelihoodWork:
    """One comparison.

    Attributes:
        title: of the page's section.
        data: name of the data set.
        architecture: of all sides.
        steps: training steps between two evaluations.
        budgets: training images; each a multiple of the images of ``steps``.
        rates: learning rates that every side is trained with.
        metric: ``bits_per_dim`` or ``nll_nats``.
        activation: of a VAE's hidden layers.
    """

    title: str
    data: str
    architecture: GlowWork | VAEWork
    steps: int
    budgets: tuple[int, ...]
    rates: tuple[float, ...]
    metric: Literal["bits_per_dim", "nll_nats"]
    activation: Literal["relu", "tanh"] = "tanh"

    @property
    def images_between_evaluations(self) -> int:
        """Training images."""
        return self.steps * self.architecture.batch_size

    @property
    def sides(self) -> tuple[str, ...]:
        """Ours first."""
        names = tuple(SIDES)
        return (OURS, *(names[1:3] if isinstance(self.architecture, GlowWork) else names[3:]))

    def scaled(self, scale: float, most: float = float("inf")) -> LikelihoodWork:
        """The same with budgets times about ``scale``, as many evaluations each, and none above ``most`` images."""
        steps = max(1, round(self.steps * scale))
        images = steps * self.architecture.batch_size
        budgets = [budget // self.images_between_evaluations * images for budget in self.budgets]
        return replace(self, steps=steps, budgets=tuple(budget for budget in budgets if budget <= most))


@dataclass(frozen=True)
class Run:
    """One training of one side, as its process is given it.

    Attributes:
        work: key in ``WORKS``.
        variant: of the side.
        scale: of the work's budgets.
        learning_rate: constant on the peers' sides.
        images: training images in all.
        seed: of weights, noise and data order.
        file: an .npz with ``train`` and ``validation``, integer images (n, h, w, c).
    """

    work: str
    variant: str
    scale: float
    learning_rate: float
    images: int
    seed: int
    file: str

    @property
    def of(self) -> LikelihoodWork:
        """The work, scaled."""
        return WORKS[self.work].scaled(self.scale)


WORKS: dict[str, LikelihoodWork] = {
    "glow-digits": LikelihoodWork(
        title="Glow K=4 L=2 width 64 on the digits (8x8, 17 grey levels), batch 64",
        data="digits",
        architecture=GlowWork(2, 4, 64, 64, (8, 8, 1), grey_levels=17),
        steps=20,
        budgets=(12_800, 51_200),
        rates=(1e-3, 3e-3, 8e-3),
        metric="bits_per_dim",
    ),
    "vae-digits": LikelihoodWork(
        title="VAE 64-200-200-16 ReLU, a categorical for each pixel, on the digits, batch 64",
        data="digits",
        architecture=VAEWork((200, 200), 16, 64, (8, 8, 1), grey_levels=17),
        steps=20,
        budgets=(12_800, 51_200),
        rates=(3e-4, 1e-3, 3e-3),
        metric="bits_per_dim",
        activation="relu",
    ),
    "vae-binarized": LikelihoodWork(
        title="VAE 784-200-200-50 tanh on binarised MNIST, batch 100",
        data="binarized_mnist",
        architecture=VAEWork((200, 200), 50, 100, (28, 28, 1)),
        steps=500,
        budgets=(200_000, 400_000, 1_000_000),
        rates=(3e-4, 1e-3, 3e-3),
        metric="nll_nats",
    ),
    "glow-mnist": LikelihoodWork(
        title="Glow K=4 L=2 width 64 on 8-bit MNIST, batch 64",
        data="mnist",
        architecture=GlowWork(2, 4, 64, 64, (28, 28, 1)),
        steps=250,
        budgets=(32_000,),
        rates=(1e-3, 3e-3, 8e-3),
        metric="bits_per_dim",
    ),
}
