"""What training and tuning cost, in images, seconds, operations and joules, as far as each was logged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bench.core.results import TRAINING_SETTINGS
from reports.analysis.curves import final_curves
from reports.analysis.once import once
from reports.analysis.points import groups, largest, spread
from reports.formatting import quantity

if TYPE_CHECKING:
    from reports.analysis.curves import Curve
    from reports.analysis.results import Study

TRAINING_PASSES = 3
"""Cost of a training step in forward passes: one forward, and a backward one that costs about two."""


@dataclass(frozen=True)
class Cost:
    """A kind of cost: its name, what axes call it, and its unit."""

    name: Literal["images", "seconds", "operations", "joules"]
    label: str
    unit: str

    def amount(self, value: float) -> str:
        """So much of it, in words."""
        return f"{value:,.0f} images" if self.name == "images" else quantity(value, None, self.unit)


IMAGES = Cost("images", "training images seen", "")
SECONDS = Cost("seconds", "training time", "s")
OPERATIONS = Cost("operations", "training operations", "FLOP")
JOULES = Cost("joules", "training energy", "J")
COSTS = (IMAGES, SECONDS, OPERATIONS, JOULES)


@once
def alone(study: Study, arm: str) -> list[Curve]:
    """The curves of an arm's reported final runs with the time that each would have taken by itself, in one go.

    The first run of a process compiles its programs and the later ones share them. What a run takes to its first
    evaluation beyond a usual interval is its start; each is counted as long as the longest start among them. A run of
    one evaluation, whose start is not known, stays as it is. A run that another attempt continued compiled again: what
    the interval after that took beyond a usual one is left out.
    """
    found = [_in_one_go(study, curve) for curve in final_curves(study, arm)]
    starts = [
        max(0.0, float(curve.seconds[0] - np.median(np.diff(curve.seconds)))) if len(curve.seconds) > 1 else math.nan
        for curve in found
    ]
    longest = max((start for start in starts if math.isfinite(start)), default=0.0)
    return [
        replace(curve, seconds=curve.seconds + (longest - start)) if math.isfinite(start) else curve
        for curve, start in zip(found, starts, strict=True)
    ]


def _in_one_go(study: Study, curve: Curve) -> Curve:
    runs = study.runs.set_index("run_id")
    own = runs.loc[curve.run_id]
    attempts = runs[(runs["task"] == own["task"]) & (runs["attempt"] <= own["attempt"])]
    seconds, usual = curve.seconds.copy(), float(np.median(np.diff(curve.seconds))) if len(curve.seconds) > 1 else 0.0
    for evaluation in sorted({int(each) for each in attempts["continued_from"]}):
        if 0 < evaluation < len(seconds):
            seconds[evaluation:] -= max(0.0, seconds[evaluation] - seconds[evaluation - 1] - usual)
    return replace(curve, seconds=seconds)


@dataclass(frozen=True)
class Search:
    """The evaluations of an arm's search, whatever they are set against.

    Attributes:
        points: those of :attr:`Costs.own_evaluations`, as they lie there.
        order: their places in the order in which they were made.
        lower: the places, in that order, of those that lowered the best value.
        best: the values to which they did.
    """

    points: pd.DataFrame
    order: np.ndarray
    lower: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class Costs:
    """The costs of a study's runs."""

    study: Study

    @cached_property
    def searches(self) -> dict[str, Search | None]:
        """What :func:`reports.analysis.search_course.search_course` has found of arms, the same by any cost."""
        return {}

    @cached_property
    def operations(self) -> pd.Series:
        """Floating-point operations of training on one image, by run, of the runs of which they are known.

        Those of a model's shape are known if any run of it counted them.
        """
        counted = self._measured("operations_per_image")["value"].astype(float)
        if counted.empty:
            return counted
        runs = self.study.runs.set_index("run_id")
        names = [str(name) for name in runs if str(name).startswith("param.")]
        shape = [
            name for name in names if name.removeprefix("param.").removeprefix("training.") not in TRAINING_SETTINGS
        ]
        # Numbers by their text, as one that a run does not have is not equal to itself.
        texts = runs[["family", *shape]].astype(object).map(str)
        key = pd.Series(["\n".join(row) for row in texts.itertuples(index=False, name=None)], index=runs.index)
        by_shape = counted.groupby(key.reindex(counted.index)).first()
        samples = pd.to_numeric(runs.get("param.training_samples", pd.Series(1.0, runs.index)), errors="coerce")
        found: pd.Series = (TRAINING_PASSES * samples.fillna(1) * key.map(by_shape)).dropna()
        return found

    @cached_property
    def joules(self) -> pd.Series:
        """Energy of the whole training, by run, of the runs of which it is known; of none if by different meters."""
        energy = self._measured("training_joules")
        joules = energy["value"].astype(float)
        return joules if energy["conditions"].nunique() < 2 else joules.iloc[:0]

    def _measured(self, metric: str) -> pd.DataFrame:
        """The finite measurements of a cost, by run."""
        found = self.study.measured("cost", metric).drop_duplicates("run_id")
        finite: pd.DataFrame = found[np.isfinite(found["value"])]
        return finite.set_index("run_id")

    @cached_property
    def trained(self) -> pd.DataFrame:
        """``images`` and ``seconds`` that each attempt of a search trained, up to its last evaluation.

        An attempt that continues another has logged the other's evaluations again, with their seconds.
        """
        attempts, points, again = self.study.attempts, self._evaluations, self._evaluations.loc[self._again]
        spent = {}
        for name in ("images", "seconds"):
            last = largest(points[name], points["run_id"])
            before = largest(again[name], again["run_id"])
            of_run = last.sub(before.reindex(last.index).fillna(0.0))
            spent[name] = attempts["run_id"].map(of_run).astype(float).where(attempts["run_id"].isin(last.index), 0.0)
        return pd.DataFrame(spent, index=attempts.index)

    @cached_property
    def _evaluations(self) -> pd.DataFrame:
        """The points of the learning curves of all attempts of the searches."""
        histories: pd.DataFrame = self.study.histories
        return histories[histories["run_id"].isin(self.study.attempts["run_id"])]

    @cached_property
    def _again(self) -> pd.Index:
        """Those of them that an attempt did not make itself: it continues another, which had logged them."""
        attempts, points = self.study.attempts, self._evaluations
        by_run = attempts.set_index("run_id")
        several = attempts.loc[attempts.duplicated(["arm", "number"], keep=False), "run_id"]
        repeated = points[points["run_id"].isin(several)]
        repeated = repeated.assign(
            **{name: repeated["run_id"].map(by_run[name]) for name in ("arm", "number", "attempt")}
        ).sort_values("attempt", kind="stable")
        return repeated.index[repeated.duplicated(["arm", "number", "step", "seconds", "value"])]

    @cached_property
    def own_evaluations(self) -> pd.DataFrame:
        """The evaluations that each attempt of a search made itself: ``run_id value own_images own_seconds``.

        The last two are what it trained since the evaluation before.
        """
        points, again = self._evaluations, self._again
        counted = points[["images", "seconds"]].astype(float)
        before = counted.groupby(groups(points["run_id"]), sort=False).shift(1, fill_value=0.0)
        own = (counted - before).add_prefix("own_")
        evaluations = points[["run_id", "value"]].join(own)
        return evaluations.drop(again) if len(again) else evaluations

    def of_evaluations(self, cost: Cost, points: pd.DataFrame) -> pd.Series:
        """What led to each of :attr:`own_evaluations`, NaN where it is not known.

        Their sum is :meth:`of_tuning`, but for the energy of attempts without an evaluation.
        """
        runs = points["run_id"]
        if cost == IMAGES:
            return points["own_images"]
        if cost == SECONDS:
            return points["own_seconds"]
        if cost == OPERATIONS:
            return points["own_images"] * spread(self.operations, runs).astype(float)
        share = points["own_seconds"] / points.groupby(groups(runs), sort=False)["own_seconds"].transform("sum")
        return share * spread(self.joules, runs).astype(float)

    def along(self, cost: Cost, curve: Curve) -> np.ndarray:
        """What a run had spent at each of its evaluations, NaN where it is not known.

        Its energy was measured as a whole, and is shared out over its training time.
        """
        spent = curve.images
        if cost == SECONDS:
            spent = curve.seconds
        elif cost == OPERATIONS:
            spent = curve.images * float(self.operations.get(curve.run_id, math.nan))
        elif cost == JOULES:
            spent = curve.seconds / curve.seconds[-1] * float(self.joules.get(curve.run_id, math.nan))
        return spent

    def of_tuning(self, cost: Cost, arm: str) -> float:
        """What all attempts of an arm's search spent, pruned and failed ones too; NaN if that of one is not known.

        Attempts share no work: one that continued another counts from where it did. Images, operations and seconds are
        those of training up to an attempt's last evaluation, as those of final runs are.
        """
        attempts = self.study.attempts
        attempts = attempts[attempts["arm"] == arm]
        trained = self.trained.loc[attempts.index]
        if cost == IMAGES:
            spent = trained["images"]
        elif cost == SECONDS:
            spent = trained["seconds"]
        elif cost == OPERATIONS:
            per_image = attempts["run_id"].map(self.operations).astype(float)
            spent = (trained["images"] * per_image).where(trained["images"] > 0, 0.0)
        else:
            spent = attempts["run_id"].map(self.joules).astype(float)
        return float(spent.sum(skipna=False)) if len(spent) else 0.0
