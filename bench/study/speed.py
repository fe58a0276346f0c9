"""How fast an arm trains and is evaluated: measured, or estimated from its size. Imports no framework."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bench.data.dataset import DatasetInfo
from bench.study.config import RunConfig
from models.base.size import TRAINING_PASSES, Size

EFFICIENCY = 0.15
"""Share of the processor's speed at matrix products that small models reach, measured on two cores."""
SECONDS_PER_STEP = 0.005
"""Overhead of a training step: dispatch and batching."""
COMPILE_SECONDS = 3.0
COMPILE_SECONDS_PER_FLOW_STEP = 1.1
"""Time to build, initialise, trace and compile a model; it grows with the steps of a flow."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Speed(BaseModel):
    """How fast a configuration is on a machine.

    Attributes:
        first_seconds: until the first training step is done: building, initialising, compiling.
        step_seconds: a later training step.
        likelihood_seconds: one log-weight of one image.
        step_joules: energy of a training step, of the whole device; None where it has no counter that can be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_seconds: Seconds
    step_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    likelihood_seconds: Seconds
    step_joules: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def in_steps_of(self, ratio: float) -> Speed:
        """That of steps of so many times the images."""
        joules = None if self.step_joules is None else ratio * self.step_joules
        return self.model_copy(update={"step_seconds": ratio * self.step_seconds, "step_joules": joules})


def slowest(speeds: Sequence[Speed]) -> Speed:
    """The slowest in each respect of several speeds of one batch size; of their energies, where each is known."""
    joules = [each.step_joules for each in speeds if each.step_joules is not None]
    return Speed(
        first_seconds=max(each.first_seconds for each in speeds),
        step_seconds=max(each.step_seconds for each in speeds),
        likelihood_seconds=max(each.likelihood_seconds for each in speeds),
        step_joules=max(joules) if len(joules) == len(speeds) else None,
    )


def estimate_speed(config: RunConfig, info: DatasetInfo) -> Speed:
    """What a configuration's size lets expect on this processor, within a factor of about three."""
    size = config.model.size(info.image_shape, info.grey_levels) or Size()
    seconds = size.multiplications / (multiplications_per_second() * EFFICIENCY)
    passes = TRAINING_PASSES * getattr(config.model, "training_samples", 1)
    return Speed(
        first_seconds=COMPILE_SECONDS + COMPILE_SECONDS_PER_FLOW_STEP * config.model.compiled_steps,
        step_seconds=config.training.batch_size * passes * seconds + SECONDS_PER_STEP,
        likelihood_seconds=seconds,
    )


def training_operations(config: RunConfig, info: DatasetInfo) -> float | None:
    """Floating-point operations of training on one image, as reports count them; None if the model states no size."""
    size = config.model.size(info.image_shape, info.grey_levels)
    if size is None:
        return None
    return 2.0 * TRAINING_PASSES * getattr(config.model, "training_samples", 1) * size.multiplications


@cache
def multiplications_per_second() -> float:
    """Multiply-adds per second of a float32 matrix product on all cores, measured in about 0.1 s.

    The best of many: on a busy machine most products wait for a core.
    """
    n = 512
    matrix = np.ones((n, n), dtype=np.float32)
    matrix @ matrix
    best = math.inf
    for _ in range(30):
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return n**3 / best
