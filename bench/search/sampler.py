"""The search of one arm: its sampler, and its pruner or successive halving."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

import numpy as np
import optuna
from optuna.storages import BaseStorage

from bench.core.errors import SettingsError
from bench.core.results import RunState
from bench.core.seeds import derive_seed
from bench.search.queue import ALWAYS, Attempt, Claim, Queue, Task, UnusableValuesError
from bench.study.definition import HALVING, PRUNERS
from bench.study.rungs import Progress, rungs, targets
from bench.study.search_space import Choices, Integers, Parameter, Space, choose_values, value_at

AnySampler = str | optuna.samplers.BaseSampler
"""A sampler, or its name."""
AnyPruner = str | optuna.pruners.BasePruner
"""A pruner, or its name."""
_NEEDED = {"CmaEsSampler": "cmaes", "GPSampler": "torch"}
"""What samplers of Optuna's import when they propose, not when they are made."""
BUDGET = "evaluations"
"""Where the note of a trial's task has the evaluations of the whole budget: a worker may have joined before it grew."""
PROMOTED = "promoted"
"""Where a search has the trials that a person promoted: the evaluation at which each was stopped, by its number."""
TPE_STARTUP_TRIALS = 4
"""Random trials before TPE models their outcome; fewer than Optuna's ten, since studies are small."""


@dataclass(frozen=True)
class SearchObjects:
    """A sampler and a pruner of Optuna that a user gives as objects, instead of those that the study names."""

    sampler: optuna.samplers.BaseSampler | None = None
    pruner: optuna.pruners.BasePruner | None = None

    def check(self) -> None:
        """Check their types.

        Raises:
            SettingsError: one is no object of Optuna's.
        """
        for name, base in (("sampler", optuna.samplers.BaseSampler), ("pruner", optuna.pruners.BasePruner)):
            value = getattr(self, name)
            if not isinstance(value, base | None):
                raise SettingsError(f"{name}={value!r}: the name of a {name}, or a {base.__name__} of Optuna's")


class Search(Queue):
    """The search of one arm: suggests the values of its trials, and minimises bits/dim on validation.

    Seeds derive from the trial's number: a continued study suggests what an uninterrupted one would have, and designs
    that ignore outcomes (``qmc``, ``random``) are the same for any number of workers. TPE uses the trials that have
    ended, and treats running ones as bad, so that workers spread (constant liar).

    Args:
        storage: the storage.
        name: the search's name there.
        space: the swept parameters.
        first: values of the first trial.
        sampler: ``tpe``, ``qmc``, ``random``, the name of one of Optuna's samplers, or a sampler.
        pruner: ``halving``, ``none``, the name of one of Optuna's pruners, or a pruner.
        evaluations: the number of validation evaluations of a trial that is trained to the end.
        seed: seed of the sampler.
        lease: seconds without a heartbeat after which a trial is taken back.

    Raises:
        SettingsError: Optuna has no such sampler or pruner, or its constructor needs arguments.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: Space,
        first: dict[str, Any],
        sampler: AnySampler,
        pruner: AnyPruner,
        evaluations: int,
        seed: int,
        lease: float = 60.0,
    ) -> None:
        super().__init__(storage, name, build_pruner(pruner), lease)
        self.space = space
        self.evaluations = evaluations
        self.halves = pruner == HALVING
        self.first = first
        self.sampler = sampler
        self.seed = seed
        self._sequence = np.empty((0, len(space)))

    def tasks(self, trials: int) -> list[Task]:
        """The tasks of this many trials, as far as each is to be trained by now."""
        return [self.task(number, target) for number, target in self.targets(trials, self.attempts()).items()]

    def task(self, number: int, target: int) -> Task:
        """The task of training a trial to an evaluation."""
        return Task(number, self._known_values(number), {BUDGET: self.evaluations}, target)

    def targets(
        self, trials: int, attempts: Sequence[Attempt], is_eager: bool = False, left_out: Collection[int] = ()
    ) -> dict[int, int]:
        """The evaluation to which each of this many trials is to be trained by now, by its number.

        Args:
            trials: their number.
            attempts: all attempts at them.
            is_eager: whether trials are continued before all have begun.
            left_out: trials that are not continued.
        """
        if not self.halves:
            return dict.fromkeys(range(trials), self.evaluations)
        settled, promoted = {each.number: each for each in attempts if each.counts}, self.promoted
        stopped = [
            at
            for each in attempts
            if (at := each.stopped_at) is not None
            # Where a promoted trial was stopped remains a rung, as if it still were.
            and (settled[each.number] is each or promoted.get(each.number) == at)
        ]
        begun = {each.number for each in attempts if each.state == RunState.RUNNING} - set(settled)
        done = {number: progress(each, number in left_out) for number, each in settled.items()}
        levels, under_way = rungs(self.evaluations, stopped), None if is_eager else len(begun)
        return targets(done, levels, trials, under_way, promoted)

    @property
    def promoted(self) -> dict[int, int]:
        """The trials that a person promoted: the evaluation at which each had been stopped, by number."""
        found = self.call(lambda: self.study.user_attrs).get(PROMOTED)
        # People can edit it, as all attributes.
        known = found.items() if isinstance(found, dict) else ()
        return {int(number): at for number, at in known if str(number).isdecimal() and type(at) is int}

    def promote(self, stopped: Mapping[int, int]) -> None:
        """Have trials trained to the whole budget from now on, for as long as the search exists.

        Args:
            stopped: the evaluation at which each was stopped, by its number.
        """
        known = {**stopped, **self.promoted}
        attribute = {str(number): at for number, at in sorted(known.items())}
        self.call(lambda: self.study.set_user_attr(PROMOTED, attribute))

    def furthest(self) -> Attempt | None:
        """Of the trials that were stopped at a rung, the best of those that came furthest."""
        stopped = [each for each in self.settled().values() if each.stopped_at is not None]
        return min(stopped, key=standing, default=None)

    def foremost(self, most: int) -> set[int]:
        """The numbers of the trials that a larger budget would continue first."""
        whole = [each for each in self.settled().values() if not each.is_out and each.reached != ALWAYS]
        first = {each.number for each in sorted(whole, key=standing)[:most]}
        return first | (self.promoted.keys() & {each.number for each in whole})

    def _known_values(self, number: int) -> dict[str, Any]:
        if number == 0:
            return self.first
        if self.sampler not in ("qmc", "random"):
            return {}
        point = dict(zip(self.space, self._point(number), strict=True))
        return choose_values(self.space, lambda name, parameter: value_at(parameter, point[name]))

    def _point(self, number: int) -> list[float]:
        """The trial's point in the unit cube, one coordinate per parameter."""
        if self.sampler == "random":
            generator = np.random.default_rng(derive_seed(self.seed, self.name, number))
            return [float(u) for u in generator.random(len(self.space))]
        if number > len(self._sequence):
            from scipy.stats import qmc  # takes half a second to import

            # One scrambled Sobol sequence for the whole search, drawn in powers of two, in which it is balanced.
            generator = np.random.default_rng(derive_seed(self.seed, self.name))
            self._sequence = qmc.Sobol(len(self.space), rng=generator).random(1 << number.bit_length())
        return [float(u) for u in self._sequence[number - 1]]

    def _prepare(self, claim: Claim) -> None:
        """Suggest the values that the task does not have yet."""
        self._check(claim.fixed)
        claim.values = choose_values(
            self.space, lambda name, parameter: claim.unless_lost(lambda: self._suggest(claim, name, parameter))
        )

    def _check(self, known: object) -> None:
        """Check the values that a task has, which people can edit: Optuna would train others, or any outside a range.

        Raises:
            UnusableValuesError: they are not in the space.
        """
        if not isinstance(known, dict):
            raise UnusableValuesError(f"{known!r} gives no values by name")
        for name, value in known.items():
            if name not in self.space:
                raise UnusableValuesError(f"{name!r} is not swept: {', '.join(self.space)}")
            if value not in self.space[name]:
                raise UnusableValuesError(f"{name}={value!r} is not in {self.space[name]}")

    def _suggest(self, claim: Claim, name: str, parameter: Parameter) -> Any:
        trial = claim._trial
        if isinstance(parameter, Choices):
            return self.call(lambda: trial.suggest_categorical(name, parameter.values))
        suggest: Any = trial.suggest_int if isinstance(parameter, Integers) else trial.suggest_float
        return self.call(lambda: suggest(name, parameter.low, parameter.high, log=parameter.log))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return build_sampler(self.sampler, derive_seed(self.seed, self.name, number))


