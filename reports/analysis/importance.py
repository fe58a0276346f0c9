"""How much of the variation among an arm's trials each swept parameter explains: functional ANOVA.

Notation: a random forest fits validation bits/dim over the swept ranges. A parameter's main effect is the forest's
variance along that parameter, the others averaged out (Hutter, Hoos & Leyton-Brown 2014), and its importance the share
of its main effect in the sum of all main effects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.results import RunState
from reports.analysis.curves import fence

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from reports.analysis.results import Study

FEWEST_TRIALS = 12
"""Complete trials below which a forest says nothing."""
MOST_TRIALS = 150
"""Trials that a forest is fitted to; of more, so many are drawn: its time grows faster than they do."""
WIDESPREAD = 0.9
"""Share of the trials that must have a parameter for it to count."""
RESAMPLES = 5
TREES = 16


@dataclass(frozen=True)
class Importances:
    """The importances of an arm's swept parameters.

    Attributes:
        arm: the arm.
        shares: ``parameter``, ``share`` (mean over bootstrap samples of trials), ``low`` and ``high`` (the least and
            the most of them), the highest share first.
        trials: number of complete trials that they rest on.
    """

    arm: str
    shares: pd.DataFrame
    trials: int


def importances(study: Study) -> list[Importances]:
    """Of each arm with two or more swept parameters and enough complete trials.

    A parameter that only a part of the trials has, as one that depends on another, is left out.
    """
    found = []
    for arm in study.arms:
        columns = [f"param.{name}" for name in study.swept(arm) if f"param.{name}" in study.trials.columns]
        frame = study.trials[(study.trials["arm"] == arm) & (study.trials["state"] == RunState.COMPLETE)]
        frame = frame.dropna(subset=["value"])
        columns = [column for column in columns if frame[column].notna().mean() >= WIDESPREAD]
        frame = frame.dropna(subset=columns)
        columns = [column for column in columns if frame[column].nunique() > 1]
        if len(columns) >= 2 and len(frame) >= FEWEST_TRIALS and _clipped(frame["value"]).nunique() > 1:
            found.append(Importances(arm, _shares(frame[columns], frame["value"]), len(frame)))
    return found


def _clipped(values: pd.Series) -> pd.Series:
    """A single trial far off would otherwise be all that there is to explain."""
    _, highest = fence(values) or (0.0, math.inf)
    return values.clip(upper=highest)


def _shares(parameters: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    clipped = _clipped(values)
    distributions = {str(column): _distribution(parameters[column]) for column in parameters}
    rng = np.random.default_rng(0)
    draws: list[dict[str, float]] = []
    while len(draws) < RESAMPLES:
        rows = rng.choice(len(parameters), min(len(parameters), MOST_TRIALS))
        if clipped.iloc[rows].nunique() == 1:
            continue  # It has nothing to explain.
        draws.append(_one(parameters.iloc[rows], clipped.iloc[rows], distributions))
    table = pd.DataFrame(draws)
    shares = pd.DataFrame(
        {
            "parameter": [str(column).removeprefix("param.") for column in table],
            "share": table.mean().to_numpy(),
            "low": table.min().to_numpy(),
            "high": table.max().to_numpy(),
        }
    )
    return shares.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)


def _one(parameters: pd.DataFrame, values: pd.Series, distributions: dict[str, BaseDistribution]) -> dict[str, float]:
    """The importances of one sample of trials."""
    import optuna  # slow, and few reports need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.create_trial(
                params=dict(zip(distributions, row, strict=True)), distributions=distributions, value=value
            )
            for row, value in zip(parameters.itertuples(index=False, name=None), values.map(float), strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found.get(name, 0.0)) for name in distributions}


def _distribution(values: pd.Series) -> BaseDistribution:
    """The range that the trials span: on a logarithmic scale where it is wide, of categories where it is no number."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = pd.to_numeric(values, errors="coerce")
    if values.map(type).isin([bool, str, np.bool_]).any() or not np.isfinite(numbers).all():
        return CategoricalDistribution(sorted(values.unique(), key=str))
    low, high = float(numbers.min()), float(numbers.max())
    return FloatDistribution(low, high, log=low > 0 and high > 10 * low)
