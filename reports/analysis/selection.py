"""What each arm was selected with: its swept values, where they lie in their ranges, and what else does as well.

Notation: two trainings of one configuration from different seeds differ by d ~ N(0, 2 σ²). The final runs estimate σ by
the standard deviation s of their test bits/dim over S seeds, so that |d| stays below t s √2 in 95 of 100 cases, t being
Student's quantile of S - 1 degrees of freedom. A trial that lies above another by less is as good within noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.core.results import RunState
from reports.analysis.results import LIKELIHOOD, select
from reports.analysis.statistics import LEVEL
from reports.formatting import short

if TYPE_CHECKING:
    from reports.analysis.results import Study

EDGE = 0.02
"""Share of a range, by ratio where it is spaced so, that counts as its edge."""
FEWEST_SEEDS = 3
"""Final runs from which the noise between seeds can be estimated."""
FEWEST_TRIALS = 5
"""Complete trials of an arm below which it is open what else does as well."""


@dataclass(frozen=True)
class Selected:
    """A swept parameter of an arm and the value that was selected.

    Attributes:
        parameter: its name in the search space.
        words: its name in a sentence.
        value: what was selected.
        swept: its range as the study logged it; empty where it logged none.
    """

    parameter: str
    words: str
    value: object
    swept: Mapping[str, Any]

    @property
    def edge(self) -> str:
        """``top`` or ``bottom`` where the value lies at an end of its range that can be moved; else empty."""
        return _edge(self.swept, self.value) if self.swept else ""

    @property
    def range(self) -> str:
        """The ends of its range in words; empty for categories."""
        return f"{short(self.swept['low'])} to {short(self.swept['high'])}" if "low" in self.swept else ""

    def __str__(self) -> str:
        return f"{self.words} {short(self.value)}{f' (the {self.edge} of its range)' if self.edge else ''}"


def selected(study: Study, arm: str) -> list[Selected]:
    """The swept values of the configuration that the final runs train, those that a reader asks for first."""
    final = study.finals[arm]
    chosen = final.trial if final.trial is not None else None if final.runs.empty else final.runs.iloc[-1]
    if chosen is None:
        return []
    space = study.results.space.get(arm, {})
    return [
        Selected(name, in_words(study, arm, name), chosen[f"param.{name}"], space.get(name, {}))
        for name in in_order(study, arm)
        if not pd.isna(chosen.get(f"param.{name}"))
    ]


def in_words(study: Study, arm: str, parameter: str) -> str:
    """A swept parameter's name in a sentence, such as ``learning rate``."""
    last = parameter.rpartition(".")[2]
    alone = [name.rpartition(".")[2] for name in study.swept(arm)].count(last) < 2
    return (last if alone else parameter).replace("_", " ")


def in_order(study: Study, arm: str) -> list[str]:
    """The swept parameters of an arm: the first size, the learning rate, other sizes, categories, other numbers."""
    names = study.swept(arm)
    kinds = {name: _kind(study, arm, name) for name in names}
    sizes = [name for name in names if kinds[name] == "integers"]
    rates = [name for name in names if name.rpartition(".")[2] == "learning_rate"]
    choices = [name for name in names if kinds[name] == "choices"]
    return list(dict.fromkeys([*sizes[:1], *rates, *sizes, *choices, *names]))


def by_interest(study: Study) -> list[tuple[str, str]]:
    """The swept parameters of all arms in the order of :func:`in_order`, the arms taking turns."""
    names = [[(arm, name) for name in in_order(study, arm)] for arm in study.arms]
    return [pair for row in zip_longest(*names) for pair in row if pair is not None]


def _kind(study: Study, arm: str, parameter: str) -> str:
    """The kind of a range, as it was logged or else as its values say."""
    swept = study.results.space.get(arm, {}).get(parameter)
    if swept:
        return str(swept["kind"])
    runs, column = study.runs, f"param.{parameter}"
    values = runs.loc[runs["arm"] == arm, column].dropna() if column in runs else pd.Series(dtype=object)
    if not all(isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values):
        return "choices"
    return "integers" if all(float(value).is_integer() for value in values) else "reals"


