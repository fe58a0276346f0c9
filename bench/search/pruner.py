"""When a trial is stopped early: asynchronous successive halving at each evaluation."""

from __future__ import annotations

from statistics import median

import optuna
from optuna.trial import FrozenTrial

from bench.core.results import RunState

FIRST_TO_COMPARE = 3
"""Trials that must have come as far before one is stopped."""


class AsynchronousHalving(optuna.pruners.BasePruner):
    """Stops a trial whose best evaluation so far is worse than the median of those of all others by then.

    The rule of asynchronous successive halving (Li et al. 2020, ASHA) with a rung at each evaluation from the first one
    that matters: a trial is compared with whatever trials have come as far by then, running, pruned or complete, and
    waits for none. Optuna's median pruner knows complete trials alone, of which parallel workers have none for long; an
    attempt that was interrupted, which its task repeats, must not count twice.

    Args:
        first_look: evaluation before which none is stopped.
    """

    def __init__(self, first_look: int) -> None:
        self.first_look = first_look

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to be stopped."""
        look = trial.last_step
        if look is None or look < self.first_look:
            return False
        others = [
            _best_until(other, look)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and _has_come_as_far(other, look)
        ]
        return len(others) >= FIRST_TO_COMPARE and _best_until(trial, look) > median(others)


def _has_come_as_far(trial: FrozenTrial, look: int) -> bool:
    """Whether an attempt that counts reached this evaluation, or was complete before it."""
    if not trial.intermediate_values or trial.user_attrs.get("state") == RunState.INTERRUPTED:
        return False
    return look in trial.intermediate_values or trial.user_attrs.get("state") == RunState.COMPLETE


def _best_until(trial: FrozenTrial, look: int) -> float:
    """What the trial would be judged by if it ended at this evaluation: it keeps the weights of its best one."""
    return min(value for step, value in trial.intermediate_values.items() if step <= look)
