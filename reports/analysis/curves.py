"""What figures show: pure functions from frames to points, each with its place and its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.results import RunState
from reports.analysis.once import once
from reports.formatting import plain

if TYPE_CHECKING:
    from reports.analysis.results import Study

LOG_SPAN = 30.0
"""Where a study does not say how it sweeps a parameter, one whose largest value exceeds this many times its smallest is
drawn on a logarithmic axis."""

OFF_SCALE = "off scale"
NO_VALUE = "no value"
HOLLOW_STATES = (RunState.PRUNED, RunState.INTERRUPTED, RunState.RUNNING)


@dataclass(frozen=True)
class Response:
    """Validation bits/dim of an arm's trials against one swept parameter.

    Attributes:
        arm: the arm.
        parameter: the swept parameter.
        points: one row a trial: ``run_id``, ``about`` (the trial in words), ``x``, ``value`` (NaN in the strip),
            ``mark`` (a state, `OFF_SCALE` or `NO_VALUE`), ``strip`` (drawn in the strip at the top edge) and
            ``selected``.
        limits: lowest and highest bits/dim of the scale; None where no trial has a value.
        ticks: places and labels of the horizontal axis; None where the axis chooses its own.
        named: whether these are names, and not numbers.
        log: whether the horizontal axis is logarithmic.
        without: number of trials that carry no value of the parameter.
    """

    arm: str
    parameter: str
    points: pd.DataFrame
    limits: tuple[float, float] | None
    ticks: list[tuple[float, str]] | None
    named: bool
    log: bool
    without: int


@dataclass(frozen=True)
class Curve:
    """A run's validation bits/dim.

    Attributes:
        run_id: the run.
        about: the run in words.
        images: training images seen at each validation evaluation.
        seconds: time until then, NaN where not logged.
        value: bits/dim.
    """

    run_id: str
    about: str
    images: np.ndarray
    seconds: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class LearningCurves:
    """Validation bits/dim of an arm's runs against training images seen and against seconds.

    Attributes:
        arm: the arm.
        searched: the curves of the search trials.
        final: the curves of the reported final runs.
        band: ``images``, ``seconds`` (mean), and ``mean``, ``low`` and ``high`` over the final runs, at the
            evaluations that all of them had.
        limits: lowest and highest bits/dim of the scale, shared by the arms.
    """

    arm: str
    searched: list[Curve]
    final: list[Curve]
    band: pd.DataFrame
    limits: tuple[float, float]


@dataclass(frozen=True)
class BoundCurve:
    """Test bits/dim of an arm's final runs against the number of importance samples k.

    Attributes:
        arm: the arm.
        points: ``importance_samples``, ``value`` (mean over seeds) and ``error`` (its Monte Carlo error, at
            most), k ascending.
        seeds: number of final runs in the mean; k that not all of them have are left out.
    """

    arm: str
    points: pd.DataFrame
    seeds: int


@dataclass(frozen=True)
class LatentProfile:
    """What each latent of an arm's first final run carries.

    Attributes:
        arm: the arm.
        seed: the training seed of that run, as text.
        points: ``kl_nats`` in descending order and ``active``, one row a latent.
    """

    arm: str
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


def response(study: Study, arm: str, parameter: str) -> Response | None:
    """The response curve of one swept parameter; None where no trial of the arm carries it."""
    column = f"param.{parameter}"
    frame = study.trials
    frame = frame[frame["arm"] == arm]
    if column not in frame.columns or frame[column].isna().all():
        return None
    without = int(frame[column].isna().sum())
    frame = frame[frame[column].notna()]
    place, ticks, log = _axis(frame[column], study.results.space.get(arm, {}).get(parameter, {}).get("log"))
    shown = frame["state"].isin([RunState.COMPLETE, *HOLLOW_STATES]) & frame["value"].notna()
    limits = fence(frame.loc[shown, "value"])
    above = shown & (frame["value"] > (limits[1] if limits else np.inf))
    mark = frame["state"].where(~above, OFF_SCALE)
    mark = mark.where((frame["state"] != RunState.COMPLETE) | frame["value"].notna(), NO_VALUE)
    points = pd.DataFrame(
        {
            "run_id": frame["run_id"],
            "about": frame["run_id"].map(study.described),
            "x": place,
            "value": frame["value"].where(shown & ~above),
            "mark": mark,
            "strip": ~shown | above,
            "selected": frame["run_id"].isin(study.selected),
        }
    ).sort_values("value", kind="stable")
    named = ticks is not None and any(label != f"{place:g}" for place, label in ticks)
    return Response(arm, parameter, points.reset_index(drop=True), limits, ticks, named, log, without)


def _axis(values: pd.Series, swept_by_ratio: bool | None) -> tuple[np.ndarray, list[tuple[float, str]] | None, bool]:
    """Places on the axis, its ticks, and whether it is logarithmic; text and booleans get one place a category.

    Args:
        values: the trials' values of the parameter.
        swept_by_ratio: whether the study sweeps it so; None where that is not known, or where it chooses among values.
    """
    numeric = pd.to_numeric(values, errors="coerce")
    truths = values.map(lambda value: isinstance(value, bool | np.bool_)).any()
    if truths or not np.isfinite(numeric).all():
        names = values.map(str)
        categories = sorted(names.unique())
        places = names.map({name: float(index) for index, name in enumerate(categories)})
        return places.to_numpy(dtype=float), [(float(i), name) for i, name in enumerate(categories)], False
    numbers = numeric.to_numpy(dtype=float)
    spread = numbers.max() > LOG_SPAN * numbers.min() if swept_by_ratio is None else swept_by_ratio
    log = bool(numbers.min() > 0 and spread)
    distinct = np.unique(numbers)
    # Values that a sampler drew are crooked and may lie side by side; whole numbers are what was meant.
    whole = bool(np.all(np.asarray(distinct, dtype=float) % 1 == 0))
    ticks = [(float(value), f"{value:g}") for value in distinct] if whole and len(distinct) <= 7 else None
    return numbers, ticks, log


def learning_curves(study: Study) -> list[LearningCurves]:
    """The learning curves of each arm that has any, on one scale."""
    points = _points(study.histories)
    if points.empty:
        return []
    curves = _curves(study, points)
    limits = float(points["value"].min()), float(points["value"].quantile(0.95))
    found = []
    for arm in study.arms:
        trials = study.trials.loc[study.trials["arm"] == arm, "run_id"]
        searched = [curves[run] for run in trials if run in curves]
        final = [curves[run] for run in study.finals[arm].runs["run_id"] if run in curves]
        if searched or final:
            found.append(LearningCurves(arm, searched, final, _band(final), limits))
    return found


@once
def final_curves(study: Study, arm: str) -> list[Curve]:
    """The learning curves of an arm's reported final runs that have any."""
    points = study.histories
    final = points[points["run_id"].isin(study.finals[arm].runs["run_id"])]
    return list(_curves(study, _points(final)).values())


