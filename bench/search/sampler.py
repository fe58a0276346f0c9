"""The search of one family: which values its trials try, and which of them are stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage
from scipy.stats import qmc

from bench.core.seeds import derive_seed
from bench.search.pruner import AsynchronousHalving
from bench.search.queue import Claim, Queue, Task
from bench.search.storage import with_retries
from bench.study.search_space import Choices, Integers, Space, value_at

TPE_STARTUP_TRIALS = 4
"""Random trials before TPE models their outcome; fewer than Optuna's ten, for studies are small."""


class Search(Queue):
    """The sweep of one family: tasks whose values are proposed, ended with validation bits/dim, which it minimises.

    Seeds derive from the task's number: a continued study proposes what an uninterrupted one would have, and the
    designs that do not look at outcomes (``qmc``, ``random``) are the same for any number of workers. TPE looks at
    what has ended by then, and takes running trials for bad ones so that workers do not crowd (constant liar).

    Args:
        storage: where it is kept.
        name: its name there.
        space: what is swept.
        first: values of the first trial.
        sampler: ``tpe``, ``qmc`` or ``random``.
        pruning: whether trials that lag behind are stopped.
        evaluations: how many times a trial is evaluated on validation.
        seed: seed of the proposals.
        lease: seconds without a sign of life after which a trial is taken back.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: Space,
        first: dict[str, Any],
        sampler: str,
        pruning: bool,
        evaluations: int,
        seed: int,
        lease: float = 60.0,
    ) -> None:
        # Half of training is the least that tells: learning curves cross early on.
        super().__init__(storage, name, AsynchronousHalving(evaluations // 2) if pruning else None, lease)
        self.space = space
        self.first = first
        self.sampler = sampler
        self.seed = seed

    def tasks(self, trials: int) -> list[Task]:
        """The tasks of so many trials."""
        return [Task(number, self._known_values(number)) for number in range(trials)]

    def _known_values(self, number: int) -> dict[str, Any]:
        if number == 0:
            return self.first
        if self.sampler == "tpe":
            return {}
        point = self._point(number)
        return {name: value_at(parameter, u) for (name, parameter), u in zip(self.space.items(), point, strict=True)}

    def _point(self, number: int) -> list[float]:
        """The task's point in the unit cube, a coordinate for each parameter."""
        if self.sampler == "random":
            generator = np.random.default_rng(derive_seed(self.seed, self.name, number))
            return [float(u) for u in generator.random(len(self.space))]
        # One scrambled Sobol sequence for the whole search.
        sequence = qmc.Sobol(len(self.space), rng=np.random.default_rng(derive_seed(self.seed, self.name)))
        if number > 1:
            sequence.fast_forward(number - 1)
        return [float(u) for u in sequence.random(1)[0]]

    def _prepare(self, claim: Claim) -> None:
        """Propose the values that the task does not have yet."""
        claim.values = {name: claim.unless_lost(lambda name=name: self._suggest(claim, name)) for name in self.space}  # type: ignore[misc]

    def _suggest(self, claim: Claim, name: str) -> Any:
        parameter, trial = self.space[name], claim._trial
        if isinstance(parameter, Choices):
            return with_retries(lambda: trial.suggest_categorical(name, parameter.values))
        suggest: Any = trial.suggest_int if isinstance(parameter, Integers) else trial.suggest_float
        return with_retries(lambda: suggest(name, parameter.low, parameter.high, log=parameter.log))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = derive_seed(self.seed, self.name, number)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=TPE_STARTUP_TRIALS)
