"""Best evaluation, reductions of the learning rate and early stopping: a function of the validation values alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.study.config import TrainingConfig

SMALLEST_GAIN = 1e-4
"""Relative to the best value: an evaluation that gains less is kept as the best, but does not reset patience."""
REDUCTIONS = 3
"""How often a plateau lowers the learning rate before it ends training."""
REDUCTION = 1 / 3
"""Factor of each reduction."""


@dataclass(frozen=True)
class Decision:
    """What follows from the evaluations so far.

    Attributes:
        best: index of the evaluation with the lowest value; None before the first.
        reductions: how often the learning rate was lowered.
        lowers_rate: whether training now restores the best weights and lowers the rate.
        stops: whether training ends now.
    """

    best: int | None
    reductions: int
    lowers_rate: bool
    stops: bool


def decide(values: Sequence[float], config: TrainingConfig) -> Decision:
    """Decide from the validation values, one per evaluation: a training that is resumed decides the same."""
    best: int | None = None
    mark, since, reductions = math.inf, 0, 0
    lowers_rate = stops = False
    for index, value in enumerate(values):
        lowers_rate = False
        if best is None or value < values[best]:
            best = index
        since += 1
        if math.isinf(mark) or value < mark - SMALLEST_GAIN * abs(mark):
            mark, since = value, 0
        if config.patience and since >= config.patience:
            since = 0
            stops = config.decay != "plateau" or reductions == REDUCTIONS
            lowers_rate = not stops
            reductions += lowers_rate
    return Decision(best, reductions, lowers_rate, stops)
