"""When a trial is stopped early: asynchronous successive halving at each look."""

from __future__ import annotations

from statistics import median

import optuna
from optuna.trial import FrozenTrial

from bench.results import RunState

FIRST_TO_COMPARE = 3
"""Trials that must have come as far before one is stopped."""


class AsynchronousHalving(optuna.pruners.BasePruner):
    """Stops a trial whose best look so far is worse than the median of all others at its latest look.

    The rule of asynchronous successive halving (Li et al. 2020, ASHA) with a rung at each look from the first one that
    tells: a trial is held against whatever trials have come as far by then, running, pruned or complete, and waits for
    none. Optuna's median pruner knows complete trials alone, of which parallel workers have none for long; an attempt
    that was interrupted, which its slot repeats, must not count twice.

    Args:
        first_look: look before which none is stopped.
    """

    def __init__(self, first_look: int) -> None:
        self.first_look = first_look

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to be stopped."""
        look = trial.last_step
        if look is None or look < self.first_look:
            return False
        others = [
            other.intermediate_values[look]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and look in other.intermediate_values
            and other.user_attrs.get("state") != RunState.INTERRUPTED
        ]
        return len(others) >= FIRST_TO_COMPARE and min(trial.intermediate_values.values()) > median(others)
