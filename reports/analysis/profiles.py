"""Performance profiles (Dolan & Moré 2002, https://doi.org/10.1007/s101070100263)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Profile:
    """How close an arm is to the best of each data set.

    With c_{ij} > 0 the cost of arm j on data set i, the ratio is c_{ij} / min_l c_{il}, and the profile ρ_j(τ) is the
    share of the N data sets on which it is at most τ. It depends on no unit. An arm without a cost on a data set is
    within no ratio there.

    Attributes:
        ratios: those that are known, ascending.
        data_sets: N.
    """

    ratios: np.ndarray
    data_sets: int

    def within(self, ratio: float) -> int:
        """Number of data sets on which the arm is within a ratio of the best: N ρ(τ)."""
        return int(np.searchsorted(self.ratios, ratio * (1 + 1e-12), side="right"))

    @property
    def is_complete(self) -> bool:
        """Whether the arm has a cost on every data set."""
        return len(self.ratios) == self.data_sets

    def steps(self, end: float) -> tuple[np.ndarray, np.ndarray]:
        """The profile from ratio 1 to ``end``: the ratios where it steps, and its shares from there on."""
        places = np.unique(np.concatenate([[1.0], self.ratios[self.ratios <= end], [end]]))
        return places, np.array([self.within(place) for place in places]) / self.data_sets


def profiles(costs: pd.DataFrame) -> dict[str, Profile]:
    """The profile of each arm.

    Args:
        costs: a row for each data set, a column for each arm; NaN where an arm was not measured. A cost that is not
            above 0 has no ratio, and counts as not measured.
    """
    positive = costs.where(costs > 0)
    ratios = positive.div(positive.min(axis=1), axis=0)
    return {str(arm): Profile(np.sort(ratios[arm].dropna().to_numpy(dtype=float)), len(costs)) for arm in costs.columns}