def _edge(swept: Mapping[str, Any], value: object) -> str:
    """At which end of a range a value lies: not where the end is 0, or the whole number 1, from above."""
    if swept["kind"] == "choices" or not isinstance(value, Real) or not swept["low"] < swept["high"]:
        return ""
    low, high, here = float(swept["low"]), float(swept["high"]), float(value)
    smallest = low == 0 or (swept["kind"] == "integers" and low == 1)
    if swept["log"] and here > 0:
        low, high, here = math.log(low), math.log(high), math.log(here)
    margin = EDGE * (high - low)
    if here >= high - margin:
        return "top"
    return "bottom" if here <= low + margin and not smallest else ""


@dataclass(frozen=True)
class AsGood:
    """Which other values of a swept parameter did as well as the selected one, within the noise between seeds.

    Attributes:
        value: what was selected.
        noise: bits/dim by which two trainings of one configuration differ at most, in 95 of 100 cases; None where
            there are too few seeds or complete trials to say.
        seeds: number of final runs with a test value.
        trials: number of complete trials.
        selected: the selected trial.
        others: the complete trials that may stand in its place, with ``x`` (their value of the parameter) and
            ``value``; of a size those that are smaller and have fewer weights.
    """

    value: float
    noise: float | None
    seeds: int
    trials: int
    selected: pd.Series
    others: pd.DataFrame

    @property
    def as_good(self) -> pd.DataFrame:
        """Those of the others that are as good within noise."""
        if self.noise is None:
            return self.others.iloc[:0]
        return self.others[self.others["value"] - float(self.selected["value"]) <= self.noise]


def smaller(study: Study, arm: str, parameter: str) -> AsGood | None:
    """Which smaller values of a size did as well; None where the parameter is no size, by the weights it costs."""
    frame, trial = _complete(study, arm, parameter), study.finals[arm].trial
    if _kind(study, arm, parameter) != "integers" or trial is None or trial["run_id"] not in set(frame["run_id"]):
        return None
    weights = select(study.measurements, "cost", "parameters").set_index("run_id")["value"]
    frame = frame.assign(weights=frame["run_id"].map(weights)).dropna(subset=["weights"])
    chosen = frame[frame["run_id"] == trial["run_id"]]
    if chosen.empty or frame["x"].nunique() < 2 or frame["weights"].nunique() < 2:
        return None
    if stats.spearmanr(frame["x"], frame["weights"]).statistic <= 0:
        return None
    own = chosen.iloc[0]
    cheaper = frame[(frame["x"] < own["x"]) & (frame["weights"] < own["weights"])]
    return AsGood(float(own["x"]), *_noise(study, arm, len(frame)), len(frame), own, cheaper)


def rates(study: Study, arm: str) -> AsGood | None:
    """Which learning rates did as well; None where anything else was swept, so that trials differ in more."""
    names = study.swept(arm)
    if len(names) != 1 or names[0].rpartition(".")[2] != "learning_rate":
        return None
    frame, trial = _complete(study, arm, names[0]), study.finals[arm].trial
    if trial is None or trial["run_id"] not in set(frame["run_id"]):
        return None
    own = frame[frame["run_id"] == trial["run_id"]].iloc[0]
    others = frame[frame["run_id"] != trial["run_id"]]
    return AsGood(float(own["x"]), *_noise(study, arm, len(frame)), len(frame), own, others)


def _complete(study: Study, arm: str, parameter: str) -> pd.DataFrame:
    """The complete trials of an arm that have a value and a number for a parameter, the latter as ``x``."""
    frame = study.trials[(study.trials["arm"] == arm) & (study.trials["state"] == RunState.COMPLETE)]
    column = frame.get(f"param.{parameter}", pd.Series(np.nan, index=frame.index))
    return frame.assign(x=pd.to_numeric(column, errors="coerce")).dropna(subset=["x", "value"])


def _noise(study: Study, arm: str, trials: int) -> tuple[float | None, int]:
    values = select(study.finals[arm].measurements, "test", LIKELIHOOD)["value"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < FEWEST_SEEDS or trials < FEWEST_TRIALS:
        return None, len(values)
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return quantile * math.sqrt(2) * float(values.std(ddof=1)), len(values)
