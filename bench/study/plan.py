"""What a study would do, and roughly how long it would take, told without importing a framework."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bench.study.definition import CONVERGENT_PASSES, BoundStudy, Family
from bench.study.eta import ExpectedRuns, RemainingStudy
from bench.study.search_space import Choices, Integers, Space
from models.base.config import GlowConfig
from models.base.size import Size, model_size

TRAINING_PASSES = 3
"""A training step costs about three forward passes: one forward, two backward."""
EFFICIENCY = 0.15
"""Share of the processor's matrix-product speed that small models reach, measured on two cores."""
SECONDS_PER_STEP = 0.005
"""Cost of a training step beside its arithmetic: dispatch, batching, callbacks."""
COMPILE_SECONDS = 3.0
COMPILE_SECONDS_PER_FLOW_STEP = 1.1
"""Time to build, initialise, trace and compile a model; that of a flow grows with its steps."""


@dataclass(frozen=True)
class FamilyPlan:
    """What a study would do with one family."""

    family: Family
    smallest: Size
    largest: Size
    images: int
    looks: int
    trial_seconds: float
    final_seconds: float


def plan(bound: BoundStudy) -> list[FamilyPlan]:
    """Sizes and times of each family, the times for the middle of its swept ranges."""
    rate = _multiplications_per_second() * EFFICIENCY
    return [_plan(bound, family, rate) for family in bound.study.families]


@dataclass(frozen=True)
class LongerStudy:
    """A study at the budget after which both families had converged on the digits."""

    bound: BoundStudy
    plans: list[FamilyPlan]

    @property
    def images(self) -> int:
        """Training images of a trial."""
        return max(each.images for each in self.plans)


def at_convergent_budget(bound: BoundStudy) -> LongerStudy:
    """The study with a budget of ``CONVERGENT_PASSES`` passes over its training images."""
    budget = {"epochs": CONVERGENT_PASSES, "images": None}
    longer = replace(bound, settings=bound.settings.model_copy(update=budget))
    return LongerStudy(longer, plan(longer))


def remaining_study(bound: BoundStudy) -> RemainingStudy:
    """A prediction of the study's remaining time that begins with these estimates and goes on with what runs take."""
    settings = bound.settings
    expected = {}
    for each in plan(bound):
        name = each.family.name
        expected[f"{name} search"] = ExpectedRuns(settings.trials, each.trial_seconds)
        expected[f"{name} final"] = ExpectedRuns(settings.seeds, each.final_seconds)
    return RemainingStudy(expected)


def total_seconds(bound: BoundStudy, plans: list[FamilyPlan]) -> float:
    """Rough time of the whole study: all trials to their end, then the final runs."""
    settings = bound.settings
    return sum(settings.trials * p.trial_seconds + settings.seeds * p.final_seconds for p in plans)


def _plan(bound: BoundStudy, family: Family, rate: float) -> FamilyPlan:
    info, settings = bound.info, bound.settings

    def size(corner: str) -> Size:
        config = bound.configure(family, _values(family.sweep, corner))
        return model_size(config.model, info.image_shape, info.grey_levels)

    middle = bound.configure(family, middle_values(family.sweep))
    work = size("middle").multiplications
    training = middle.training
    images = training.steps * training.batch_size
    compile_seconds = COMPILE_SECONDS
    if isinstance(middle.model, GlowConfig):
        compile_seconds += COMPILE_SECONDS_PER_FLOW_STEP * middle.model.levels * middle.model.flow_depth

    def evaluated(split: str) -> int:
        return min(info.sizes[split], settings.evaluation_images or info.sizes[split])

    train_seconds = compile_seconds + images * TRAINING_PASSES * work / rate + training.steps * SECONDS_PER_STEP
    looks_seconds = training.evaluations * evaluated("validation") * work / rate
    selection = evaluated("validation") * settings.selection_samples * work / rate
    test = evaluated("test") * settings.importance_samples * work / rate + compile_seconds
    return FamilyPlan(
        family=family,
        smallest=size("low"),
        largest=size("high"),
        images=images,
        looks=training.evaluations,
        trial_seconds=train_seconds + looks_seconds + selection,
        final_seconds=train_seconds + looks_seconds + test,
    )


def middle_values(sweep: Space) -> dict[str, Any]:
    """Every swept parameter in the middle of its range."""
    return _values(sweep, "middle")


def _values(sweep: Mapping[str, Any], corner: str) -> dict[str, Any]:
    """Every swept parameter at its low end, high end, or in the middle of its range."""
    values: dict[str, Any] = {}
    for name, parameter in sweep.items():
        if isinstance(parameter, Choices):
            values[name] = parameter.values[{"low": 0, "high": -1, "middle": len(parameter.values) // 2}[corner]]
            continue
        middle = math.sqrt(parameter.low * parameter.high) if parameter.log else (parameter.low + parameter.high) / 2
        value = {"low": parameter.low, "high": parameter.high, "middle": middle}[corner]
        values[name] = round(value) if isinstance(parameter, Integers) else value
    return values


@cache
def _multiplications_per_second() -> float:
    """Multiply-adds per second of a float32 matrix product on this processor, all cores; about 50 ms to measure."""
    n = 512
    matrix = np.ones((n, n), dtype=np.float32)
    matrix @ matrix
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return n**3 / best
