"""The only module that talks to Optuna: it proposes trials, prunes them and remembers them."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from bench.errors import TrackingError
from bench.redaction import redact
from bench.results import RunState
from bench.seeds import derive_seed
from bench.space import Choices, Integers, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
# What it warns of goes where the command's log goes, not past it to stderr.
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

TPE_STARTUP_TRIALS = 4
"""Random trials before TPE models their outcome; fewer than Optuna's ten, for studies are small."""
_INTERRUPTED = "interrupted:"
PRUNER_STARTUP_TRIALS = 3
"""Trials that are never pruned, so that there is something to compare with."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial as remembered."""

    number: int
    values: dict[str, Any]
    state: RunState
    objective: float | None


class Search:
    """The sweep of one family: proposes values, takes back validation bits/dim, which it minimises.

    Args:
        name: the search's name in the storage.
        storage: an SQLAlchemy URL, or the path of a journal file (``*.journal``).
        space: what is swept.
        first: values of the first trial.
        sampler: ``tpe``, ``qmc`` or ``random``.
        pruning: whether trials that lag behind are stopped.
        reports: how many times a trial reports.
        seed: seed of the proposals.

    Raises:
        TrackingError: the storage cannot be reached.
    """

    def __init__(
        self,
        name: str,
        storage: str,
        space: Space,
        first: dict[str, Any],
        sampler: str,
        pruning: bool,
        reports: int,
        seed: int,
    ) -> None:
        self.name = name
        self.space = space
        self.sampler = sampler
        self.seed = seed
        # Half of training is the least that tells: learning curves cross early on.
        pruner = (
            optuna.pruners.MedianPruner(n_startup_trials=PRUNER_STARTUP_TRIALS, n_warmup_steps=reports // 2)
            if pruning
            else optuna.pruners.NopPruner()
        )
        try:
            self.study = optuna.create_study(
                study_name=name, storage=_storage(storage), direction="minimize", pruner=pruner, load_if_exists=True
            )
        except (SQLAlchemyError, OSError, ImportError) as error:
            first_line = str(error).splitlines()[0]
            raise TrackingError(f"study storage {redact(storage)} cannot be opened: {redact(first_line)}") from error
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(first)

    def trials(self) -> list[FinishedTrial]:
        """All trials that have ended, interrupted ones included, in their order."""
        ended = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        return [FinishedTrial(t.number, t.params, self._state(t), t.value) for t in ended]

    def done(self) -> int:
        """Trials that count towards the total: all that ended but those that were interrupted."""
        return sum(trial.state != RunState.INTERRUPTED for trial in self.trials())

    def best(self) -> FinishedTrial | None:
        """The complete trial with the lowest objective."""
        complete = [trial for trial in self.trials() if trial.state == RunState.COMPLETE]
        return min(complete, key=lambda trial: trial.objective or 0.0, default=None)

    def ask(self) -> Proposal:
        """Propose the next trial.

        The sampler is made anew for each, from a seed of the number of trials before it, interrupted ones left out: a
        continued study proposes what an uninterrupted one would have.
        """
        trials = self.study.get_trials(deepcopy=False)
        number = sum(f"{_INTERRUPTED}{trial.number}" not in self.study.user_attrs for trial in trials)
        seed = derive_seed(self.seed, self.name, number)
        random = optuna.samplers.RandomSampler(seed=seed)
        samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=TPE_STARTUP_TRIALS),
            # One scrambled sequence for the whole search: Optuna itself counts how much of it was used. It begins
            # after the first trial that did not fail; those before it are drawn at random.
            "qmc": lambda: optuna.samplers.QMCSampler(
                seed=derive_seed(self.seed, self.name),
                scramble=True,
                independent_sampler=random,
                warn_independent_sampling=False,
            ),
            "random": lambda: random,
        }
        # The values of a queued trial are known: they must not use up any of the sequence.
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        self.study.sampler = random if queued else samplers[self.sampler]()
        trial = self.study.ask()
        trial.set_user_attr("owner", _this_process())
        values = {name: _suggest(trial, name, parameter) for name, parameter in self.space.items()}
        return Proposal(self, trial, values)

    def reclaim(self) -> list[int]:
        """End the trials that a vanished process of this machine left running, and queue their values again.

        Returns:
            Their numbers.
        """
        left = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if _is_abandoned(trial)
        ]
        for trial in left:
            self._interrupt(trial.number)
        return [trial.number for trial in left]

    def _interrupt(self, number: int) -> None:
        # Kept with the study: the attributes of a trial of another process cannot be written.
        self.study.set_user_attr(f"{_INTERRUPTED}{number}", True)
        trial = self.study.tell(number, state=TrialState.FAIL)
        # A process may die before it has asked for the values that were queued for it.
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if set(values) == set(self.space):
            self.study.enqueue_trial(values)

    def _state(self, trial: FrozenTrial) -> RunState:
        if f"{_INTERRUPTED}{trial.number}" in self.study.user_attrs:
            return RunState.INTERRUPTED
        default = {TrialState.COMPLETE: RunState.COMPLETE, TrialState.PRUNED: RunState.PRUNED}
        return RunState(trial.user_attrs.get("state", default.get(trial.state, RunState.FAILED)))


