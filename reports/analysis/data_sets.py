"""Studies of several data sets, one each: which arm is better over all of them?

Nothing is averaged over data sets but ranks: 3 bits/dim of 256 grey levels and 0.1 of black and white are different
scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from bench.core.errors import SettingsError
from reports.analysis import statistics
from reports.analysis.differences import likelihood_units
from reports.analysis.profiles import Profile, profiles
from reports.analysis.ranks import LEAST_DATA_SETS, RankTest, rank_test, ranks_within
from reports.analysis.results import LIKELIHOOD
from reports.formatting import listing, plain

if TYPE_CHECKING:
    from reports.analysis.results import Study
    from reports.analysis.statistics import Estimate


@dataclass(frozen=True)
class SeveralStudies:
    """Studies of the same arms, which are matched by name.

    Attributes:
        studies: those that are compared, by the name of what they differ in.
        left_out: why others are not.
    """

    studies: dict[str, Study]
    left_out: list[str]

    @cached_property
    def families(self) -> dict[str, str]:
        """The family of each arm of any study, in order of appearance."""
        found: dict[str, str] = {}
        for study in self.studies.values():
            found = study.families | found
        return {arm: found[arm] for study in self.studies.values() for arm in study.arms}

    @property
    def arms(self) -> list[str]:
        """The arms of any study."""
        return list(self.families)

    def title(self, arm: str) -> str:
        """An arm's name as people write it."""
        return next(study.title(arm) for study in self.studies.values() if arm in study.families)

    @cached_property
    def estimates(self) -> dict[str, dict[str, Estimate | None]]:
        """By study and arm, the test bits/dim over seeds; None where an arm has no finite value, or is absent."""
        return {name: self._estimates(study) for name, study in self.studies.items()}

    def _estimates(self, study: Study) -> dict[str, Estimate | None]:
        found: dict[str, Estimate | None] = dict.fromkeys(self.arms)
        for arm, final in study.finals.items():
            found[arm] = statistics.estimate(final.measured("test", LIKELIHOOD))
        return found

    @property
    def other_families(self) -> dict[str, list[str]]:
        """The families of each arm whose name stands for several."""
        of_arm = {
            arm: list(dict.fromkeys(study.families[arm] for study in self.studies.values() if arm in study.families))
            for arm in self.arms
        }
        return {arm: families for arm, families in of_arm.items() if len(families) > 1}


class OverDataSets(SeveralStudies):
    """Studies of different data sets, by the name of each."""

    @cached_property
    def likelihood(self) -> pd.DataFrame:
        """Mean test bits/dim, a row for each data set and a column for each arm; NaN where there is none."""
        rows = [[None if each is None else each.mean for each in row.values()] for row in self.estimates.values()]
        return pd.DataFrame(rows, index=list(self.studies), columns=self.arms, dtype=float)

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """Mean training time of the final runs in seconds, likewise."""
        frame = pd.DataFrame(index=list(self.studies), columns=self.arms, dtype=float)
        for name, study in self.studies.items():
            for arm, final in study.finals.items():
                found = statistics.estimate(final.measured("cost", "training_seconds"))
                frame.loc[name, arm] = float("nan") if found is None else found.mean
        return frame

    @cached_property
    def ranked(self) -> list[str]:
        """The arms that have a likelihood on every data set, which alone are ranked; none where they are not two."""
        found = [arm for arm in self.arms if self.likelihood[arm].notna().all()]
        return found if min(len(found), len(self.studies)) > 1 else []

    @property
    def unranked(self) -> list[str]:
        """The other arms."""
        return [arm for arm in self.arms if arm not in self.ranked]

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """The ranks of the arms in :attr:`ranked` on each data set, 1 for the least bits/dim."""
        values = self.likelihood[self.ranked]
        return pd.DataFrame(ranks_within(values.to_numpy()), index=values.index, columns=values.columns)

    @property
    def are_several(self) -> bool:
        """Whether there are enough data sets to speak of them in general."""
        return len(self.studies) >= LEAST_DATA_SETS

    @cached_property
    def test(self) -> RankTest | None:
        """Whether the arms differ over data sets; None where there are too few data sets or arms to say."""
        return rank_test(self.ranks.to_numpy()) if self.are_several and self.ranked else None

    @cached_property
    def average_ranks(self) -> dict[str, float]:
        """The average rank of each arm in :attr:`ranked`, the lowest first."""
        return {str(arm): float(rank) for arm, rank in self.ranks.mean().sort_values(kind="stable").items()}

    @cached_property
    def likelihood_profiles(self) -> dict[str, Profile]:
        """How close each arm's bits/dim are to the best arm's: the ratio of file sizes."""
        return profiles(self.likelihood)

    @cached_property
    def time_profiles(self) -> dict[str, Profile]:
        """How close each arm's training time is to the fastest arm's."""
        return profiles(self.seconds)


def over_data_sets(studies: Sequence[Study]) -> OverDataSets:
    """Bring together studies of different data sets.

    A study whose arms' likelihoods stand in several units has no order of its own, and is left out.

    Raises:
        SettingsError: a study does not say which data it is of, or two are of the same.
    """
    known: dict[str, Study] = {}
    for study in studies:
        digest = study.results.dataset.get("digest")
        if not isinstance(digest, str) or not digest:
            raise SettingsError(f"{study.results.study_id} does not say which data it is of: leave it out")
        if (other := known.get(digest)) is not None:
            raise SettingsError(
                f"{other.results.study_id} and {study.results.study_id} are both of {_name(study)}: of more than two "
                "studies give one for each data set; two alone are compared with each other"
            )
        known[digest] = study
    kept, left_out = in_one_unit(known.values())
    return OverDataSets(dict(zip(_distinct(kept), kept, strict=True)), left_out)


def in_one_unit(studies: Iterable[Study]) -> tuple[list[Study], list[str]]:
    """The studies whose likelihoods have an order, and why the others are left out."""
    kept, left_out = [], []
    for study in studies:
        units = likelihood_units(study)
        if len(units) < 2:
            kept.append(study)
        else:
            left_out.append(
                f"{_name(study)} is left out: its likelihoods stand in {listing(units)}, and have no order."
            )
    return kept, left_out


def _name(study: Study) -> str:
    return plain(study.results.dataset.get("name"))


def kind(study: Study) -> str:
    """The size and the levels of a study's data, such as ``8 × 8 × 1, 17 grey levels``."""
    dataset = study.results.dataset
    levels = {"image": "grey levels", "text": "symbols"}.get(study.kind, "levels")
    return f"{plain(dataset.get('image_shape'))}, {plain(dataset.get('grey_levels'))} {levels}"


def _distinct(studies: list[Study]) -> list[str]:
    """The names of the studies' data sets, numbered where two are called the same."""
    names = [_name(study) for study in studies]
    if len(set(names)) == len(names):
        return names
    return [f"{number}. {name}" for number, name in enumerate(names, start=1)]
