"""What a case is, as text. It imports no framework."""

from __future__ import annotations

import json

from bench.study.config import TrainingConfig
from models.base.config import ModelConfig


def configuration(model: ModelConfig, training: TrainingConfig) -> str:
    """What of both departs from the defaults, as JSON."""
    changed = {**model.model_dump(mode="json", exclude_defaults=True)}
    changed |= training.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"family": model.family, **changed}, sort_keys=True)
