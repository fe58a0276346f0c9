"""Turns the budgets that people have into training images: seconds, operations or joules of a run, a study's time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.core.errors import SettingsError
from bench.study.config import RunConfig
from bench.study.definition import (
    COST_BUDGETS,
    LEAST_EVALUATIONS,
    MOST_EVALUATIONS_EXTENDED,
    Arm,
    BoundStudy,
    Earlier,
)
from bench.study.duration import format_duration
from bench.study.plan import ArmPlan, Times, expected_times, middle_values, plan_reference
from bench.study.reference_model import NAME, least_images, reference_study
from bench.study.rungs import HALVINGS, REDUCTION
from bench.study.speed import Speed, estimate_speed, training_operations

START_SECONDS = 20.0
"""What a study takes beside its runs and measuring speeds, until its last run: imports, data, databases, the network
that scores samples."""
MEASURING_SECONDS = 5.0
"""What measuring a configuration takes beside compiling it."""
CONFIGURATIONS = 2
"""Configurations of an arm that are measured."""
END_SECONDS = 25.0
"""What it takes after its last run: reference codes, the report."""
REFERENCE_SHARE = 0.1
"""Share of a study's time that its reference model takes at most."""
SEARCH_SHARE = 1 / 3
"""Share of an arm's time that its search has, unless a single trial takes more. Twice the images bring a final run more
than they bring a search: of MNIST 0.03 bits/dim to a Glow, whose trials differ by less than 0.01 at equal images."""
SPARE = 0.05
"""Share of the training of final runs that is not planned, so that a search that takes longer keeps its last rung."""
MOST_FIXED = 0.5
"""Share of an arm's search that compiling and measuring its trials may take where fewer of them would take less."""
MOST_IMAGES = 10**12
FEW_IMAGES = 50
"""Fewer test images are not proposed."""


@dataclass(frozen=True)
class TimePlan:
    """How a study spends its time.

    Attributes:
        seconds: the time of the whole study.
        start: planned seconds before its first trial.
        seeds: final runs of an arm.
        trials: trials by arm that the time is planned for: fewer than were asked for where all do not fit.
        asked: trials that were asked for.
        images: training images of a trial that is trained to the end by arm, and of the reference model.
        final_images: planned training images of a final run by arm.
        times: planned seconds by arm.
        reference: planned seconds of the reference model.
    """

    seconds: float
    start: float
    seeds: int
    trials: Mapping[str, int]
    asked: int
    images: Mapping[str, int]
    final_images: Mapping[str, int]
    times: Mapping[str, Times]
    reference: float

    @property
    def finals_end(self) -> float:
        """Seconds from the study's beginning by which its final runs are to be done."""
        return self.seconds - END_SECONDS - self.reference

    def sentences(self) -> list[str]:
        """How the time is planned to be spent, in lines."""
        arms = [
            f"{name}: {format_duration(times.search)} of search{self._fewer(name)}, "
            f"{format_duration(times.finals(self.seeds))} of final runs, "
            f"{format_duration(self.seeds * times.measuring)} of it to measure; {self.images_in_words(name)}"
            for name, times in self.times.items()
        ]
        others = [f"{format_duration(self.start)} to begin", *arms]
        if self.reference:
            others.append(f"{format_duration(self.reference)} for the reference model")
        return [*others, f"{format_duration(END_SECONDS)} for the report"]

    def images_in_words(self, arm: str) -> str:
        """The images of an arm's runs."""
        trial, final = self.images[arm], self.final_images[arm]
        return f"{final:,} images a run" if trial == final else f"{trial:,} images a trial, {final:,} a final run"

    def _fewer(self, arm: str) -> str:
        fewer = self.trials.get(arm, self.asked)
        return "" if fewer == self.asked else f", enough for {fewer} of {self.asked} trials"


def images_of_runs(bound: BoundStudy, speeds: Mapping[str, Speed] | None = None) -> dict[str, int]:
    """Training images of a run by arm, where the budget is in seconds, operations or joules; else none.

    All trials of an arm see as many images, as its search compares them: they follow from the arm's measured speed, and
    for operations from the middle of its sweep.

    Args:
        bound: the study.
        speeds: the measured speed of each arm; by default they are estimated, but for joules.

    Raises:
        SettingsError: the budget is less than a step of an arm's training, or an arm's cost is not known.
    """
    settings = bound.settings
    name = next((name for name in COST_BUDGETS if getattr(settings, name) is not None), None)
    if name is None:
        return {}
    found = {}
    for arm in bound.study.arms:
        config = bound.configure(arm, middle_values(arm.sweep))
        cost = _cost_of_an_image(name, bound, config, (speeds or {}).get(arm.name))
        if cost is None:
            raise SettingsError(unknown_cost(name, getattr(settings, name), arm.name))
        images = min(MOST_IMAGES, int(getattr(settings, name) / cost))
        if images < config.training.batch_size:
            raise SettingsError(
                f"{name}={getattr(settings, name):g} is less than a step of {config.training.batch_size} images of "
                f"{arm.name} takes, {cost * config.training.batch_size:.3g}: give more"
            )
        found[arm.name] = images
    return found