def progress(attempt: Attempt, is_left_out: bool = False) -> Progress:
    """How far a trial was trained, and what it reached."""
    return Progress(attempt.reached, attempt.is_out or is_left_out, attempt.frozen.intermediate_values)


def standing(attempt: Attempt) -> tuple[int, float, int]:
    """Orders trials: those that came further first, and of those the better ones."""
    curve = progress(attempt)
    return -curve.reached, curve.best_until(curve.reached), attempt.number


def build_sampler(sampler: AnySampler, seed: int) -> optuna.samplers.BaseSampler:
    """Create a sampler; one of Optuna's has Optuna's defaults.

    Args:
        sampler: its name, or a sampler, which is returned.
        seed: its seed.

    Raises:
        SettingsError: Optuna has no such sampler, or its constructor needs arguments.
    """
    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    if sampler in ("tpe", "qmc", "random"):
        # It has nothing to suggest for the last two, whose values are in the tasks.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=TPE_STARTUP_TRIALS)
    kind = _find_class(optuna.samplers, sampler, optuna.samplers.BaseSampler)
    if (package := _NEEDED.get(sampler)) and find_spec(package) is None:
        raise SettingsError(f"{sampler} needs the package {package}: pip install {package}, or another sampler")
    seeded = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
    return cast(optuna.samplers.BaseSampler, _construct(kind, **seeded))


def build_pruner(pruner: AnyPruner) -> optuna.pruners.BasePruner:
    """Create a pruner; one of Optuna's has Optuna's defaults. Successive halving is none: it stops no running trial.

    Args:
        pruner: its name, or a pruner, which is returned.

    Raises:
        SettingsError: Optuna has no such pruner, or its constructor needs arguments.
    """
    if isinstance(pruner, optuna.pruners.BasePruner):
        return pruner
    if pruner in PRUNERS:
        return optuna.pruners.NopPruner()
    return cast(optuna.pruners.BasePruner, _construct(_find_class(optuna.pruners, pruner, optuna.pruners.BasePruner)))


def _find_class(module: ModuleType, name: str, base: type) -> type:
    kind = getattr(module, name, None)
    if not isinstance(kind, type) or not issubclass(kind, base) or kind is base:
        known = [each for each in module.__all__ if each.endswith(base.__name__[4:]) and each != base.__name__]
        raise SettingsError(f"Optuna has no {name}: one of {', '.join(known)}")
    return kind


def _construct(kind: type, **arguments: Any) -> object:
    try:
        return kind(**arguments)
    except (TypeError, ImportError) as error:
        raise SettingsError(
            f"{kind.__name__} cannot be created by its name ({error}): give an object of it to run_study"
        ) from error
