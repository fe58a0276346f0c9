"""When the arms first pass a target: reference codes, the reference model, and what was published of the same data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.results import RunState
from reports.analysis import literature
from reports.analysis.costs import alone
from reports.analysis.differences import likelihood_units
from reports.analysis.reference_codes import reference_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.curves import Curve
    from reports.analysis.results import Study

LOST = (RunState.DIVERGED, RunState.OUT_OF_MEMORY, RunState.FAILED)
"""How a final run ends that reaches no target."""


@dataclass(frozen=True)
class Target:
    """A bits/dim to pass: its name and its value."""

    name: str
    value: float


@dataclass(frozen=True)
class Passing:
    """When the final runs of an arm first passed a target.

    Attributes:
        images: training images seen at the first evaluation at or below it, one a seed; inf for a miss.
        seconds: training time until then likewise; NaN where it was not logged.
        spent_images: training images that each seed saw in all.
        spent_seconds: training time of each seed in all.
        at_first: of how many seeds the first evaluation was at or below it, so that they passed it before.
        lost: number of further final runs of the configuration that diverged or failed: misses too.
    """

    images: np.ndarray
    seconds: np.ndarray
    spent_images: np.ndarray
    spent_seconds: np.ndarray
    at_first: int
    lost: int

    @property
    def passed(self) -> np.ndarray:
        """Which seeds passed it."""
        passed: np.ndarray = np.isfinite(self.images)
        return passed

    @property
    def seeds(self) -> int:
        """All seeds, those that were lost included."""
        return len(self.images) + self.lost


def targets(study: Study) -> list[Target]:
    """What codes and models that are no arms take for the study's data, the highest bits/dim first."""
    codes = [Target(code.label, code.value) for code in reference_codes(study)]
    known = [
        Target(f"published: {each.model}", bits) for each, bits in literature.published_bits(study.results.dataset)
    ]
    return sorted([*codes, *known], key=lambda target: -target.value)


def time_to_targets(study: Study) -> list[tuple[Target, dict[str, Passing]]]:
    """Each target with when each arm that has a learning curve first passed it on validation."""
    if set(likelihood_units(study, "validation")) - {"bits/dim"}:
        return []
    curves = {arm: alone(study, arm) for arm in study.arms}
    known = {arm: found for arm, found in curves.items() if found}
    if not known:
        return []
    lost = {arm: _lost(study, arm) for arm in known}
    return [
        (target, {arm: passing(found, target.value, lost[arm]) for arm, found in known.items()})
        for target in targets(study)
    ]


def passing(curves: Sequence[Curve], target: float, lost: int = 0) -> Passing:
    """When the final runs of an arm first passed a value.

    Args:
        curves: their learning curves.
        target: the value.
        lost: number of further ones that diverged or failed.
    """
    first = [int(np.argmax(curve.value <= target)) if (curve.value <= target).any() else -1 for curve in curves]
    places = list(zip(curves, first, strict=True))
    return Passing(
        np.array([curve.images[place] if place >= 0 else np.inf for curve, place in places]),
        np.array([curve.seconds[place] if place >= 0 else np.inf for curve, place in places]),
        np.array([curve.images[-1] for curve in curves]),
        np.array([curve.seconds[-1] for curve in curves]),
        first.count(0),
        lost,
    )


def _lost(study: Study, arm: str) -> int:
    """Seeds of an arm's reported configuration and budget of which every final run ended without a model."""
    runs, reported = study.counted, study.finals[arm].runs
    runs = runs[(runs["arm"] == arm) & (runs["role"] == "final") & runs["state"].isin(LOST)]
    # The hash leaves the budget out where the schedule does not depend on it.
    for column in ("config_hash", "param.images", "param.evaluations"):
        if column in runs:
            runs = runs[runs[column].isin(reported[column])]
    return int(runs.loc[~runs["seed"].isin(reported["seed"]), "seed"].nunique())
