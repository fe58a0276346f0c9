"""When a training was best, lowers its learning rate, and ends: a function of its validation values alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.study.config import TrainingConfig

SMALLEST_GAIN = 1e-4
"""Relative to the best value: by less an evaluation is kept as the best, but buys no further patience."""
REDUCTIONS = 3
"""How often a plateau lowers the learning rate before it ends training."""
REDUCTION = 1 / 3
"""By which it is multiplied."""


@dataclass(frozen=True)
class Course:
    """Where a training stands after its evaluations so far.

    Attributes:
        best: index of the evaluation with the lowest value; None before the first.
        reductions: how often the learning rate was lowered.
        is_reduced: whether it is lowered after the latest evaluation, the best weights being taken back.
        is_over: whether training ends after the latest evaluation.
    """

    best: int | None
    reductions: int
    is_reduced: bool
    is_over: bool


def course(values: Sequence[float], config: TrainingConfig) -> Course:
    """The course that validation values, one an evaluation, prescribe.

    It is a function of the values, so that a training that is continued takes the same course.
    """
    best: int | None = None
    mark, since, reductions = math.inf, 0, 0
    is_reduced = is_over = False
    for index, value in enumerate(values):
        is_reduced = False
        if best is None or value < values[best]:
            best = index
        since += 1
        if math.isinf(mark) or value < mark - SMALLEST_GAIN * abs(mark):
            mark, since = value, 0
        if config.patience and since >= config.patience:
            since = 0
            is_over = config.decay != "plateau" or reductions == REDUCTIONS
            is_reduced = not is_over
            reductions += is_reduced
    return Course(best, reductions, is_reduced, is_over)
