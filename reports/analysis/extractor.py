"""Whether the network on whose features sample quality is measured knows the images at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    def too_few(self) -> bool:
        """Whether the images leave open if the accuracy is that of chance or clearly above, by binomial tests."""
        right = round(self.accuracy * self.n)
        above = stats.binomtest(right, self.n, self.chance, alternative="greater")
        below = stats.binomtest(right, self.n, self._clear, alternative="less")
        return bool(above.pvalue > 1 - LEVEL and below.pvalue > 1 - LEVEL)

    @property
    def mark(self) -> str:
        """What to hold against scores on its features, in short; empty where it clearly beats chance."""
        if self.too_few:
            return "extractor possibly at chance"
        return "extractor near chance" if self.accuracy < self._clear else ""

    @property
    def _clear(self) -> float:
        return self.chance + MARGIN * (1 - self.chance)


def doubtful(study: Study) -> dict[str, Skill]:
    """The extractors that do not clearly beat chance, by the name that the conditions of their scores have."""
    finals = [final.measurements for final in study.finals.values()]
    measured = pd.concat(finals) if finals else study.measurements
    accuracy, chance = (select(measured, "quality", f"extractor_{name}") for name in ("accuracy", "chance"))
    both = accuracy.merge(
        chance[["run_id", "conditions", "value"]], on=["run_id", "conditions"], suffixes=("", "_chance")
    )
    # Shares of images: what a person logged beside them in MLflow may be anything.
    both = both[both["value"].between(0, 1) & both["value_chance"].between(0, 1) & (both["n"] > 0)]
    known = [
        Skill(str(row["conditions"]), float(row["value"]), float(row["value_chance"]), int(row["n"]))
        for _, row in both.drop_duplicates("conditions").iterrows()
    ]
    return {skill.name: skill for skill in known if skill.mark}
