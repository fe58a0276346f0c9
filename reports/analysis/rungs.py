"""Test bits/dim at shares of the budget, as the final runs measured them with their best weights until then."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.analysis import statistics
from reports.analysis.curves import final_curves
from reports.analysis.differences import likelihood, likelihood_units
from reports.analysis.frontier import SAME_RUNG, Schedule, holding, schedule
from reports.analysis.once import once
from reports.analysis.results import LIKELIHOOD

if TYPE_CHECKING:
    import pandas as pd

    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval


@dataclass(frozen=True)
class Rung:
    """The arms on test at one budget.

    Attributes:
        images: the budget.
        levels: ``value``, ``standard_error`` over images and ``importance_samples`` by run, by arm, of those of which
            every seed measured it; a run that stopped by itself before has its last value.
        early: the arms of which this is not known to be the value of a run of that budget, as their schedule depends on
            the budget or is not known, and theirs was larger.
        lowest: the arm with the lowest mean; empty where fewer than two were measured.
        second: the one it is compared with, as :func:`reports.analysis.statistics.rival` has it.
        interval: by how much the second lies above the lowest, over seeds, or else over images; None where not known.
        whole: whether all training had ended by it, so that values and interval are those of the study's answer.
    """

    images: float
    levels: dict[str, pd.DataFrame]
    early: tuple[str, ...] = ()
    lowest: str = ""
    second: str = ""
    interval: Interval | None = None
    whole: bool = False

    @property
    def importance_samples(self) -> dict[str, set[int]]:
        """The numbers of importance samples of the arms, as far as they have any."""
        return {arm: {int(k) for k in level["importance_samples"].dropna()} for arm, level in self.levels.items()}


@once
def rungs(study: Study) -> list[Rung]:
    """The arms at each budget at which final runs measured test; none where they did not, or in several units."""
    if len(likelihood_units(study)) > 1:
        return []
    measured = {}
    for arm in study.arms:
        table = study.table("budgets", arm).dropna(subset=["images"])
        table = table[np.isfinite(table["bits_per_dim"])]
        if len(table):
            measured[arm] = table.rename(columns={"bits_per_dim": "value"})
    if not measured:
        return []
    places = _places(np.unique(np.concatenate([table["images"] for table in measured.values()])))
    measured = {arm: table.assign(images=table["images"].map(places)) for arm, table in measured.items()}
    return [_rung(study, images, measured) for images in sorted(set(places.values()))]


def other_bound(found: list[Rung]) -> bool:
    """Whether an arm's value at the whole budget has another number of importance samples than those before."""
    wholes = [rung.importance_samples for rung in found if rung.whole]
    shares = [rung.importance_samples for rung in found if not rung.whole]
    return any(whole[arm] != share.get(arm, whole[arm]) for whole in wholes for share in shares for arm in whole)


def _places(ascending: np.ndarray) -> dict[float, float]:
    """The rung of each number of images: batches need not divide a budget, so that arms differ a little."""
    found: dict[float, float] = {}
    for images in ascending[::-1]:
        above = next(reversed(found), math.inf)
        found[float(images)] = found[above] if above <= (1 + SAME_RUNG) * images else float(images)
    return found


def _rung(study: Study, images: float, measured: dict[str, pd.DataFrame]) -> Rung:
    levels, early = {}, []
    for arm, table in measured.items():
        level = _level(study, arm, table, images)
        if level is not None:
            levels[arm] = level
            if schedule(study, arm) != Schedule.FREE and images < table["images"].max():
                early.append(arm)
    ends = {arm: _end(study, arm, measured[arm], images) for arm in levels}
    answered = {arm: end for arm, end in ends.items() if end is not None}
    whole = bool(levels) and len(answered) == len(levels)
    levels = answered if whole else levels
    ranked = sorted(levels, key=lambda arm: float(levels[arm]["value"].mean()))
    if len(ranked) < 2:
        return Rung(images, levels, tuple(early), whole=whole)
    lowest, *others = ranked
    above = {
        arm: likelihood(study, arm, lowest) if whole else statistics.compare(levels[arm], levels[lowest])
        for arm in others
    }
    second = statistics.rival({arm: math.nan if each is None else each.low for arm, each in above.items()})
    return Rung(images, levels, tuple(early), lowest, second, above[second], whole)


def _end(study: Study, arm: str, table: pd.DataFrame, images: float) -> pd.DataFrame | None:
    """The answer's own test likelihoods of an arm, where its training had ended by a rung and every seed has one."""
    ended = all(curve.images[-1] <= (1 + SAME_RUNG) * images for curve in final_curves(study, arm))
    found = study.finals[arm].measured("test", LIKELIHOOD)
    found = found[np.isfinite(found["value"])]
    if images < table["images"].max() or not ended or set(found["run_id"]) != set(study.finals[arm].runs["run_id"]):
        return None
    answered: pd.DataFrame = found.set_index("run_id")[["value", "standard_error", "importance_samples"]]
    return answered


def _level(study: Study, arm: str, table: pd.DataFrame, images: float) -> pd.DataFrame | None:
    """What an arm's seeds measured at a rung; None where one of them did not."""
    last = table.sort_values("evaluation", kind="stable").groupby("run_id").tail(1)
    kept = last[last["run_id"].isin(holding(study, arm)) & (last["images"] < images)]
    here = (
        table[table["images"] == images].sort_values("evaluation", kind="stable").drop_duplicates("run_id", keep="last")
    )
    seeds = study.finals[arm].runs["run_id"]
    parts = here.set_index("run_id").combine_first(kept.set_index("run_id"))
    if not seeds.isin(parts.index).all():
        return None
    found: pd.DataFrame = parts.loc[seeds, ["value", "standard_error", "importance_samples"]]
    return found
