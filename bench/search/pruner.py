"""Stops trials early: asynchronous successive halving at each evaluation."""

from __future__ import annotations

from statistics import median

import optuna
from optuna.trial import FrozenTrial

from bench.core.results import RunState

MIN_TRIALS = 3
"""Other trials that must have reached an evaluation before a trial is stopped there."""


class AsynchronousHalving(optuna.pruners.BasePruner):
    """Stops a trial whose best evaluation so far is worse than the median best of the others at that point.

    This is asynchronous successive halving (ASHA, Li et al. 2020) with a rung at each evaluation from the first one
    that counts: it compares a trial with all trials that have reached the same evaluation, whether they are running,
    pruned or complete, and waits for none. Optuna's median pruner uses complete trials alone, of which parallel
    workers have none for long. Interrupted attempts do not count, since another attempt repeats them.

    Args:
        first_evaluation: the first evaluation at which a trial can be stopped.
    """

    def __init__(self, first_evaluation: int) -> None:
        self.first_evaluation = first_evaluation

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial."""
        evaluation = trial.last_step
        if evaluation is None or evaluation < self.first_evaluation:
            return False
        others = [
            _best_until(other, evaluation)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and _reached(other, evaluation)
        ]
        return len(others) >= MIN_TRIALS and _best_until(trial, evaluation) > median(others)


def _reached(trial: FrozenTrial, evaluation: int) -> bool:
    """Whether an attempt that counts reached this evaluation, or completed before it."""
    if not trial.intermediate_values or trial.user_attrs.get("state") == RunState.INTERRUPTED:
        return False
    return evaluation in trial.intermediate_values or trial.user_attrs.get("state") == RunState.COMPLETE


def _best_until(trial: FrozenTrial, evaluation: int) -> float:
    """The trial's objective if it ended at this evaluation: training keeps the weights of the best one."""
    return min(value for step, value in trial.intermediate_values.items() if step <= evaluation)
