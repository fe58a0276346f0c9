"""What a study would do, and roughly how long it would take. Imports no framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.core.warmups import WARMUPS, long_warmups
from bench.study.config import RunConfig
from bench.study.definition import BUDGETS, CONVERGENT_EPOCHS, Arm, BoundStudy
from bench.study.eta import Eta, Expected
from bench.study.reference_model import RUN_KIND, most_test_images, reference_study
from bench.study.rungs import BUDGET_SHARES, budget_samples
from bench.study.search_space import Choices, Integers, Parameter, Space, choose_values
from bench.study.speed import Speed, estimate_speed
from models.base.size import Size

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
FINAL_SECONDS = 4.0
"""What measuring a final run takes beside likelihoods: samples and their quality, pictures, the model's files; ..."""
FINAL_SECONDS_PER_IMAGE = 0.003
"""... and for each image that is measured. A core of 2025 took 5 s for 360 of 8x8 and 10 s for 2,000 of 28x28."""
OPTIMISM_SAMPLES = 4
"""Importance samples of the bound that estimates a final run's selection optimism under fresh noise."""
COMPILATIONS = 2
"""Of final runs, in units of that of a training: programs to train, and as many to measure."""


@dataclass(frozen=True)
class ArmPlan:
    """Sizes, budget and expected times of one arm; sizes are None if the model does not state them."""

    arm: Arm
    smallest: Size | None
    largest: Size | None
    images: int
    evaluations: int
    times: Times

    @property
    def search_seconds(self) -> float:
        """The arm's whole search."""
        return self.times.search

    @property
    def trial_seconds(self) -> float:
        """A trial that is trained to the end, alone."""
        return self.times.first + self.times.training + self.times.selection

    @property
    def final_seconds(self) -> float:
        """A final run, alone."""
        return self.times.finals(1)


@dataclass(frozen=True)
class Times:
    """Expected seconds of an arm.

    Attributes:
        search: its whole search.
        beginning: its trials until the first rung, with what is compiled.
        first: compiling a shape.
        training: a trial that is trained to the end, with its evaluations.
        selection: the bound that is compared at the end of a trial.
        test: the likelihoods by which a final run is measured.
        others: what else it is measured by.
        longer: how many times as long as such a trial a final run is trained.
    """

    search: float
    beginning: float
    first: float
    training: float
    selection: float
    test: float
    others: float = FINAL_SECONDS
    longer: float = 1.0

    @property
    def final_training(self) -> float:
        """Training of a final run, with its evaluations."""
        return self.longer * self.training

    @property
    def measuring(self) -> float:
        """Measuring a final run."""
        return self.test + self.others

    def finals(self, runs: int) -> float:
        """So many final runs, which share what is compiled: programs for training, and as many to measure."""
        return COMPILATIONS * self.first + runs * (self.final_training + self.measuring)


def plan(bound: BoundStudy, speeds: Mapping[str, Speed] | None = None) -> list[ArmPlan]:
    """Estimate sizes and times of each arm; times in the middle of its swept ranges.

    Args:
        bound: the study.
        speeds: the measured speed of each arm; by default they are estimated.
    """
    return [_plan(bound, arm, (speeds or {}).get(arm.name)) for arm in bound.study.arms]


def plan_reference(bound: BoundStudy, speed: Speed | None = None) -> ArmPlan | None:
    """Estimate size and time of the reference model, whose only run is a final one; None where there is none.

    Of measures, it has the exact likelihood of test images alone.
    """
    if (reference := reference_study(bound)) is None:
        return None
    (arm,), info = reference.study.arms, bound.info
    speed = speed or estimate_speed(reference.base(arm), info)
    planned = _plan(reference, arm, speed)
    images = min(info.sizes["test"], bound.settings.evaluation_images or math.inf, most_test_images(info))
    return replace(planned, times=replace(planned.times, test=images * speed.likelihood_seconds, others=0.0))


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
    budget = {**dict.fromkeys(BUDGETS), "epochs": CONVERGENT_EPOCHS}
    longer = replace(bound, settings=bound.settings.model_copy(update=budget), images={})
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


