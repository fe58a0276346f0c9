"""Forecasts of a study's arms: which arm has one, what is written down of it, and how earlier ones turned out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.digests import json_digest
from reports.analysis.convergence import ended_by_itself
from reports.analysis.curves import final_curves
from reports.analysis.forecast import FARTHEST, Fit, Unfit, fit
from reports.formatting import plain

if TYPE_CHECKING:
    from pathlib import Path

    from reports.analysis.results import Study

HORIZON_SCHEDULES = ("cosine", "staged")
"""Schedules of the learning rate that end with the budget: a run does not begin as a longer one would."""
HORIZON = "the learning rate ends with the budget ({}), and a longer run would not begin with this one"
TIMES = (1.25, 1.5, FARTHEST)
"""How many times the measured budget the forecasts lie that a report writes down."""
COLUMNS = ["arm", "configuration", "seeds", "made_at", "budget", "value", "low", "high"]
"""Of the file: budgets in training images, values in validation bits/dim, ``seeds`` those of the runs in the mean."""
LONGER = ("images", "evaluations")
"""Parameters in which a run differs from the same run trained on."""


def mean_curve(study: Study, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Validation of an arm's final runs where all were evaluated: images, and values with one row a run."""
    runs = [dict(zip(curve.images, curve.value, strict=True)) for curve in final_curves(study, arm)]
    shared = sorted(place for place in set.intersection(*map(set, runs)) if place > 0) if runs else []
    return np.array(shared), np.array([[run[place] for place in shared] for run in runs])


def forecast(study: Study, arm: str) -> Fit | Unfit:
    """The forecast of the mean validation curve of an arm's final runs, or why there is none."""
    ends = {float(curve.images[-1]) for curve in final_curves(study, arm)}
    if not ends:
        return Unfit("no final run has a learning curve")
    parameters = _parameters(study, arm)
    decays = parameters.get("training.decay", parameters.get("decay"))
    if decays in HORIZON_SCHEDULES:
        return Unfit(HORIZON.format(decays))
    if ended_by_itself(study, arm) or len(ends) > 1:
        return Unfit("patience ended training before the budget was spent, and a larger one would not lengthen it")
    images, values = mean_curve(study, arm)
    return fit(images, values) if len(images) else Unfit("the final runs were never evaluated after equal images")


def made(study: Study) -> pd.DataFrame:
    """The forecasts of all arms that have one, as `COLUMNS`."""
    parts = [pd.DataFrame(columns=COLUMNS)]
    for arm in study.arms:
        found = forecast(study, arm)
        if isinstance(found, Fit):
            budgets = found.end * np.array(TIMES)
            value, low, high = found.at(budgets)
            numbers = {"made_at": found.end, "budget": budgets, "value": value, "low": low, "high": high}
            parts.append(pd.DataFrame(_identity(study, arm) | numbers))
    return pd.concat(parts[1:], ignore_index=True)[COLUMNS] if len(parts) > 1 else parts[0]


def _parameters(study: Study, arm: str) -> dict[str, str]:
    """The parameters of an arm's reported final runs, as text."""
    run = study.finals[arm].runs.filter(regex=r"^param\.").head(1).to_dict("records")
    named = {str(name).removeprefix("param."): value for name, value in (run[0] if run else {}).items()}
    return {name: plain(value) for name, value in named.items() if not pd.isna(value)}


def _identity(study: Study, arm: str) -> dict[str, str]:
    """What a forecast and a measurement of the same runs share: ``arm``, ``configuration`` and ``seeds``."""
    known = {
        name: value for name, value in _parameters(study, arm).items() if name.removeprefix("training.") not in LONGER
    }
    found = [known, plain(study.results.dataset.get("digest"))]
    seeds = " ".join(plain(seed) for seed in study.finals[arm].runs["seed"])
    return {"arm": arm, "configuration": json_digest(found)[:12], "seeds": seeds}


def read(path: Path) -> pd.DataFrame:
    """The forecasts that earlier reports wrote; none where there is no file.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    texts = {"arm": str, "configuration": str, "seeds": str}
    frame = pd.read_csv(path, dtype=texts, keep_default_na=False)
    if list(frame.columns) != COLUMNS:
        raise ValueError(f"columns {', '.join(map(str, frame.columns))}: {', '.join(COLUMNS)}")
    numbers = frame[COLUMNS[3:]].apply(pd.to_numeric, errors="coerce")
    finite = np.isfinite(numbers).all(axis=1) & (numbers["made_at"] > 0) & (numbers["budget"] > numbers["made_at"])
    wrong = frame[~(finite & (numbers["low"] <= numbers["value"]) & (numbers["value"] <= numbers["high"]))]
    if len(wrong):
        first = ",".join(map(str, wrong.iloc[0]))
        raise ValueError(f"row {first!r}: finite numbers, 0 < made_at < budget and low <= value <= high")
    checked: pd.DataFrame = frame.assign(**{str(name): numbers[name].astype(float) for name in numbers})
    return checked


def recorded(study: Study) -> pd.DataFrame:
    """The forecasts of earlier reports, and those that none of them made of the same runs at the same budget."""
    new = made(study)
    if study.earlier is None or study.earlier.empty:
        return new
    key = ["arm", "configuration", "seeds", "made_at"]
    known = pd.MultiIndex.from_frame(new[key]).isin(pd.MultiIndex.from_frame(study.earlier[key]))
    return study.earlier if known.all() else pd.concat([study.earlier, new[~known]], ignore_index=True)


def score(forecasts: pd.DataFrame, images: np.ndarray, mean: np.ndarray) -> pd.DataFrame:
    """How forecasts turned out, of those for budgets that have been reached since.

    Args:
        forecasts: ``made_at``, ``budget``, ``value``, ``low`` and ``high``.
        images: training images at each evaluation, ascending.
        mean: the curve that was forecast, the best so far, as measured there.

    Returns:
        These forecasts with ``measured``, between evaluations by interpolation in log images, and ``held``, whether
        the interval holds it.
    """
    reached = forecasts[(forecasts["budget"] >= images[0]) & (forecasts["budget"] <= images[-1] * (1 + 1e-9))]
    measured = np.interp(np.log(reached["budget"].to_numpy(dtype=float)), np.log(images), mean)
    held = (reached["low"] <= measured) & (measured <= reached["high"])
    scored: pd.DataFrame = reached.assign(measured=measured, held=held)
    return scored


def outcomes(study: Study, arm: str) -> pd.DataFrame:
    """How the forecasts turned out that earlier reports made of an arm's reported final runs at smaller budgets."""
    images, values = mean_curve(study, arm)
    own = pd.DataFrame(columns=COLUMNS) if study.earlier is None else study.earlier
    for name, value in _identity(study, arm).items():
        own = own[own[name] == value]
    if not len(images):
        return own.head(0)
    return score(own[own["made_at"] < images[-1]], images, np.minimum.accumulate(values.mean(axis=0)))
