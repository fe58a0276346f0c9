"""What tuning gains: the best validation bits/dim so far against trials, training images and time.

Notation: N random trials with values y_1..y_N are independent draws from a distribution F, and the best of n of them
has the distribution 1 - (1 - F)^n. Its median is the value at which F reaches q_n = 1 - (1/2)^(1/n).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from bench.core.results import RunState
from reports.analysis.once import once
from reports.analysis.points import largest, spread
from reports.analysis.statistics import LEVEL

if TYPE_CHECKING:
    from reports.analysis.results import Study

TPE_STARTUP_TRIALS = 4
"""Trials before TPE models their outcome: the arm's own configuration, then random draws."""


@dataclass(frozen=True)
class BestSoFar:
    """The best validation bits/dim of an arm's search so far.

    Attributes:
        arm: the arm.
        observed: one row an attempt that has ended, in the order in which they began: ``trials`` (one of which several
            attempts were made counts once, and not before one has ended by itself), ``images`` and ``seconds`` spent
            until then, where an attempt that continued others adds what it trained itself, and ``best``, NaN until a
            trial completes.
        band: ``trials``, ``median``, ``low`` and ``high`` of the best of so many random trials; None where trials were
            not independent draws.
        draws: number of trials that the band rests on.
        sampler: how trials were proposed; empty where the study does not say.
        pruned: whether any trial was stopped early for good.
    """

    arm: str
    observed: pd.DataFrame
    band: pd.DataFrame | None
    draws: int
    sampler: str
    pruned: bool


@dataclass(frozen=True)
class Spent:
    """What an arm was given.

    Attributes:
        trials: number of its trials.
        final_images: the least and the most training images that its final runs saw; None where that is not known.
    """

    trials: int
    final_images: tuple[int, int] | None


def spent(study: Study, arm: str) -> Spent:
    """How many trials chose an arm's configuration, and how many images its final runs were trained on."""
    points = study.histories[study.histories["run_id"].isin(study.finals[arm].runs["run_id"])]
    seen = points.groupby("run_id", observed=True)["images"].max().dropna()
    images = (int(seen.min()), int(seen.max())) if len(seen) else None
    return Spent(int((study.trials["arm"] == arm).sum()), images)


def best_of(values: np.ndarray) -> pd.DataFrame:
    """Median of the best (lowest) of n = 1..N independent draws, with a band that holds for all n at once.

    The band is distribution-free and exact (Lourie, Cho & He 2024, "Show Your Work with Confidence"): with probability
    `LEVEL`, or more where F has steps, F lies everywhere within c of the observed share F̂ of values, where c is the
    quantile of Kolmogorov's statistic of N values. The median of the best of n then lies between the values at which
    F̂ + c and F̂ - c reach q_n.

    Args:
        values: the values of N trials, inf for one that gave none.

    Returns:
        ``trials``, ``median``, ``low`` and ``high``; ``low`` is -inf where the trials are too few to bound it, and
        ``median`` and ``high`` are inf where too many of them gave no value.
    """
    y = np.sort(np.asarray(values, dtype=float))
    n = np.arange(1, len(y) + 1)
    c = float(stats.kstwo.ppf(LEVEL, len(y)))
    q = 1 - 0.5 ** (1 / n)

    def reaches(level: np.ndarray) -> np.ndarray:
        """The lowest value at which F̂ is at least ``level``: -inf for a level of 0 or below, inf for one above 1."""
        # F̂ is a multiple of 1/N: rounding must not push a level that equals one up to the next.
        rank = np.ceil(level * len(y) - 1e-9).astype(int)
        reached: np.ndarray = np.concatenate([[-np.inf], y, [np.inf]])[np.clip(rank, 0, len(y) + 1)]
        return reached

    return pd.DataFrame({"trials": n, "median": reaches(q), "low": reaches(q - c), "high": reaches(q + c)})


@once
def best_so_far(study: Study) -> list[BestSoFar]:
    """The course of each arm's search, of those in which a trial has completed with a finite value."""
    sampler = str(study.results.settings.get("sampler") or "")
    searched = study.attempts[study.attempts["state"] != RunState.RUNNING]
    trained = _images_trained(study)
    found = []
    for arm in study.arms:
        frame = searched[searched["arm"] == arm].sort_values(["started", "number"], kind="stable")
        value = frame["value"].where(frame["state"] == RunState.COMPLETE)
        if value.isna().all():
            continue
        counted = frame["state"] != RunState.INTERRUPTED
        observed = pd.DataFrame(
            {
                "trials": (counted & ~frame["task"].where(counted).duplicated()).cumsum(),
                "images": frame["run_id"].map(trained).fillna(0.0).cumsum(),
                "seconds": frame["own"].fillna(0.0).cumsum(),
                "best": value.cummin().ffill(),
            }
        )
        # The first trial is the arm's own configuration, not a draw.
        own = frame.loc[frame["number"].sort_values(kind="stable").index, "config_hash"].iloc[0]
        last = counted & frame.index.isin(study.counted.index)
        drawn = value[last & (frame["config_hash"] != own)].fillna(np.inf)
        band = best_of(drawn.to_numpy(dtype=float)) if sampler == "random" and len(drawn) else None
        pruned = bool((last & (frame["state"] == RunState.PRUNED)).any())
        found.append(BestSoFar(arm, observed.reset_index(drop=True), band, len(drawn), sampler, pruned))
    return found


def _images_trained(study: Study) -> pd.Series:
    """The images that each run trained on itself: its learning curve begins with that of the attempt it continued."""
    points = study.histories
    continued_from = spread(study.runs.set_index("run_id")["continued_from"], points["run_id"])
    again = points[points["step"] <= continued_from]
    before, seen = (largest(each["images"], each["run_id"]) for each in (again, points))
    return seen.sub(before, fill_value=0.0)
