"""What a study would do, and roughly how long it would take. Imports no framework."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bench.study.definition import CONVERGENT_EPOCHS, Arm, BoundStudy
from bench.study.eta import Eta, Expected
from bench.study.reference_model import RUN_KIND, reference_study
from bench.study.search_space import Choices, Integers, Parameter, Space, choose_values
from models.base.size import TRAINING_PASSES, Size

EFFICIENCY = 0.15
"""Share of the processor's speed at matrix products that small models reach, measured on two cores."""
SECONDS_PER_STEP = 0.005
"""Overhead of a training step: dispatch and batching."""
PROCESS_BYTES = {"tensorflow": 1.0 * 2**30, "jax": 0.7 * 2**30}
"""A process after its first run on small images."""
BYTES_PER_RUN = 0.1 * 2**30
"""What a process keeps of each run's compiled programs, ..."""
MOST_KEPT_BYTES = 1.7 * 2**30
"""... until they repeat, or a fresh process takes its place."""
BATCH_BYTES = 0.5 * 2**30
"""Memory of evaluating the largest batch, of ``LARGEST_BATCH`` values."""
LARGEST_BATCH = 2**21
ROWS_PER_BATCH = 1024
BYTES_PER_PARAMETER = 24
"""Weight, gradient, two moments, and the best and the saved weights, in single precision."""
COMPILE_SECONDS = 3.0
COMPILE_SECONDS_PER_FLOW_STEP = 1.1
"""Time to build, initialise, trace and compile a model; it grows with the steps of a flow."""


@dataclass(frozen=True)
class ArmPlan:
    """Sizes, budget and expected times of one arm; sizes are None if the model does not state them."""

    arm: Arm
    smallest: Size | None
    largest: Size | None
    images: int
    evaluations: int
    search_seconds: float
    trial_seconds: float
    final_seconds: float


def plan(bound: BoundStudy) -> list[ArmPlan]:
    """Estimate sizes and times of each arm; times in the middle of its swept ranges."""
    rate = _multiplications_per_second() * EFFICIENCY
    return [_plan(bound, arm, rate) for arm in bound.study.arms]


def plan_reference(bound: BoundStudy) -> ArmPlan | None:
    """Estimate size and time of the reference model, whose only run is a final one; None where there is none."""
    reference = reference_study(bound)
    return None if reference is None else plan(reference)[0]


@dataclass(frozen=True)
class LongerStudy:
    """A study at the budget by which the families had converged on the digits."""

    bound: BoundStudy
    plans: list[ArmPlan]

    @property
    def images(self) -> int:
        """Training images of a trial."""
        return max(each.images for each in self.plans)


def at_convergent_budget(bound: BoundStudy) -> LongerStudy:
    """The study with a budget of ``CONVERGENT_EPOCHS`` passes over its training images."""
    budget = {"epochs": CONVERGENT_EPOCHS, "images": None}
    longer = replace(bound, settings=bound.settings.model_copy(update=budget))
    return LongerStudy(longer, plan(longer))


@dataclass(frozen=True)
class Memory:
    """Expected memory in bytes: of the images, and of a process in all."""

    images: int
    process: float


def expected_memory(bound: BoundStudy, plans: list[ArmPlan]) -> Memory:
    """Roughly the largest memory of a process of the study, which holds the images once, as integers."""
    info = bound.info
    images = sum(info.sizes.values()) * info.dimensions * (1 if info.grey_levels <= 256 else 2)
    batch = BATCH_BYTES * min(ROWS_PER_BATCH * info.dimensions, LARGEST_BATCH) / LARGEST_BATCH
    parameters = max((each.largest.parameters for each in plans if each.largest), default=0)
    kept = min(BYTES_PER_RUN * bound.runs, MOST_KEPT_BYTES)
    first = PROCESS_BYTES.get(bound.settings.backend, max(PROCESS_BYTES.values()))
    return Memory(images, first + kept + images + batch + BYTES_PER_PARAMETER * parameters)


def study_eta(bound: BoundStudy) -> Eta:
    """A prediction of the study's remaining time, from these estimates and from the times of finished runs."""
    settings = bound.settings
    expected = {}
    for each in plan(bound):
        name = each.arm.name
        search = bound.search(each.arm)
        runs = sum(number for number, _ in search)
        expected[f"{name} search"] = Expected(runs, each.search_seconds / max(1, runs))
        expected[f"{name} final"] = Expected(settings.seeds, each.final_seconds)
    if reference := plan_reference(bound):
        expected[RUN_KIND] = Expected(1, reference.final_seconds)
    return Eta(expected)


def total_seconds(bound: BoundStudy, plans: list[ArmPlan]) -> float:
    """Rough time of the whole study: the searches, then the final runs and the reference model."""
    settings, reference = bound.settings, plan_reference(bound)
    return (0.0 if reference is None else reference.final_seconds) + sum(
        p.search_seconds + settings.seeds * p.final_seconds for p in plans
    )


def _plan(bound: BoundStudy, arm: Arm, rate: float) -> ArmPlan:
    info, settings = bound.info, bound.settings

    def size(corner: str) -> Size | None:
        config = bound.configure(arm, _values(arm.sweep, corner))
        return config.model.size(info.image_shape, info.grey_levels)

    middle = bound.configure(arm, middle_values(arm.sweep))
    work = (size("middle") or Size()).multiplications
    training = middle.training
    images = training.steps * training.batch_size
    compile_seconds = COMPILE_SECONDS + COMPILE_SECONDS_PER_FLOW_STEP * middle.model.compiled_steps
    exact = middle.model.is_exact

    def evaluated(split: str) -> int:
        return min(info.sizes[split], settings.evaluation_images or info.sizes[split])

    train_seconds = compile_seconds + images * TRAINING_PASSES * work / rate + training.steps * SECONDS_PER_STEP
    evaluation_seconds = training.evaluations * evaluated("validation") * work / rate
    selection = evaluated("validation") * (1 if exact else settings.selection_samples) * work / rate
    test = evaluated("test") * (1 if exact else settings.importance_samples) * work / rate + compile_seconds
    search = bound.search(arm)
    complete = search[-1][0] if search else 0
    trainings = sum(number * share for number, share in search)
    return ArmPlan(
        arm=arm,
        smallest=size("low"),
        largest=size("high"),
        images=images,
        evaluations=training.evaluations,
        search_seconds=trainings * (train_seconds + evaluation_seconds) + complete * selection,
        trial_seconds=train_seconds + evaluation_seconds + selection,
        final_seconds=train_seconds + evaluation_seconds + test,
    )


def middle_values(sweep: Space) -> dict[str, Any]:
    """Each swept parameter in the middle of its range."""
    return _values(sweep, "middle")


def _values(sweep: Space, corner: str) -> dict[str, Any]:
    """Each swept parameter at its low end, high end, or in the middle of its range."""

    def value(name: str, parameter: Parameter) -> Any:
        if isinstance(parameter, Choices):
            return parameter.values[{"low": 0, "high": -1, "middle": len(parameter.values) // 2}[corner]]
        middle = math.sqrt(parameter.low * parameter.high) if parameter.log else (parameter.low + parameter.high) / 2
        at_corner = {"low": parameter.low, "high": parameter.high, "middle": middle}[corner]
        return round(at_corner) if isinstance(parameter, Integers) else at_corner

    return choose_values(sweep, value)


@cache
def _multiplications_per_second() -> float:
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