def _cost_of_an_image(name: str, bound: BoundStudy, config: RunConfig, speed: Speed | None) -> float | None:
    if name == "operations":
        return training_operations(config, bound.info)
    if name == "seconds":
        return (speed or estimate_speed(config, bound.info)).step_seconds / config.training.batch_size
    joules = None if speed is None else speed.step_joules
    return None if joules is None else joules / config.training.batch_size


def unknown_cost(name: str, value: float, arm: str = "") -> str:
    """Why a budget cannot be turned into images of an arm."""
    if name == "joules":
        return (
            f"joules={value:g}: this machine has no counter of energy that this user can read (NVML or RAPL): give "
            "seconds, operations, images or epochs"
        )
    return (
        f"{name}={value:g}: the models of {arm} state no size, so that their operations are not known: give "
        "seconds, images or epochs"
    )


def plan_time(bound: BoundStudy, speeds: Mapping[str, Speed] | None = None) -> TimePlan:
    """Divide a study's time: each arm has an equal share, for its search and its final runs.

    The training images of an arm's trials are the most by which its search keeps to ``SEARCH_SHARE`` of that, at its
    speed, and final runs of as many images fit into the rest. Final runs see what the rest allows. Where the shortest
    runs of all trials would take most of the search's time, as much is compiled or measured, the search is planned for
    fewer: a few trials that are trained say more than many that are not.

    Args:
        bound: the study, whose settings have a time.
        speeds: the measured speed of each arm and of the reference model; by default they are estimated.

    Raises:
        SettingsError: the time is too short, or an arm's schedule depends on its budget.
    """
    total, speeds = bound.settings.time or 0.0, speeds or {}
    check_budget(bound)
    # Of the same length whether or not speeds were kept, so that the same command finds the same budget.
    measured = [_speed(bound, arm, speeds.get(arm.name)) for arm in bound.study.arms]
    measured += [speeds[NAME]] if NAME in speeds else []
    start = START_SECONDS + sum(CONFIGURATIONS * (each.first_seconds + MEASURING_SECONDS) for each in measured)
    usable = total - start - END_SECONDS
    reference, of_reference = _plan_reference(bound, REFERENCE_SHARE * usable, speeds.get(NAME))
    share = (usable - (0.0 if reference is None else reference.final_seconds)) / len(bound.study.arms)
    images = {} if of_reference is None else {NAME: of_reference}
    plans = {arm.name: _plan_arm(bound, arm, share, speeds.get(arm.name)) for arm in bound.study.arms}
    return TimePlan(
        seconds=total,
        start=start,
        seeds=bound.settings.seeds,
        trials={name: each.trials for name, each in plans.items()},
        asked=bound.settings.trials,
        images=images | {name: each.images for name, each in plans.items()},
        final_images={name: each.final_images for name, each in plans.items()},
        times={name: each.times for name, each in plans.items()},
        reference=0.0 if reference is None else reference.final_seconds,
    )


class _TimedArm(NamedTuple):
    """Images of a trial and of a final run, expected times and number of trials of an arm."""

    images: int
    final_images: int
    times: Times
    trials: int


def _plan_arm(bound: BoundStudy, arm: Arm, share: float, measured: Speed | None) -> _TimedArm:
    """How an arm spends its share of the time."""
    config, speed = bound.configure(arm, middle_values(arm.sweep)), _speed(bound, arm, measured)
    least, trials = LEAST_EVALUATIONS * config.training.batch_size, bound.settings.trials

    def times_of(trials: int) -> Callable[[int], Times]:
        return _times(_of_trials(bound, trials), arm, config, speed)

    finals = times_of(trials)(least).finals(bound.settings.seeds)
    searching = min(SEARCH_SHARE * share, share - finals)
    if arm.sweep:
        trials = max(1, largest(lambda number: times_of(number)(least).search <= MOST_FIXED * searching, 1, trials))
    times = times_of(trials)
    # A single trial may take longer.
    searching = max(searching, times(least).search)
    images = largest(lambda n: times(n).search <= searching and _whole(times(n), bound) <= share, least)
    if not images:
        raise _too_short(bound, arm, share, times(least))
    # Of whole intervals, as runs see them.
    training = bound.settings.training(arm.training, bound.info.sizes["train"], _interval(bound, arm), images)
    images = training.images or images
    of_trial = times(images)
    left = (share - of_trial.search - of_trial.finals(0)) / bound.settings.seeds - of_trial.measuring
    most = MOST_EVALUATIONS_EXTENDED / training.evaluations
    longer = max(1.0, min((1 - SPARE) * left / of_trial.training, most)) if arm.sweep else 1.0
    return _TimedArm(images, int(longer * images), replace(of_trial, longer=longer), trials)


def _speed(bound: BoundStudy, arm: Arm, measured: Speed | None) -> Speed:
    """The measured speed of an arm, or an estimate of it."""
    return measured or estimate_speed(bound.configure(arm, middle_values(arm.sweep)), bound.info)


