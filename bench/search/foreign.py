"""Trials that people added to a study's searches in Optuna: they are ignored, and what was removed there is named."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bench.core.errors import StudyStoppedError

_TRAINED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)


def attempts_at_tasks(trials: Sequence[FrozenTrial], note: Collection[str] = ()) -> list[FrozenTrial]:
    """The trials that are attempts at tasks of ours.

    Args:
        trials: trials of a queue.
        note: what the note of each of its tasks holds.
    """
    return [trial for trial in trials if _is_own(trial.user_attrs, note)]


def _is_own(known: dict[str, Any], note: Collection[str]) -> bool:
    numbers = (known.get("task"), known.get("attempt"))
    found = known.get("note")
    return (
        all(isinstance(number, int) for number in numbers)
        and isinstance(known.get("key"), str)
        and isinstance(found, dict)
        and all(name in found for name in note)
    )


def was_ended_by_hand(trial: FrozenTrial) -> bool:
    """Whether somebody ended an attempt in Optuna: whoever works on it writes how it ends, and ends it after that."""
    return trial.state.is_finished() and "state" not in trial.user_attrs


def only_own(storage: BaseStorage, name: str, note: Collection[str] = ()) -> BaseStorage:
    """A storage as samplers and pruners may see it: without trials that are none of ours, or that somebody ended."""
    return cast(BaseStorage, _OwnTrials(storage, name, note))


class _OwnTrials:
    """Everything else is asked of the storage itself."""

    def __init__(self, storage: BaseStorage, name: str, note: Collection[str]) -> None:
        self._storage = storage
        self._name = name
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        own = attempts_at_tasks(self._storage.get_all_trials(study_id, deepcopy), self._note)
        tried = [trial for trial in own if trial.state in _TRAINED and not was_ended_by_hand(trial)]
        # Of the attempts at one trial, each of which continued the one before, a sampler learns from the last that has
        # ended: it would take a trial for bad while another attempt continues it.
        in_order = sorted(tried, key=lambda trial: (trial.state.is_finished(), trial.number))
        last = {trial.user_attrs["task"]: trial.number for trial in in_order}
        return [
            trial
            for trial in own
            if not was_ended_by_hand(trial)
            and (trial.state not in _TRAINED or last[trial.user_attrs["task"]] == trial.number)
            and (states is None or trial.state in states)
        ]

    def set_trial_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        try:
            self._storage.set_trial_param(trial_id, name, value, distribution)
        except ValueError as error:
            raise StudyStoppedError(
                f"a trial that somebody added to {self._name} in Optuna has another kind of range for {name!r} than "
                f"the study, which cannot suggest values any more: {_begin_again(self._name)}"
            ) from error

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        complete = self.get_all_trials(study_id, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("no trials are completed yet")  # as every storage does
        # All queues minimise.
        return min(complete, key=lambda trial: cast(float, trial.value))


@contextmanager
def raise_if_removed(name: str) -> Iterator[None]:
    """Turn the error of using what somebody removed from the storage, or renamed there, into a line.

    Raises:
        StudyStoppedError: it is not there.
    """
    try:
        yield
    except KeyError as error:
        raise StudyStoppedError(
            f"{name} is not in the storage any more: the study was removed, or a part of it; {_begin_again(name)}"
        ) from error


def _begin_again(name: str) -> str:
    study_id = name.partition("/")[0]
    return f"`reparam-bench delete {study_id}` removes the rest, after which the same command begins again"
