"""From measurements to the numbers that the page states.

Notation: per arm f the final runs give y_{f,s}, the test bits/dim of training seed s = 1..S_f.
The mean over seeds has the standard error sd(y_f) / sqrt(S_f); two arms are compared by Welch's interval, to which
the paired error over test images is added where the likelihood of each image is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.core.blocks import independent
from bench.core.metrics import METRICS
from bench.core.results import RunState
from bench.core.sequences import Kind

LEVEL = 0.95
NORMAL = 1.96
"""Standard errors to each end of a 95% interval of a normal mean."""
FEW_IMAGES = 2000
"""Below it the bias of the Fréchet distance, about 1/n, matters."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes:
        mean: in the metric's unit.
        error: standard error of the mean over seeds where ``seeds`` >= 2, else the run's own; None where unknown.
        seeds: number of final runs, one a training seed.
        excluded: number of final runs whose value is not finite and is not in the mean.
    """

    mean: float
    error: float | None
    seeds: int
    excluded: int = 0


@dataclass(frozen=True)
class Interval:
    """A difference of two arms with its interval at `LEVEL`.

    Attributes:
        value: the difference of the means.
        low: lower end.
        high: upper end.
        over_seeds: whether the interval covers another draw of training seeds, in both arms.
        over_images: whether it covers another draw of test images.
        p: two-sided p-value of no difference, of the same statistic as the interval.
        error: standard error of the difference, by which the interval is Student's t.
        freedom: its degrees of freedom; infinite where the interval is the normal one.
        paired: whether the arms were compared image by image.
    """

    value: float
    low: float
    high: float
    over_seeds: bool
    over_images: bool
    p: float
    error: float
    freedom: float
    paired: bool = False

    @property
    def contains_zero(self) -> bool:
        """Whether the data leave the sign of the difference open."""
        return self.low <= 0 <= self.high


def estimate(frame: pd.DataFrame) -> Estimate | None:
    """Mean and standard error of one metric's measurements, one row a seed; None where no value is finite."""
    finite = frame[np.isfinite(frame["value"])]
    if finite.empty:
        return None
    values = finite["value"].to_numpy(dtype=float)
    if len(values) >= 2:
        error: float | None = math.sqrt(variance_of_mean(values))
    else:
        own = float(finite["standard_error"].iloc[0])
        error = own if math.isfinite(own) else None
    return Estimate(float(values.mean()), error, len(values), len(frame) - len(finite))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's t interval at `LEVEL` for the mean of at least two values."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def compare(a: pd.DataFrame, b: pd.DataFrame) -> Interval | None:
    """The difference of two arms' means, a - b, with its interval at `LEVEL`.

    Welch's t interval (Welch 1947) over training seeds where both arms have two finite values or more. Otherwise
    an interval from the standard errors over test images (and over seeds, in an arm that has several), all taken as
    independent: Student's t by the degrees of freedom of those seeds. None where neither can be had, or where every
    seed gave the same value.
    """
    first, second = (frame[np.isfinite(frame["value"])] for frame in (a, b))
    if first.empty or second.empty:
        return None
    x, y = first["value"].to_numpy(dtype=float), second["value"].to_numpy(dtype=float)
    value = float(x.mean() - y.mean())
    if min(len(x), len(y)) >= 2:
        variances = [variance_of_mean(x), variance_of_mean(y)]
        return _satterthwaite(value, variances, [len(x) - 1, len(y) - 1], over_seeds=True, over_images=False)
    images = math.hypot(images_error(first), images_error(second))
    if not math.isfinite(images):
        return None
    several = [each for each in (x, y) if len(each) >= 2]
    variances = [images**2, *(variance_of_mean(each) for each in several)]
    degrees = [math.inf, *(len(each) - 1.0 for each in several)]
    return _satterthwaite(value, variances, degrees, over_seeds=False, over_images=True)


def rival(others: Mapping[str, float]) -> str:
    """The arm that the lowest one is compared with: the first that is not separated from it, else the next.

    The lowest is lower than all others only where the intervals of all of them leave 0 out.

    Args:
        others: of each further arm, by ascending mean, the lower end of the interval of its distance to the lowest;
            NaN where that is not known.
    """
    return next((arm for arm, low in others.items() if not low > 0), next(iter(others)))


