"""Successive halving: how far each trial of a search is trained, as a function of those that were trained before.

A search trains all its trials to the first rung, the better half of those to the next one, and so on up to the whole
budget. A trial that was stopped at a rung is continued from there as soon as it belongs to the better half, also when
the budget of the study grows. One that a person promotes is continued to the whole budget beside them, in the place of
none. This is asynchronous successive halving by promotion (ASHA, Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", algorithm 2) with the reduction factor 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from types import MappingProxyType

REDUCTION = 2
"""Of the trials that reach a rung, one in so many is continued."""
HALVINGS = 2
"""The first rung is at the budget divided by the reduction to this power."""
BUDGET_SHARES = (8, 4, 2, 1)
"""A final run is measured on test at these shares of its budget, where its schedule does not depend on the budget."""
BUDGET_SAMPLES = 16
"""Importance samples of these bounds at most ..."""
BUDGET_COST = 0.5
"""... so that all of them take at most this share of the samples of the bound at the end."""


def expected_gain(trials: Sequence[Progress], evaluation: int) -> Callable[[int], float]:
    r"""By how much training from an evaluation to another one is expected to lower an arm's objective.

    The objective is taken to fall with the square root of the training,

    .. math:: v(n) = v_\infty + b / \sqrt{n},

    and :math:`b` follows from the median over the trials of what the second half of their training has given: it is
    the same for all trials of an arm, which differ by how far each can be trained. On 98 logged curves its mean error
    is 0.1 to 0.3 of the gain until training nearly ends, where it expects too much; after a plateau it expects too
    little. An exponent that is fitted to each curve was worse (reports/benchmarks/expected_gain.md).

    Args:
        trials: trials that were trained to the evaluation.
        evaluation: the evaluation from which they are trained further.

    Returns:
        From the evaluation to which a trial is trained to its gain, which is negative where that is the earlier one.
    """
    half = evaluation // 2
    gains = [each.best_until(half) - each.best_until(evaluation) for each in trials]
    known = [gain for gain in gains if math.isfinite(gain)]
    if not known or not half:
        return lambda until: 0.0
    reached = 1 / math.sqrt(evaluation)
    b = median(known) / (1 / math.sqrt(half) - reached)
    return lambda until: b * (reached - 1 / math.sqrt(until))


def budget_samples(importance_samples: int) -> int:
    """Importance samples of the test bound at each share of the budget, of which the whole budget has so many."""
    return min(BUDGET_SAMPLES, max(1, int(BUDGET_COST * importance_samples / len(BUDGET_SHARES))))


@dataclass(frozen=True)
class Progress:
    """How far a trial was trained.

    Attributes:
        reached: the evaluation up to which it was trained, as its last attempt that counts had it.
        is_out: whether it failed, diverged or was pruned: it is not continued.
        curve: the objective at each evaluation, by its number from 1.
    """

    reached: int
    is_out: bool = False
    curve: Mapping[int, float] = field(default_factory=dict)

    def best_until(self, evaluation: int) -> float:
        """The objective of a training that ends at this evaluation: it keeps the best weights."""
        return min((value for step, value in self.curve.items() if step <= evaluation), default=math.inf)


def rungs(evaluations: int, earlier: Iterable[int] = ()) -> list[int]:
    """The evaluations at which trials are stopped and compared; the last one is the whole budget.

    Args:
        evaluations: evaluations of the whole budget.
        earlier: where trials were stopped already, of a smaller budget.
    """
    new = {max(1, evaluations // REDUCTION**halvings) for halvings in range(HALVINGS + 1)}
    return sorted(new | {rung for rung in earlier if rung <= evaluations})


def targets(
    done: Mapping[int, Progress],
    levels: Sequence[int],
    trials: int,
    under_way: int | None = None,
    promoted: Mapping[int, int] = MappingProxyType({}),
) -> dict[int, int]:
    """The evaluation to which each trial is to be trained by now, by its number.

    Trials are continued once none is left to begin. While some are still on their way to a rung, half of those that
    have reached it are, rounded down, as others would have nothing to do; rounded up once no other can come, so that
    one trial at least is trained to the end. One process alone thus halves exactly.

    Args:
        done: the trials that were trained, by number.
        levels: the rungs, ascending.
        trials: how many trials there are to be.
        under_way: how many further trials have begun; None where trials are continued before all have, as the time of
            a search may end before that.
        promoted: of the trials that a person promoted, the evaluation at which each had been stopped. What they were
            trained beyond it counts for them where they are in the better half without that, and for no other trial.
    """
    has_all_begun = under_way is None or len(done) + under_way >= trials
    wanted = dict.fromkeys(range(trials), levels[0])
    is_final = True
    for rung, following in pairwise(levels):
        coming = [number for number, target in wanted.items() if target >= rung]
        left = [
            number
            for number in coming
            if not (number in done and done[number].is_out) or rung <= promoted.get(number, 0)
        ]
        here = [number for number in left if number in done and done[number].reached >= rung]
        is_final = is_final and len(here) == len(left)
        quota = (math.ceil if is_final else math.floor)(len(here) / REDUCTION) if has_all_begun else 0
        going = [number for number in here if not done[number].is_out]
        better = sorted(going, key=lambda number: (done[number].best_until(rung), number))[:quota]
        further = [number for number in going if promoted.get(number, done[number].reached) > rung]
        wanted |= dict.fromkeys([*better, *further], following)
    return wanted | dict.fromkeys(promoted.keys() & done.keys(), levels[-1])


def attempts(trials: int, levels: Sequence[int]) -> list[tuple[int, int]]:
    """How many trials are trained from one evaluation to another: pairs of their number and the evaluations between.

    Args:
        trials: the number of trials.
        levels: the rungs, ascending.
    """
    found, number = [], trials
    for before, rung in zip([0, *levels], levels, strict=False):
        found.append((number, rung - before))
        number = math.ceil(number / REDUCTION)
    return found