class Proposal:
    """A trial that is being run."""

    def __init__(self, search: Search, trial: optuna.trial.Trial, values: dict[str, Any]) -> None:
        self._search = search
        self._trial = trial
        self.number = trial.number
        self.values = values

    def report(self, objective: float, step: int) -> bool:
        """Report validation bits/dim after a step of the learning curve; whether the trial should be pruned."""
        self._trial.report(objective, step)
        return self._trial.should_prune()

    def end(self, state: RunState, objective: float | None = None) -> None:
        """End the trial; it is now remembered, and no other process will repeat it."""
        if state == RunState.INTERRUPTED:
            self._search._interrupt(self.number)
            return
        self._trial.set_user_attr("state", state.value)
        if state == RunState.COMPLETE:
            self._search.study.tell(self._trial, objective)
        else:
            self._search.study.tell(
                self._trial, state=TrialState.PRUNED if state == RunState.PRUNED else TrialState.FAIL
            )


def look_into(storage: str) -> str:
    """What a storage holds, in words; nothing is made or changed in it.

    Args:
        storage: as for :class:`Search`.

    Raises:
        TrackingError: the storage cannot be reached.
    """
    try:
        if storage.endswith(".journal"):
            return f"{len(_storage(storage).get_all_studies())} searches"
        engine = sqlalchemy.create_engine(storage)
        if not sqlalchemy.inspect(engine).has_table("studies"):
            return "no search yet"
        return f"{len(_storage(storage).get_all_studies())} searches"
    except Exception as error:  # A damaged journal fails in whatever way its content leads to.
        raise TrackingError(redact(f"{type(error).__name__}: {error}".splitlines()[0])) from error


def _storage(url: str) -> optuna.storages.BaseStorage:
    if url.endswith(".journal"):
        backend = JournalFileBackend(str(Path(url)))
        return optuna.storages.JournalStorage(backend)
    arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    return optuna.storages.RDBStorage(url, engine_kwargs=arguments)


def _suggest(trial: optuna.trial.Trial, name: str, parameter: Any) -> Any:
    if isinstance(parameter, Choices):
        return trial.suggest_categorical(name, parameter.values)
    suggest = trial.suggest_int if isinstance(parameter, Integers) else trial.suggest_float
    return suggest(name, parameter.low, parameter.high, log=parameter.log)


def _this_process() -> dict[str, Any]:
    """What tells this process from all others, past and present, that have its number."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "created": psutil.Process().create_time()}


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Whether the process that ran a trial is surely dead; one on another machine may well be alive."""
    owner = trial.user_attrs.get("owner")
    if owner is None:
        # Its process died between taking the trial and signing it, unless it is doing that right now.
        return trial.datetime_start is None or datetime.now() - trial.datetime_start > timedelta(minutes=1)
    if owner["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - float(owner["created"])) > 1.0
    except psutil.NoSuchProcess:
        return True
