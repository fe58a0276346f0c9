"""Learning curves towards published figures, for as many seconds as there are. Imported once JAX is selected."""

from __future__ import annotations

import random
from pathlib import Path

from bench.core.results import EvaluationRecord
from bench.study.config import TrainingConfig
from bench.training.loop import train
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.registry import build_model
from studies.published import PUBLISHED
from tests.benchmarks.accelerator.data import tuning_data
from tests.benchmarks.accelerator.part import Part
from tests.benchmarks.accelerator.rows import FAILED

POINTS = 100
"""Rows of a curve at most: evaluations that come faster than that are left out."""
EVALUATIONS = 100_000
"""More than any budget has time for: the seconds end a curve."""


class TimeIsOverError(Exception):
    """Ends a training that has had its seconds."""


def measure(part: Part) -> None:
    """A large Glow on MNIST, and the IWAE paper's VAE on binarised MNIST."""
    levels, depth, width = part.sizes.curve_glow
    glow = GlowConfig(levels=levels, flow_depth=depth, hidden_channels=width)
    published = PUBLISHED["glow-mnist"].published
    name = f"Glow K={depth} L={levels} width {width}, MNIST (published, of a larger one: {published})"
    _curve(part, name, glow, part.data, part.sizes.curve_batch, "bits_per_dim", warmup=500)
    vae = PUBLISHED["vae"]
    name = f"{vae.title} (published: {vae.published})"
    if part.binarized is None:
        part.tell(name, FAILED, note="no --binarized FILE was given")
    else:
        _curve(part, name, vae.model, part.binarized, vae.training.batch_size, "nll_nats", warmup=0)


def _curve(part: Part, subject: str, config: ModelConfig, file: Path, batch: int, metric: str, warmup: int) -> None:
    """Train, and tell the validation figure at each look, a bound from one sample."""
    data = tuning_data(file, part.sizes.validation_images)
    training = TrainingConfig(
        learning_rate=1e-3,
        warmup_steps=warmup,
        batch_size=batch,
        images=EVALUATIONS * part.sizes.curve_look,
        evaluations=EVALUATIONS,
    )
    unit = {"bits_per_dim": "validation bits/dim", "nll_nats": "validation nats"}[metric]

    shown = float("-inf")

    def tell(record: EvaluationRecord) -> None:
        nonlocal shown
        is_over = record.seconds > part.sizes.curve_seconds
        if is_over or record.seconds - shown >= part.sizes.curve_seconds / POINTS:
            shown = record.seconds
            value = record.values[f"validation/{metric}"]
            part.tell(subject, unit, value, images=record.images, seconds=record.seconds)
        if is_over:
            raise TimeIsOverError

    random.seed(0)
    model = build_model(config, data.info.image_shape, data.info.grey_levels)
    try:
        train(model, data, training, seed=0, on_evaluation=tell)
    except TimeIsOverError:
        return