def _points(points: pd.DataFrame) -> pd.DataFrame:
    return points.assign(images=points["images"].fillna(points["step"])).dropna(subset=["images", "value"])


def _curves(study: Study, points: pd.DataFrame) -> dict[str, Curve]:
    """The curve of each run; the points of a run lie together, so that cutting them apart takes no grouping."""
    if points.empty:
        return {}
    starts = np.flatnonzero(points["run_id"].ne(points["run_id"].shift()).to_numpy())
    columns = [points[name].to_numpy(dtype=float) for name in ("images", "seconds", "value")]
    runs = points["run_id"].iloc[starts].map(str)
    parts = zip(*(np.split(column, starts[1:]) for column in columns), strict=True)
    return {run: Curve(run, str(study.described[run]), *part) for run, part in zip(runs, parts, strict=True)}


def _band(final: list[Curve]) -> pd.DataFrame:
    """Mean and range over the final runs at each number of images at which all of them were evaluated."""
    if not final:
        return pd.DataFrame(columns=["images", "seconds", "mean", "low", "high"], dtype=float)
    names = ("images", "seconds", "value")
    points = pd.DataFrame({name: np.concatenate([getattr(curve, name) for curve in final]) for name in names})
    by_images = points.groupby("images")
    band = by_images["value"].agg(["mean", "min", "max", "size"]).assign(seconds=by_images["seconds"].mean())
    band = band[band["size"] == len(final)].reset_index()
    return band.rename(columns={"min": "low", "max": "high"})[["images", "seconds", "mean", "low", "high"]]


def bound_curves(study: Study) -> list[BoundCurve]:
    """The bound against k, of each arm whose final runs measured it at more than one k."""
    found = []
    for arm in study.arms:
        table = study.table("bound_by_samples", arm)
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
            found.append(BoundCurve(arm, points, seeds))
    return found


def latent_profiles(study: Study) -> list[LatentProfile]:
    """KL by latent of the first seed of each arm that has latents."""
    found = []
    for arm in study.arms:
        table = study.table("latents", arm).dropna(subset=["kl_nats"])
        runs = study.finals[arm].runs
        first = runs[runs["run_id"].isin(table["run_id"])].head(1)
        for _, run in first.iterrows():
            points = table[table["run_id"] == run["run_id"]].sort_values("kl_nats", ascending=False, kind="stable")
            points = points.assign(active=points["active"].fillna(0).astype(bool))[["kl_nats", "active"]]
            found.append(LatentProfile(arm, plain(run["seed"]), points.reset_index(drop=True)))
    return found
