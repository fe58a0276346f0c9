"""The figures as data: pure functions from frames to what is drawn, each point with its place and its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.results import RunState
from reports.formatting import plain

if TYPE_CHECKING:
    from reports.study import Study

LOG_SPAN = 30.0
"""A parameter whose largest value exceeds this many times its smallest is drawn on a logarithmic axis."""

OFF_SCALE = "off scale"
NO_VALUE = "no value"
HOLLOW_STATES = (RunState.PRUNED, RunState.INTERRUPTED, RunState.RUNNING)


@dataclass(frozen=True)
class Response:
    """Validation bits/dim of a family's trials against one swept parameter.

    Attributes:
        family: the family.
        parameter: the swept parameter.
        points: one row a trial: ``x``, ``value`` (NaN in the strip), ``mark`` (a state, `OFF_SCALE` or `NO_VALUE`),
            ``strip`` (drawn in the strip at the top edge) and ``selected``.
        limits: lowest and highest bits/dim of the scale; None where no trial has a value.
        ticks: places and labels of the horizontal axis; None where the axis chooses its own.
        log: whether the horizontal axis is logarithmic.
        without: number of trials that carry no value of the parameter.
    """

    family: str
    parameter: str
    points: pd.DataFrame
    limits: tuple[float, float] | None
    ticks: list[tuple[float, str]] | None
    log: bool
    without: int


@dataclass(frozen=True)
class LearningCurves:
    """Validation bits/dim of a family's runs against training images seen.

    Attributes:
        family: the family.
        searched: the curves of the search trials, each an array of (images, bits/dim) rows.
        final: the curves of the reported final runs, likewise.
        limits: lowest and highest bits/dim of the scale, shared by the families.
    """

    family: str
    searched: list[np.ndarray]
    final: list[np.ndarray]
    limits: tuple[float, float]


@dataclass(frozen=True)
class BoundCurve:
    """Test bits/dim of a family's final runs against the number of importance samples k.

    Attributes:
        family: the family.
        points: ``importance_samples``, ``value`` (mean over seeds) and ``error`` (its Monte Carlo error, at
            most), k ascending.
        seeds: number of final runs in the mean; k that not all of them have are left out.
    """

    family: str
    points: pd.DataFrame
    seeds: int


@dataclass(frozen=True)
class LatentProfile:
    """What each latent of a family's first final run carries.

    Attributes:
        family: the family.
        seed: the training seed of that run, as text.
        points: ``kl_nats`` in descending order and ``active``, one row a latent.
    """

    family: str
    seed: str
    points: pd.DataFrame


def fence(values: pd.Series) -> tuple[float, float] | None:
    """The scale that shows the finite values up to Tukey's far-out fence, Q3 + 3 (Q3 - Q1); None if there are none.

    One trial at 50 bits/dim would otherwise press all others into a line: what lies above is drawn at the edge.
    """
    finite = values[np.isfinite(values)]
    if finite.empty:
        return None
    first, third = np.quantile(finite, [0.25, 0.75])
    inside = finite[finite <= third + 3 * (third - first)]
    return float(inside.min()), float(inside.max())


def response(study: Study, family: str, parameter: str) -> Response | None:
    """The response curve of one swept parameter; None where no trial of the family carries it."""
    column = f"param.{parameter}"
    frame = study.trials
    frame = frame[frame["family"] == family]
    if column not in frame.columns or frame[column].isna().all():
        return None
    without = int(frame[column].isna().sum())
    frame = frame[frame[column].notna()]
    place, ticks, log = _axis(frame[column])
    shown = frame["state"].isin([RunState.COMPLETE, *HOLLOW_STATES]) & frame["value"].notna()
    limits = fence(frame.loc[shown, "value"])
    above = shown & (frame["value"] > (limits[1] if limits else np.inf))
    mark = frame["state"].where(~above, OFF_SCALE)
    mark = mark.where((frame["state"] != RunState.COMPLETE) | frame["value"].notna(), NO_VALUE)
    points = pd.DataFrame(
        {
            "x": place,
            "value": frame["value"].where(shown & ~above),
            "mark": mark,
            "strip": ~shown | above,
            "selected": frame["run_id"].isin(study.selected),
        }
    )
    return Response(family, parameter, points.reset_index(drop=True), limits, ticks, log, without)


def _axis(values: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]] | None, bool]:
    """Places on the axis, its ticks, and whether it is logarithmic; text and booleans get one place a category."""
    numeric = pd.to_numeric(values, errors="coerce")
    truths = values.map(lambda value: isinstance(value, bool | np.bool_)).any()
    if truths or not np.isfinite(numeric).all():
        names = values.map(str)
        categories = sorted(names.unique())
        places = names.map({name: float(index) for index, name in enumerate(categories)})
        return places.to_numpy(dtype=float), [(float(i), name) for i, name in enumerate(categories)], False
    numbers = numeric.to_numpy(dtype=float)
    log = bool(numbers.min() > 0 and numbers.max() > LOG_SPAN * numbers.min())
    distinct = np.unique(numbers)
    # Values that a sampler drew are crooked and may lie side by side; whole numbers are what was meant.
    whole = bool(np.all(np.asarray(distinct, dtype=float) % 1 == 0))
    ticks = [(float(value), f"{value:g}") for value in distinct] if whole and len(distinct) <= 7 else None
    return numbers, ticks, log


def learning_curves(study: Study) -> list[LearningCurves]:
    """The learning curves of each family that has any, on one scale."""
    points = study.histories
    points = points.assign(x=points["images"].fillna(points["step"])).dropna(subset=["x", "value"])
    if points.empty:
        return []
    frame = study.runs.set_index("run_id")
    curves = {run: group[["x", "value"]].to_numpy(dtype=float) for run, group in points.groupby("run_id", sort=False)}
    upper = float(points["value"].quantile(0.95))
    lower = float(points["value"].min())
    found = []
    for family in study.families:
        of_family = frame[frame["family"] == family]
        reported = list(study.finals[family].runs["run_id"])
        searched = [curves[run] for run in of_family.index[of_family["role"] == "search"] if run in curves]
        final = [curves[run] for run in reported if run in curves]
        if searched or final:
            found.append(LearningCurves(family, searched, final, (lower, upper)))
    return found


def bound_curves(study: Study) -> list[BoundCurve]:
    """The bound against k, of each family whose final runs measured it at more than one k."""
    found = []
    for family in study.families:
        table = study.table("bound_by_samples", family)
        table = table[np.isfinite(table["bits_per_dim"]) & (table["importance_samples"] > 0)]
        seeds = table["run_id"].nunique()
        points = (
            table.groupby("importance_samples")
            .agg(
                value=("bits_per_dim", "mean"),
                # All runs are evaluated with the same noise: their errors may not average out.
                error=("monte_carlo_error", lambda errors: errors.mean(skipna=False)),
                runs=("run_id", "nunique"),
            )
            .reset_index()
        )
        points = points[points["runs"] == seeds].drop(columns="runs").reset_index(drop=True)
        if len(points) > 1:
            found.append(BoundCurve(family, points, seeds))
    return found


def latent_profiles(study: Study) -> list[LatentProfile]:
    """KL by latent of the first seed of each family that has latents."""
    found = []
    for family in study.families:
        table = study.table("latents", family).dropna(subset=["kl_nats"])
        runs = study.finals[family].runs
        first = runs[runs["run_id"].isin(table["run_id"])].head(1)
        for _, run in first.iterrows():
            points = table[table["run_id"] == run["run_id"]].sort_values("kl_nats", ascending=False, kind="stable")
            points = points.assign(active=points["active"].fillna(0).astype(bool))[["kl_nats", "active"]]
            found.append(LatentProfile(family, plain(run["seed"]), points.reset_index(drop=True)))
    return found
