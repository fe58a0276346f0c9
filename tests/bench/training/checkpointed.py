"""Small trials that keep their state, for the tests of checkpoints.

As a script, one in a process of its own, which kills itself at a step of an evaluation:

    python checkpointed.py NAME CHECKPOINT EVALUATION STEP
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import bench.execution.trial
import bench.training.checkpoint
import bench.training.loop
from bench.core.results import EvaluationRecord
from bench.data.bundled import DIGITS, load_digits
from bench.data.dataset import Dataset, TuningData
from bench.runtime.backend import select_backend
from bench.study.config import RunConfig, TrainingConfig
from bench.training.checkpoint import Checkpoint
from bench.training.history import TrainingLog
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

EVALUATIONS, STEPS = 4, 3
SEED = 3
# 48 does not divide the number of images: a pass over them ends inside a batch.
BUDGET = {"learning_rate": 0.01, "batch_size": 48, "images": EVALUATIONS * STEPS * 48, "evaluations": EVALUATIONS}
MODELS = {
    "vae": VAEConfig(hidden_sizes=(8,), latent_size=2, kl_warmup_steps=30),
    "glow": GlowConfig(levels=1, flow_depth=1, hidden_channels=4),
    "plateau": VAEConfig(hidden_sizes=(8,), latent_size=2, dropout=0.2),
}
TRAINING = {
    "vae": TrainingConfig(**BUDGET, decay="cosine", warmup_steps=6, weight_average=0.9, optimizer="adamax"),
    "glow": TrainingConfig(**BUDGET, decay="staged", weight_average=0.8),
    # At this rate hardly an evaluation brings a new best: the best state is taken back once or more.
    "plateau": TrainingConfig(
        **BUDGET | {"learning_rate": 0.3}, decay="plateau", patience=1, weight_average=0.5, weight_decay=0.01
    ),
}


@dataclass(frozen=True)
class Result:
    """What a trial came to; all of it must be the same whether or not the trial was interrupted."""

    variables: list[np.ndarray]
    bound: float
    log: TrainingLog

    @property
    def curve(self) -> list[dict[str, float]]:
        return [record.values for record in self.log.records]


def data() -> TuningData:
    full = load_digits()
    sizes = {"train": 256, "validation": 64, "test": 0}
    splits = [full.tuning.train.some(256), full.tuning.validation.some(64), full.open_test()]
    return Dataset(replace(DIGITS, sizes=sizes), *splits).tuning


def config_of(name: str) -> RunConfig:
    return RunConfig(
        model=MODELS[name], training=TRAINING[name], dataset_digest="digits", backend=keras.backend.backend()
    )


def checkpoint_of(name: str, path: Path, **changes: Any) -> Checkpoint:
    """The checkpoint of a trial as a new process opens it."""
    identity = {"config_hash": config_of(name).hash, "seed": SEED, "code_version": "abc"} | changes
    return Checkpoint(path, **identity)


def trial(
    name: str,
    checkpoint: Checkpoint | None = None,
    on_evaluation: Callable[[EvaluationRecord], None] = lambda record: None,
) -> Result:
    # TensorFlow rounds as its options say, which an earlier test of the process may have set.
    select_backend(keras.backend.backend())
    outcome = bench.execution.trial.run_trial(config_of(name), data(), SEED, 2, on_evaluation, checkpoint)
    model = outcome.model
    variables = [np.array(each) for each in [*model.variables, *model.optimizer.variables]]
    return Result(variables, bench.execution.trial.validation_bits_per_dim(outcome), outcome.log)


def at_step(evaluation: int, step: int, do: Callable[[], None]) -> Callable[..., None]:
    """A ``_check_finite`` of training that does something once this step of this evaluation, both from 1, is done.

    Counted from where this process began; where several steps are done at once, after the last of them.
    """
    wanted, steps = (evaluation - 1) * STEPS + step, 0

    def check(losses: Any, steps_before: int) -> None:
        nonlocal steps
        steps += len(losses)
        if steps - len(losses) < wanted <= steps:
            do()

    return check


def main(name: str, path: str, evaluation: str, step: str) -> None:
    bench.training.checkpoint.LARGEST_SHARE = float("inf")
    killing = at_step(int(evaluation), int(step), lambda: os.kill(os.getpid(), signal.SIGKILL))
    bench.training.loop._check_finite = killing
    trial(name, checkpoint_of(name, Path(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