def compare_each(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """The difference of two arms' means, x - y, at each of several points, with Welch's interval at `LEVEL` there.

    It is the interval of :func:`compare` over training seeds, and holds at each point by itself. It is not paired by
    seed: arms share the order of the images and no weights, and pairing S seeds leaves S - 1 of 2 S - 2 degrees of
    freedom. With three seeds that widens the interval by half.

    Args:
        x: an arm's values, ``(seeds, points)``, finite.
        y: another arm's values at the same points.

    Returns:
        ``value``, ``low`` and ``high`` of each point; the ends are NaN where an arm has one seed, or nothing varies.
    """
    value = x.mean(axis=0) - y.mean(axis=0)
    half = np.full(len(value), np.nan)
    if min(len(x), len(y)) >= 2:
        # As of `variance_of_mean`, equal values vary by 0 and not by a rounding error.
        a, b = (np.where(np.ptp(each, axis=0) > 0, each.var(axis=0, ddof=1) / len(each), 0.0) for each in (x, y))
        known = a + b > 0
        a, b = a[known], b[known]
        freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
        half[known] = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(a + b)
    return pd.DataFrame({"value": value, "low": value - half, "high": value + half})


def compare_paired(x: np.ndarray, y: np.ndarray, kind: Kind = "image") -> Interval | None:
    """The difference of two arms' means, x - y, with an interval over training seeds and test images at once.

    With x_{s,i} the bits/dim of image i under seed s = 1..S_x, and likewise y on *the same* images i = 1..n, the mean
    difference d = x.. - y.. varies with the seeds of either arm and with the images that both share:

        var(d) = sd_s(x_s.)² / S_x + sd_s(y_s.)² / S_y + sd_i(x._i - y._i)² / n.

    The interval is Student's t with Satterthwaite's (1946) degrees of freedom for the sum of three mean squares of
    S_x - 1, S_y - 1 and n - 1: Welch's interval with the paired error over images added. The interaction of seeds and
    images is in each of the terms, so that the sum errs on the wide side. Windows of a text or a sound resemble their
    neighbours: the third term is over blocks of them (:func:`bench.core.blocks.independent`), and so is its freedom.

    A hierarchical bootstrap, which resamples seeds and then images, is not used: its spread of S seeds is too narrow by
    the factor ((S - 1) / S)^½, and it knows nothing of the tails of few values. Simulated where seeds vary more than
    images do, its 95% interval covers the truth 72 times in 100 with two seeds and 85 times with three; this one 94 and
    95 times (``tests/reports/analysis/test_differences.py``).

    Args:
        x: bits/dim of an arm, ``(seeds, images)``.
        y: bits/dim of another arm on the same images, ``(seeds, images)``.
        kind: what they are images of, or windows of, in their order.

    Returns:
        The interval; it covers the images alone where an arm has a single seed. None with fewer than two images, or
        where nothing varies.

    Raises:
        ValueError: ``x`` and ``y`` have different numbers of images.
    """
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x has {x.shape[1]} images and y {y.shape[1]}: pairing needs the same images in both")
    images = x.shape[1]
    if images < 2:
        return None
    paired = x.mean(axis=0) - y.mean(axis=0)  # (images,)
    own = independent(paired, kind)
    variances, degrees = [variance_of_mean(own)], [len(own) - 1.0]
    for arm in (x, y):
        if len(arm) >= 2:
            variances.append(variance_of_mean(arm.mean(axis=1)))
            degrees.append(len(arm) - 1.0)
    both = min(len(x), len(y)) >= 2
    return _satterthwaite(float(paired.mean()), variances, degrees, over_seeds=both, over_images=True, paired=True)


def variance_of_mean(values: np.ndarray) -> float:
    """Variance of the mean of at least two values; 0, and not a rounding error, where all are the same."""
    return float(values.var(ddof=1) / len(values)) if np.ptp(values) > 0 else 0.0


def _satterthwaite(
    value: float,
    variances: list[float],
    degrees: list[float],
    *,
    over_seeds: bool,
    over_images: bool,
    paired: bool = False,
) -> Interval | None:
    """Student's t interval for a value whose variance is a sum of mean squares; None where the sum is 0.

    The degrees of freedom are (Σ v)² / Σ (v² / degrees): Satterthwaite (1946).
    """
    if not sum(variances) > 0:
        return None
    freedom, error = _freedom(variances, degrees), math.sqrt(sum(variances))
    half = half_width(variances, degrees)
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Interval(value, value - half, value + half, over_seeds, over_images, p, error, freedom, paired)


def _freedom(variances: list[float], degrees: list[float]) -> float:
    v, nu = np.asarray(variances), np.asarray(degrees)
    curvature = float((v**2 / nu).sum())
    return float(v.sum() ** 2 / curvature) if curvature > 0 else math.inf


def half_width(variances: list[float], degrees: list[float]) -> float:
    """Half of Student's t interval at `LEVEL` for a value whose variance is a sum of mean squares (Satterthwaite)."""
    return float(stats.t.ppf((1 + LEVEL) / 2, _freedom(variances, degrees))) * math.sqrt(sum(variances))


def hedges_g(x: np.ndarray, y: np.ndarray) -> float:
    """Hedges' g (Hedges 1981): the difference of means over the pooled standard deviation, corrected for few values.

    g = (1 - 3 / (4 m - 1)) (mean(x) - mean(y)) / s, with m = n_x + n_y - 2 and s² the pooled variance.
    """
    m = len(x) + len(y) - 2
    pooled = (len(x) * (len(x) - 1) * variance_of_mean(x) + len(y) * (len(y) - 1) * variance_of_mean(y)) / m
    return float((1 - 3 / (4 * m - 1)) * (x.mean() - y.mean()) / math.sqrt(pooled)) if pooled > 0 else math.nan


def holm(p: np.ndarray) -> np.ndarray:
    """p-values adjusted so that the chance of any false finding among them stays below the level (Holm 1979).

    With p sorted, p_(1) <= ... <= p_(m), the adjusted values are max over j <= i of min(1, (m - j + 1) p_(j)).
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return adjusted


def images_error(frame: pd.DataFrame) -> float:
    """Standard error over test images of the mean over seeds: they share the images, so it does not average out."""
    return float(frame["standard_error"].mean(skipna=False))


def monte_carlo_error(frame: pd.DataFrame) -> float:
    """Monte Carlo error of the mean over seeds, at most: every run is evaluated with the same noise."""
    return float(frame["monte_carlo_error"].mean(skipna=False))


def states(frame: pd.DataFrame) -> pd.DataFrame:
    """Number of runs by arm (rows) and state (columns, every state of `RunState` and any other that occurs)."""
    table = pd.crosstab(frame["arm"], frame["state"])
    known = sorted(map(str, RunState), key=lambda state: state == RunState.RUNNING)
    others = sorted(set(table.columns) - set(known))
    table = table.reindex(index=frame["arm"].unique(), columns=[*known, *others], fill_value=0)
    return table.astype(int)


def states_by_role(frame: pd.DataFrame) -> list[tuple[str, str, dict[str, int]]]:
    """Role, arm, and number of runs by state, with every state that :func:`states` has of the whole frame."""
    columns = states(frame).columns
    return [
        (str(role), str(arm), {str(state): int(counts.get(state, 0)) for state in columns})
        for role in frame["role"].unique()
        for arm, counts in states(frame[frame["role"] == role]).iterrows()
    ]


def reasons(frame: pd.DataFrame) -> pd.DataFrame:
    """Number of runs by ``arm``, ``role``, ``state`` and ``reason``, for all that did not complete and say why."""
    unfinished = frame[~frame["state"].isin([RunState.COMPLETE, RunState.RUNNING])].copy()
    unfinished["reason"] = unfinished["reason"].astype(object).where(unfinished["reason"].notna(), "").map(str)
    unfinished = unfinished[(unfinished["reason"].str.strip() != "") | (unfinished["state"] != RunState.PRUNED)]
    table = unfinished.groupby(["arm", "role", "state", "reason"], sort=False).size().reset_index(name="count")
    return table.sort_values("count", ascending=False, kind="stable")


def metric_order(names: set[str], n: float = math.inf) -> list[str]:
    """Metric names in the schema's order, those that it does not define last.

    The extrapolated Fréchet distance leads the plain one where that rests on fewer than `FEW_IMAGES` images, ``n``.
    """
    order = [name for name in METRICS if name in names] + sorted(names - set(METRICS))
    plain, extrapolated = "frechet_distance", "frechet_distance_infinity"
    if n < FEW_IMAGES and {plain, extrapolated} <= names:
        order.remove(extrapolated)
        order.insert(order.index(plain), extrapolated)
    return order
