"""Our recipe: the one place that says how our side is built and trained. It imports no framework."""

from __future__ import annotations

from bench.study.config import RECIPE, TrainingConfig
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from tests.benchmarks.peers.likelihood.works import LikelihoodWork
from tests.benchmarks.peers.works import GlowWork

A_RUN_FOR_EACH_BUDGET = False
"""Whether a budget has a run of its own, as a schedule with a horizon needs it; else the largest one's serves all."""


def model(work: LikelihoodWork) -> ModelConfig:
    """Our model: the defaults, and the work's architecture."""
    shape = work.architecture
    if isinstance(shape, GlowWork):
        return GlowConfig(levels=shape.levels, flow_depth=shape.flow_depth, hidden_channels=shape.hidden_channels)
    return VAEConfig(latent_size=shape.latent_size, hidden_sizes=shape.hidden_sizes, activation=work.activation)


def recipe(work: LikelihoodWork, learning_rate: float, images: int) -> TrainingConfig:
    """How our side is trained from a budget of so many images."""
    changes = {
        "learning_rate": learning_rate,
        "batch_size": work.architecture.batch_size,
        "images": images,
        "evaluations": images // work.images_between_evaluations,
    }
    return RECIPE.model_copy(update=changes)


def budgets_of_runs(work: LikelihoodWork) -> tuple[int, ...]:
    """Training images of each of our runs at one learning rate."""
    return work.budgets if A_RUN_FOR_EACH_BUDGET else (max(work.budgets),)
