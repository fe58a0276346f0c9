"""Studies of one data set at several numbers of training images: how does the answer change with the data?

The sets of images lie within each other and are no independent data sets: there are no ranks, and no test over them. At
each number stand the mean and the interval that the study of this number has alone; an arm's change from one number to
the next is that of two studies of the same test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.errors import SettingsError
from reports.analysis.comparison import likelihood_change, other_bound
from reports.analysis.costs import Cost
from reports.analysis.data_sets import SeveralStudies, in_one_unit
from reports.analysis.differences import likelihood
from reports.analysis.frontier import AtBudget, changes_of_order
from reports.analysis.results import LIKELIHOOD
from reports.analysis.statistics import rival
from reports.formatting import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.frontier import Crossing
    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval

TRAINING_IMAGES = Cost("images", "training images", "")
"""What the arms are drawn and compared against."""
DETERMINING = (
    *("question", "commit", "trials", "seeds", "seed", "sampler", "pruner", "batch_size", "selection_samples"),
    *("importance_samples", "evaluation_images", "extractor", "backend", "smoke"),
)
"""What studies should not differ in beside the number of images, nor in the models and the ranges of their arms."""
DEPENDENT = ("images", "evaluations")
"""Parameters of a run that follow from the number of training images."""


@dataclass(frozen=True)
class Gain:
    """What more training images bring an arm.

    Attributes:
        arm: the arm.
        before: fewer images.
        after: more images.
        change: of test bits/dim, after - before; None where no interval is known.
    """

    arm: str
    before: int
    after: int
    change: Interval | None


@dataclass(frozen=True)
class OverTrainSizes(SeveralStudies):
    """Studies of one data set by their number of training images, in words and ascending.

    Attributes:
        data_name: the name of the data set that all are of.
    """

    data_name: str

    @cached_property
    def sizes(self) -> list[int]:
        """The numbers of training images."""
        return [train_size(study) for study in self.studies.values()]

    def levels(self, arm: str) -> dict[int, np.ndarray]:
        """The finite test bits/dim of an arm's seeds, by number of training images; those that have any."""
        found = {}
        for n, study in zip(self.sizes, self.studies.values(), strict=True):
            if arm in study.finals:
                values = study.finals[arm].measured("test", LIKELIHOOD)["value"].to_numpy(dtype=float)
                if np.isfinite(values).any():
                    found[n] = values[np.isfinite(values)]
        return found

    @cached_property
    def orders(self) -> list[AtBudget]:
        """The arms at each number of training images, by the interval that the study there has alone."""
        levels = {arm: self.levels(arm) for arm in self.arms}
        found = []
        for n, study in zip(self.sizes, self.studies.values(), strict=True):
            here = {arm: values[n] for arm, values in levels.items() if n in values}
            ranked = sorted(here, key=lambda arm: float(here[arm].mean()))
            if len(ranked) < 2:
                found.append(AtBudget(n, None, here))
                continue
            lowest, *others = ranked
            above = {arm: _above(study, lowest, arm, here) for arm in others}
            second = rival({arm: low for arm, (_, low, _) in above.items()})
            found.append(AtBudget(n, None, here, lowest, second, above[second]))
        return found

    @property
    def leads(self) -> list[tuple[list[AtBudget], str]]:
        """Neighbouring numbers with the arm that is clearly the lowest there, empty where that is open."""
        compared = [order for order in self.orders if order.lowest]
        return [(list(some), arm) for arm, some in groupby(compared, lambda each: each.lowest * each.is_clear)]

    @property
    def compared(self) -> bool:
        """Whether an arm has a likelihood at two numbers of training images or more."""
        return any(len(self.levels(arm)) > 1 for arm in self.arms)

    def difference(self, first: str, second: str) -> pd.DataFrame:
        """How far an arm lies above another one, as :func:`reports.analysis.frontier.difference` has it of budgets."""
        rows = []
        for order, study in zip(self.orders, self.studies.values(), strict=True):
            if first in order.levels and second in order.levels:
                rows.append([order.cost, *_above(study, first, second, order.levels)])
        points = pd.DataFrame(rows, columns=["cost", "value", "low", "high"], dtype=float)
        return points.assign(sign=np.sign(points["value"]))

    @cached_property
    def crossings(self) -> list[Crossing]:
        """Where the order of two arms changes; ``at`` is the first number of images of their new order."""
        found = []
        for first, second in combinations(self.arms, 2):
            points = self.difference(first, second)
            known = bool(points["low"].notna().any())
            found += changes_of_order(points, first, second, has_interval=known)
        return found

    @cached_property
    def gains(self) -> list[Gain]:
        """What each step to more training images brings each arm."""
        return [self.gain(arm, *step) for arm in self.arms for step in pairwise(self.levels(arm))]

    def gain(self, arm: str, before: int, after: int) -> Gain:
        """What an arm gains between two numbers of training images at which it has a likelihood."""
        fewer, more = (list(self.studies.values())[self.sizes.index(n)] for n in (before, after))
        comparable = not other_bound(fewer, more, arm)
        return Gain(arm, before, after, likelihood_change(fewer, more, arm) if comparable else None)

    @property
    def differing(self) -> list[str]:
        """What the studies differ in beside the number of images."""
        known = [
            {
                **study.results.settings,
                "question": study.results.question,
                "commit": study.results.provenance.get("commit"),
            }
            for study in self.studies.values()
        ]
        found = [name for name in DETERMINING if len({str(settings.get(name)) for settings in known}) > 1]
        for arm in self.arms:
            own = [study for study in self.studies.values() if arm in study.families]
            spaces = [space for study in own if (space := study.results.space.get(arm))]
            if any(each != spaces[0] for each in spaces) or any(each.swept(arm) != own[0].swept(arm) for each in own):
                found.append(f"what {self.title(arm)} sweeps")
            fixed = [parameters for study in own if (parameters := _fixed(study, arm))]
            if any(each != fixed[0] for each in fixed):
                found.append(f"the fixed parameters of {self.title(arm)}")
        return found

    def evaluations(self, arm: str) -> dict[int, int]:
        """How often a final run of an arm is evaluated at most, by number of images, where it was logged."""
        each = zip(self.sizes, self.studies.values(), strict=True)
        return {n: most for n, study in each if (most := _most(study, arm, "param.evaluations")) is not None}

    def really_seen(self, arm: str) -> dict[int, list[int]]:
        """The training images that each final run of an arm saw until its last evaluation, by number of images."""
        found = {}
        for n, study in zip(self.sizes, self.studies.values(), strict=True):
            if arm in study.finals:
                points = study.histories[study.histories["run_id"].isin(study.finals[arm].runs["run_id"])]
                last = points.groupby("run_id", observed=True)["images"].max().dropna()
                found[n] = [int(images) for images in last]
        return found

    def seen(self, arm: str) -> dict[int, int]:
        """The training images that a run of an arm sees at most, by number of images, where the study logged it.

        In a given time final runs see more than trials.
        """
        found = {}
        for n, study in zip(self.sizes, self.studies.values(), strict=True):
            budgets = study.results.settings.get("training_images")
            own = budgets.get(arm) if isinstance(budgets, dict) else None
            if study.results.settings.get("time"):
                own = _most(study, arm, "param.images")
            if isinstance(own, int):
                found[n] = own
        return found