def _of_trials(bound: BoundStudy, trials: int) -> BoundStudy:
    return replace(bound, settings=bound.settings.model_copy(update={"trials": trials}))


def _too_short(bound: BoundStudy, arm: Arm, share: float, times: Times) -> SettingsError:
    """The error of a time that an arm's shortest runs exceed."""
    settings, used = bound.settings, min(bound.info.sizes["test"], bound.settings.evaluation_images or math.inf)
    # Half of the share for training leaves room for a study worth the name.
    room = (share / 2 - _whole(replace(times, test=0.0, others=0.0), bound)) / (settings.seeds * times.measuring)
    fewer = f", for example --evaluation-images {int(room * used)}" if FEW_IMAGES / used < room < 1 else ""
    return SettingsError(
        f"time={settings.time:g} leaves {arm.name} {max(0.0, share):.0f} s, and {_runs(bound, arm)} take "
        f"{_whole(times, bound):.0f} s at least, {settings.seeds * times.measuring:.0f} s of it to measure them: give "
        f"more time, fewer seeds or importance samples, or measure fewer images{fewer}"
    )


def check_budget(bound: BoundStudy) -> None:
    """Check that a budget can be turned into training images, before any speed is measured.

    Raises:
        SettingsError: an arm's schedule depends on a budget that follows from measured speeds, or an arm's operations
            are not known.
    """
    if bound.settings.operations is not None:
        images_of_runs(bound)
    given = {name: value for name in ("time", "seconds", "joules") if (value := getattr(bound.settings, name))}
    for name, value in given.items():
        if (arm := next((arm for arm in bound.study.arms if bound.depends_on_budget(arm)), None)) is not None:
            raise SettingsError(
                f"{name}={value:g}: the schedule of {arm.name}, or its swept images, depend on the budget, which would "
                "follow from this machine's speed: give epochs, images or operations, or decay='plateau' or 'constant'"
            )


def _plan_reference(bound: BoundStudy, share: float, speed: Speed | None) -> tuple[ArmPlan | None, int | None]:
    """The plan of a reference model that fits into a share of the time, and its images at most, if it is wanted."""
    if reference_study(bound) is None:
        return None, None

    def planned(images: int) -> ArmPlan | None:
        # The arms' own budget is not known yet: it does not limit this one.
        limited = {arm.name: MOST_IMAGES for arm in bound.study.arms} | {NAME: images}
        return plan_reference(replace(bound, images=limited), speed)

    def fits(images: int) -> bool:
        found = planned(images)
        return found is not None and found.final_seconds <= share

    images = largest(fits, least_images(bound))
    # None at all is said to be of the study's time.
    return (planned(images), images) if images else (None, 1)


def _times(bound: BoundStudy, arm: Arm, config: RunConfig, speed: Speed) -> Callable[[int], Times]:
    """Expected seconds of an arm by the training images of a run, whose evaluations keep the distance they have."""
    kept = _interval(bound, arm)

    def times(images: int) -> Times:
        budget = bound.settings.training(arm.training, bound.info.sizes["train"], kept, images)
        training = config.training.model_copy(update={"images": budget.images, "evaluations": budget.evaluations})
        return expected_times(bound, arm, config.model_copy(update={"training": training}), speed)

    return times


def _interval(bound: BoundStudy, arm: Arm) -> Earlier | None:
    """The distance of evaluations that an arm of a study that has begun keeps."""
    earlier = bound.earlier.get(arm.name)
    return None if earlier is None else earlier._replace(evaluations=0)


def _whole(times: Times, bound: BoundStudy) -> float:
    return times.search + times.finals(bound.settings.seeds)


def _runs(bound: BoundStudy, arm: Arm) -> str:
    finals = f"{bound.settings.seeds} final runs"
    return f"a single trial and {finals}" if arm.sweep else finals


def largest(fits: Callable[[int], bool], least: int, most: int = MOST_IMAGES) -> int:
    """The largest number that fits, where all smaller ones do; 0 if not even the least does."""
    if not fits(least):
        return 0
    low, high = least, most + 1
    while high - low > max(1, low // 1000):
        middle = max(low + 1, math.isqrt(low * high)) if high > 2 * low else (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def final_evaluations(share: float, fixed: float, seconds: float, done: Sequence[int], planned: int, most: int) -> int:
    """Evaluations of each final run of an arm that fit into a share of the time, at least those of the first rung.

    Args:
        share: seconds for the arm's final runs.
        fixed: what they take beside training.
        seconds: one interval between evaluations, with its evaluation.
        done: the evaluations to which each run was trained already.
        planned: evaluations of a trial that is trained to the end.
        most: evaluations of a run at most.
    """
    fitting = int((share - fixed + sum(done) * seconds) / (len(done) * seconds))
    return min(most, max(fitting, first_rung(planned), *done))


def first_rung(planned: int) -> int:
    """The evaluations of the first rung, of those of a trial that is trained to the end: final runs have as many."""
    return max(1, planned // int(REDUCTION**HALVINGS))
