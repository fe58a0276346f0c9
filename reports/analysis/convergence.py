"""The course of training: whether a run had converged, was still improving, or had begun to overfit when it stopped.

Notation: v_1..v_N are a run's validation bits/dim (one-sample bound), evaluated at regular intervals with the same
noise, so that they differ by the weights alone; v_b is the lowest, the best evaluation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.analysis.curves import final_curves
from reports.formatting import listing

if TYPE_CHECKING:
    from reports.analysis.results import Study

FEWEST_EVALUATIONS = 4
ABSOLUTE_TOLERANCE = 0.001
RELATIVE_TOLERANCE = 0.001
"""A change of validation counts from 0.001 bits/dim or 0.1%, whichever is larger."""
CLEAR_FALL = 2.0
CLEAR_RISE = 5.0
"""Standard deviations of the curve's wobble that a change must exceed; the lowest of many points flatters a rise."""
FEWEST_FOR_WOBBLE = 6


class State(StrEnum):
    """How far the training of a run had come when it stopped."""

    IMPROVING = "still improving"
    OVERFITTED = "overfitted"
    CONVERGED = "converged"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Course:
    """The course of a run's training.

    Attributes:
        state: how far it had come.
        best: lowest validation bits/dim.
        best_images: training images seen at that evaluation.
        images: training images seen in all.
        fall: by how much the best validation bits/dim so far fell over the last quarter of the evaluations.
        rise: by how much validation lay above its best at the end, the median of the last quarter of the evaluations.
    """

    state: State
    best: float
    best_images: float
    images: float
    fall: float
    rise: float

    @property
    def best_share(self) -> float:
        """Share of the training at which the run was best."""
        return self.best_images / self.images


def tolerance(value: float) -> float:
    """The least change that counts."""
    return max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * abs(value))


def course(images: np.ndarray, values: np.ndarray) -> Course:
    """Classify a run by its validation curve.

    Args:
        images: training images seen at each evaluation, one or more.
        values: validation bits/dim, finite.
    """
    n, b = len(values), int(np.argmin(values))
    quarter = max(2, n // 4)
    best, after = float(values[b]), values[b + 1 :]
    fall = float(values[: n - max(1, n // 4)].min() - best) if n > 1 else 0.0
    rise = float(np.median(after[-quarter:]) - best) if len(after) else 0.0
    least, wobble = tolerance(best), _wobble(values)
    if n < FEWEST_EVALUATIONS:
        state = State.UNKNOWN
    elif b >= n - max(2, n // 8) and fall > max(least, CLEAR_FALL * wobble):
        state = State.IMPROVING
    elif len(after) > 1 and rise > max(least, CLEAR_RISE * wobble):
        state = State.OVERFITTED
    else:
        state = State.CONVERGED
    return Course(state, best, float(images[b]), float(images[-1]), fall, rise)


def _wobble(values: np.ndarray) -> float:
    """Standard deviation of a curve's points around a smooth course, over its second half; 0 where that is monotone.

    From the second differences, which have the variance 6 σ² and hardly contain the course: their median absolute
    deviation, scaled to the normal distribution.
    """
    tail = values[-max(FEWEST_FOR_WOBBLE, math.ceil(len(values) / 2)) :]
    steps = np.diff(tail)
    if (steps <= 0).all() or (steps >= 0).all():
        return 0.0
    bends = np.diff(steps)
    return float(np.median(np.abs(bends - np.median(bends))) / (0.6745 * math.sqrt(6)))


def courses(study: Study, arm: str) -> dict[str, Course]:
    """The course of each reported final run of an arm that has a validation curve, by run."""
    return {curve.run_id: course(curve.images, curve.value) for curve in final_curves(study, arm)}


def improving(study: Study, arm: str) -> list[Course]:
    """Those of the final runs that were still improving."""
    return [each for each in courses(study, arm).values() if each.state == State.IMPROVING]


def ended_by_itself(study: Study, arm: str) -> bool:
    """Whether every final run stopped before it had seen all images of its budget; False where that is not known."""
    runs = {curve.run_id for curve in final_curves(study, arm)}
    return bool(runs) and runs <= stopped_early(study, arm)


def stopped_early(study: Study, arm: str) -> set[str]:
    """The reported final runs of an arm that stopped before they had seen all images of their own budget.

    The budget is what the run itself logged, as the study may have a larger one by now: whole batches in each interval
    between evaluations, as :class:`bench.study.config.TrainingConfig` counts them. A run that does not say is in none.
    """
    runs = study.finals[arm].runs.set_index("run_id")
    images, evaluations, batch = (setting(runs, name) for name in ("images", "evaluations", "batch_size"))
    budget = np.maximum(1, np.round(images / batch / evaluations)) * evaluations * batch
    return {curve.run_id for curve in final_curves(study, arm) if curve.images[-1] < budget[curve.run_id]}


def setting(runs: pd.DataFrame, name: str) -> pd.Series:
    """A training setting of each run, NaN where it was not logged."""
    found = pd.Series(np.nan, runs.index)
    for column in (f"param.{name}", f"param.training.{name}"):
        if column in runs:
            found = found.fillna(pd.to_numeric(runs[column], errors="coerce"))
    return found


def keeps_best(study: Study, arm: str) -> bool:
    """Whether the final runs were measured at their best evaluation; earlier versions measured the last weights."""
    final = study.finals[arm]
    return not final.runs.empty and len(final.measured("cost", "best_images")) == len(final.runs)


def in_words(study: Study, arm: str) -> str:
    """How far an arm's final runs had come when they stopped; empty where no run has enough evaluations."""
    states = [each.state for each in courses(study, arm).values() if each.state != State.UNKNOWN]
    measured = "at its best evaluation, before it began to overfit" if keeps_best(study, arm) else "overfitted"
    words = {
        State.CONVERGED: "converged",
        State.IMPROVING: "still improving when it stopped",
        State.OVERFITTED: f"measured {measured}",
    }
    found = [(text, states.count(state)) for state, text in words.items() if state in states]
    if len(found) == 1:
        return found[0][0]
    return listing([f"{text} in {n} of {len(states)} seeds" for text, n in found])
