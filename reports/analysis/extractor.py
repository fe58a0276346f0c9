"""Whether the network on whose features sample quality is measured knows the images at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from reports.analysis.results import select
from reports.analysis.statistics import LEVEL

if TYPE_CHECKING:
    from reports.analysis.results import Study

MARGIN = 0.1
"""Share of the way from chance to certainty below which an accuracy is near chance, however many images show it."""


@dataclass(frozen=True)
class Skill:
    """How well the network of an extractor predicts what it was trained on.

    Attributes:
        name: the extractor, as the conditions of the scores name it.
        accuracy: share of validation images that it predicts correctly.
        chance: the share that a constant prediction gets right.
        n: validation images.
    """

    name: str
    accuracy: float
    chance: float
    n: int

    @property
    def near_chance(self) -> bool:
        """Whether the accuracy does not exceed chance by a binomial test, or hardly does."""
        test = stats.binomtest(round(self.accuracy * self.n), self.n, self.chance, alternative="greater")
        return bool(test.pvalue > 1 - LEVEL or self.accuracy - self.chance < MARGIN * (1 - self.chance))


def near_chance(study: Study) -> dict[str, Skill]:
    """The extractors whose features say little of an image, by the name that the conditions of their scores have."""
    finals = [final.measurements for final in study.finals.values()]
    measured = pd.concat(finals) if finals else study.measurements
    accuracy, chance = (select(measured, "quality", f"extractor_{name}") for name in ("accuracy", "chance"))
    both = accuracy.merge(
        chance[["run_id", "conditions", "value"]], on=["run_id", "conditions"], suffixes=("", "_chance")
    )
    both = both[np.isfinite(both["value"]) & np.isfinite(both["value_chance"]) & (both["n"] > 0)]
    known = [
        Skill(str(row["conditions"]), float(row["value"]), float(row["value_chance"]), int(row["n"]))
        for _, row in both.drop_duplicates("conditions").iterrows()
    ]
    return {skill.name: skill for skill in known if skill.near_chance}