def _most(study: Study, arm: str, parameter: str) -> int | None:
    """The largest value of a parameter among an arm's final runs; None where none was logged."""
    if arm not in study.finals or parameter not in (runs := study.finals[arm].runs):
        return None
    values = pd.to_numeric(runs[parameter], errors="coerce").dropna()
    return int(values.max()) if len(values) else None


def _above(study: Study, first: str, second: str, levels: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """How far the second of two arms lies above the first, with its interval; NaN for an interval that is not known."""
    interval = likelihood(study, second, first)
    if interval is None:
        return float(levels[second].mean() - levels[first].mean()), np.nan, np.nan
    return interval.value, interval.low, interval.high


def _fixed(study: Study, arm: str) -> dict[str, str]:
    """The parameters of an arm that it does not sweep, and that do not follow from the number of images."""
    runs = study.finals[arm].runs
    names = [name for name in map(str, runs.columns) if name.startswith("param.")]
    left_out = {f"param.{name}" for name in (*study.swept(arm), *DEPENDENT)}
    values = {name: runs[name].dropna().map(str) for name in names if name not in left_out}
    return {name: ", ".join(sorted(set(each))) for name, each in values.items() if len(each)}


def train_size(study: Study) -> int:
    """The number of training images of a study.

    Raises:
        SettingsError: it does not say.
    """
    sizes = study.results.dataset.get("sizes")
    n = sizes.get("train") if isinstance(sizes, dict) else None
    if not isinstance(n, int):
        raise SettingsError(f"{study.results.study_id} does not say how many images it trained on: leave it out")
    return n


def are_train_sizes(studies: Sequence[Study]) -> bool:
    """Whether studies are of one data set with other training images.

    They then hold out the same images, and those that they train on are choices of as many.

    Raises:
        SettingsError: some are, and others are of another data set; or one may be of the data of others, and does not
            say what it holds out.
    """
    _check_held_out(studies)
    groups: dict[object, list[Study]] = {}
    for study in studies:
        dataset = study.results.dataset
        groups.setdefault((dataset.get("held_out") or dataset.get("digest"), _whole(study)), []).append(study)
    differing = [group for group in groups.values() if _are_choices(group)]
    if differing and len(groups) > 1:
        first, second, *_ = differing[0]
        other = next(group[0] for group in groups.values() if group is not differing[0])
        raise SettingsError(
            f"{first.results.study_id} and {second.results.study_id} are of one data set with other training images, "
            f"and {other.results.study_id} is of another data set: give studies of one data set, or one of each"
        )
    return bool(differing)


def _are_choices(studies: Sequence[Study]) -> bool:
    """Whether studies that hold out the same images train on different numbers of those of one data set."""
    datasets = [study.results.dataset for study in studies]
    digests = {str(dataset.get("digest")) for dataset in datasets}
    numbers = {str(dataset.get("sizes")) for dataset in datasets}
    return len(digests) > 1 and len(numbers) > 1 and any(dataset.get("chosen_from") for dataset in datasets)


def _check_held_out(studies: Sequence[Study]) -> None:
    """Refuse a study of an earlier version that may be of the data of which another trains on a part."""
    parts = {_whole(study): study for study in studies if study.results.dataset.get("chosen_from")}
    for study in studies:
        part = parts.get(_whole(study))
        if part is not None and not study.results.dataset.get("held_out"):
            raise SettingsError(
                f"{study.results.study_id} does not say which images it holds out, and {part.results.study_id} may be "
                "of a part of its data: run its command again, which logs that"
            )


def _whole(study: Study) -> object:
    """The number of training images of a study's data, of which it may train on a part."""
    dataset = study.results.dataset
    sizes = dataset.get("sizes")
    return dataset.get("chosen_from") or (sizes.get("train") if isinstance(sizes, dict) else None)


def over_train_sizes(studies: Sequence[Study]) -> OverTrainSizes:
    """Bring together studies of one data set that :func:`are_train_sizes` has found to be such.

    Raises:
        SettingsError: two trained on the same number of images, or one does not say on how many.
    """
    known: dict[int, Study] = {}
    for study in studies:
        other = known.setdefault(n := train_size(study), study)
        if other is not study:
            raise SettingsError(
                f"{other.results.study_id} and {study.results.study_id} both trained on {n} images: give one study for "
                "each number of training images"
            )
    kept, left_out = in_one_unit(known[n] for n in sorted(known))
    fewest = min(known)
    dataset = known[fewest].results.dataset
    name = plain(dataset.get("name"))
    name = name.removesuffix(f"-{fewest}") if dataset.get("chosen_from") else name
    return OverTrainSizes({f"{train_size(study):,}": study for study in kept}, left_out, name)
