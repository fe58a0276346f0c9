"""Warm-ups that take up most of a training, which then has another objective, or another learning rate, than meant."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

WARMUPS = {"kl_warmup_steps": "weight of the KL", "warmup_steps": "learning rate"}
"""The settings that say over how many steps something rises from 0, and what rises."""
LONGEST_SHARE = 0.5
"""Share of the training above which a warm-up is too long."""


def long_warmups(settings: Mapping[str, Any], steps: float) -> dict[str, float]:
    """The warm-ups that take more than half of a training: their steps, by setting.

    Args:
        settings: those of the model and of its training, by name.
        steps: steps of the optimizer in all.
    """
    known = {name: settings.get(name) for name in WARMUPS}
    # NumPy's numbers are among them, and NaN, of a run that did not say, is never larger.
    numbers = {name: float(value) for name, value in known.items() if isinstance(value, Real)}
    return {name: value for name, value in numbers.items() if value > LONGEST_SHARE * steps}