def too_long_warmups(bound: BoundStudy) -> list[str]:
    """A sentence on each warm-up that takes most of a run of an arm's own configuration, if no smoke run or sweep."""
    if bound.settings.smoke:
        return []
    found = []
    for arm in bound.study.arms:
        config = bound.configure(arm, bound.first_values(arm))
        training = config.training
        settings = {**config.model.model_dump(), "warmup_steps": training.warmup_steps}
        found += [
            f"{arm.name}: its {WARMUPS[name]} rises over {name}={warmup:g}, and a run takes {training.steps:,} steps: "
            "give it a larger budget, or a shorter warm-up"
            for name, warmup in long_warmups(settings, training.steps).items()
            if not {name, f"model.{name}", f"training.{name}"} & arm.sweep.keys()
        ]
    return found


def study_eta(bound: BoundStudy) -> Eta:
    """A prediction of the study's remaining time, from these estimates and from the times of finished runs."""
    settings = bound.settings
    expected = {}
    for each in plan(bound):
        name = each.arm.name
        search = bound.search(each.arm)
        runs = sum(number for number, _ in search)
        expected[f"{name} search"] = Expected(runs, each.search_seconds / max(1, runs))
        expected[f"{name} final"] = Expected(settings.seeds, each.times.finals(settings.seeds) / settings.seeds)
    if reference := plan_reference(bound):
        expected[RUN_KIND] = Expected(1, reference.final_seconds)
    return Eta(expected)


def total_seconds(bound: BoundStudy, plans: list[ArmPlan]) -> float:
    """Rough time of the whole study: the searches, then the final runs and the reference model."""
    settings, reference = bound.settings, plan_reference(bound)
    return (0.0 if reference is None else reference.final_seconds) + sum(
        p.search_seconds + p.times.finals(settings.seeds) for p in plans
    )


def _plan(bound: BoundStudy, arm: Arm, speed: Speed | None) -> ArmPlan:
    info = bound.info

    def size(corner: str) -> Size | None:
        config = bound.configure(arm, _values(arm.sweep, corner))
        return config.model.size(info.image_shape, info.grey_levels)

    middle = bound.configure(arm, middle_values(arm.sweep))
    return ArmPlan(
        arm=arm,
        smallest=size("low"),
        largest=size("high"),
        images=middle.training.steps * middle.training.batch_size,
        evaluations=middle.training.evaluations,
        times=expected_times(bound, arm, middle, speed or estimate_speed(middle, info)),
    )


def expected_times(bound: BoundStudy, arm: Arm, config: RunConfig, speed: Speed) -> Times:
    """Expected seconds of an arm whose runs all cost as much as those of one configuration."""
    info, settings, training = bound.info, bound.settings, config.training

    def evaluated(split: str) -> int:
        return min(info.sizes[split], settings.evaluation_images or info.sizes[split])

    def likelihoods(split: str, samples: int) -> float:
        return evaluated(split) * (1 if config.model.is_exact else samples) * speed.likelihood_seconds

    train = training.steps * speed.step_seconds + training.evaluations * likelihoods("validation", 1)
    selection = likelihoods("validation", settings.selection_samples)
    shares = 1 if training.depends_on_budget else len(BUDGET_SHARES)
    test = likelihoods("test", settings.importance_samples)
    test += shares * likelihoods("test", budget_samples(settings.importance_samples))
    test += likelihoods("validation", OPTIMISM_SAMPLES)
    search = bound.search(arm, training.evaluations)
    compiling = min(shapes(arm, settings.trials), settings.trials if search else 0) * speed.first_seconds
    return Times(
        search=compiling + sum(number * share for number, share in search) * train + _trained_whole(search) * selection,
        beginning=compiling + math.prod(search[0]) * train if search else 0.0,
        first=speed.first_seconds,
        training=train,
        selection=selection,
        test=test,
        others=FINAL_SECONDS + FINAL_SECONDS_PER_IMAGE * evaluated("test"),
    )


def _trained_whole(search: list[tuple[int, float]]) -> int:
    """How many trials of a search are trained to the end."""
    return search[-1][0] if search and math.isclose(sum(share for _, share in search), 1.0) else 0


def shapes(arm: Arm, trials: int) -> int:
    """How many different shapes of model so many trials are likely to train, each of which is compiled."""
    found = 1
    for name, parameter in arm.sweep.items():
        if isinstance(parameter, Integers):
            found *= parameter.high - parameter.low + 1
        elif isinstance(parameter, Choices):
            found *= len(parameter.values)
        elif name not in ("learning_rate", "weight_decay"):
            found = trials
    return min(found, trials)


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
