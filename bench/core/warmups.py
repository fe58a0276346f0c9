"""Warm-ups that take up most of a training, which then has another objective, or another learning rate, than meant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

WARMUPS = {"kl_warmup_steps": "weight of the KL", "warmup_steps": "learning rate"}
"""The settings that say over how many steps something rises from 0, and what rises."""
LONGEST_SHARE = 0.5
"""Share of the training from which a warm-up is too long."""


def long_warmups(settings: Mapping[str, Any], steps: float) -> dict[str, int]:
    """The warm-ups of more than half of a training, or of all of it and longer: the steps of each, by setting.

    Args:
        settings: those of the model and of its training, by name.
        steps: steps of the optimizer in all.
    """
    found = {name: settings.get(name) for name in WARMUPS}
    return {
        name: int(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value) and value > LONGEST_SHARE * steps
    }
