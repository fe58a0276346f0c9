"""Forecasts of learning curves: a saturating power law, with the uncertainty that the measured points leave.

Notation: S runs of one configuration were evaluated at the training images n_1 < ... < n_N; t = n / n_N. Run s follows

    y_s(n) = a_s + b_s t^(-c) + d(n) + e_s(n),    c > 0,

with the asymptote a_s, and b_s left to gain at the end of the measured range. The points of a curve are not
independent: neighbouring evaluations share noise, cov e_s = σ² R with R_ij = ρ^|i - j|, and real curves bend. Their
*drift* d, a slow departure from the power law that the runs share as they share their recipe and validation set, is
integrated Brownian motion D in log n (the prior of a cubic smoothing spline: Wahba 1990, "Spline Models for
Observational Data"). The mean curve then has the covariance σ² / S · (R + κ D), and S - 1 contrasts of the runs have
σ² R each: how seeds spread around their mean says what σ and ρ are.

Given c, ρ and κ the model is linear: a_s, b_s and σ² integrate out in closed form (Gelman et al. 2013, "Bayesian Data
Analysis", section 14.2), under flat priors on level and slope at n_N and on log σ². The posterior is a grid over c, ρ
and κ, from which draws are taken; those of which the mean curve has ā < 0 or b̄ <= 0 are rejected. Saturating power
laws of learning curves: Domhan et al. 2015, "Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks
by Extrapolation of Learning Curves"; Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically". How
often the intervals hold the truth, on synthetic and on logged curves: ``reports/benchmarks/forecast_coverage.md``.

What is forecast is the lowest value of the mean curve so far, as reports state the best evaluation: it never rises.
Where the power law misses the end of the curve, or the posterior sits at the largest ρ and κ of its grid, drift alone
would be continued, and there is no forecast. All is of the runs at hand, trained on: the mean of other seeds is as much
farther as seeds differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import linalg

from reports.analysis.convergence import State, course
from reports.analysis.statistics import LEVEL
from reports.formatting import count

FEWEST_POINTS = 10
"""Evaluations that a forecast takes at least, after those of the `TRANSIENT`."""
FEWEST_CHECKED = 6
"""Of them, within the first part that the check fits."""
MOST_POINTS = 100
"""Of more, neighbours are averaged."""
TRANSIENT = 0.1
"""Points before this share of the measured range belong to warm-up and first steps, and are not fitted."""
CHECKED = 0.7
"""The check fits up to this share of the measured range, and forecasts its end."""
FARTHEST = 2.0
"""Forecasts reach to so many times the measured budget: farther out, intervals held too few ends of logged curves."""
DEPARTURE, NOISES = 0.2, 3.0
"""A law misses the end by more than this share of the measured fall and so many standard deviations of the noise."""
NEGLIGIBLE = 0.01
"""The same share where the posterior sits at the largest ρ and κ, which are then too small."""
EXPONENTS = (0.02, 6.0)
"""Smallest and largest exponent: slower is a straight line against log n, faster is a curve that has ended."""
CENTRE, WIDTH = 1.0, 0.5
"""Median of the prior of c, and the standard deviation of its logarithm."""
AUTOCORRELATIONS = (0.0, 0.5, 0.8, 0.95)
"""Values of ρ."""
DRIFTS = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4)
"""Values of κ, of the prior weight (1 + κ)^(-3/4), chosen by coverage."""
LIMIT = 100.0
"""Drift is taken to end at so many times the measured budget."""
DRAWS = 4000
FEWEST_DRAWS = 200
ROUNDS = 8
GRID = 48
BELOW = 20.0
"""The grid over c spans what lies within this logarithm of the highest posterior density."""
PLACES = 65
"""Budgets at which a crossing is looked for."""


@dataclass(frozen=True)
class Unfit:
    """Why no forecast is made, as a clause."""

    reason: str


@dataclass(frozen=True)
class Errors:
    """How a mean curve departs from its power law: R + κ D, in units of the variance of its noise.

    Attributes:
        length: training images over which noise keeps 1/e of its correlation; 0 where evaluations are independent.
        drift: κ.
        first: where drift begins.
        last: n_N, where D is 1.
    """

    length: float
    drift: float
    first: float
    last: float

    def drifting(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """κ D between two sets of places."""
        u, v = (np.log(each / self.first) / np.log(self.last / self.first) for each in (x[:, None], y[None, :]))
        low, high = np.minimum(u, v), np.maximum(u, v)
        covariance: np.ndarray = self.drift * low**2 * (3 * high - low) / 2
        return covariance

    def noise(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """R between two sets of places."""
        apart = np.abs(x[:, None] - y[None, :])
        correlation: np.ndarray = np.exp(-apart / self.length) if self.length else (apart == 0).astype(float)
        return correlation


@dataclass(frozen=True)
class Fit:
    """The posterior of a mean learning curve, as draws.

    Attributes:
        end: the budget at which the forecast is made: training images of the last evaluation.
        images: n_1..n_N, as fitted.
        mean: ȳ there, bits/dim.
        spacing: training images from one of these to the next.
        best: the lowest evaluation of the mean curve, bits/dim.
        asymptote: draws of ā, bits/dim.
        gap: draws of b̄, bits/dim.
        exponent: draws of c.
        scale: draws of the standard deviation of ē at n_N, bits/dim.
        kind: for each draw the place of its correlation in ``errors``.
        errors: the correlations.
    """

    end: float
    images: np.ndarray
    mean: np.ndarray
    spacing: float
    best: float
    asymptote: np.ndarray
    gap: np.ndarray
    exponent: np.ndarray
    scale: np.ndarray
    kind: np.ndarray
    errors: tuple[Errors, ...]

    def law(self, budgets: np.ndarray) -> np.ndarray:
        """Draws of the power law, ``(draws, budgets)``."""
        t = np.asarray(budgets, dtype=float) / self.images[-1]
        drawn: np.ndarray = self.asymptote[:, None] + self.gap[:, None] * t[None, :] ** -self.exponent[:, None]
        return drawn

    @cached_property
    def _residuals(self) -> np.ndarray:
        left: np.ndarray = self.mean - self.law(self.images)
        return left

    def course(self, budgets: np.ndarray) -> np.ndarray:
        """Draws of the mean curve without the noise of its evaluations, ``(draws, budgets)``."""
        return self._drawn(np.asarray(budgets, dtype=float), noisy=False)

    def at(self, budgets: np.ndarray) -> np.ndarray:
        """Median and ends of the interval at `LEVEL` of the best that would be measured so far, ``(3, budgets)``.

        Args:
            budgets: training images, at `end` or later.
        """
        budgets = np.asarray(budgets, dtype=float)
        ahead = np.arange(self.end + self.spacing, budgets.max(), self.spacing)
        if len(ahead) > MOST_POINTS:
            ahead = np.linspace(self.end, budgets.max(), MOST_POINTS + 1)[1:]
        places = np.union1d(ahead, budgets)
        lowest = np.minimum.accumulate(self._drawn(places, noisy=True), axis=1)
        return _quantiles(np.minimum(self.best, lowest[:, np.searchsorted(places, budgets)]))

    @property
    def departs(self) -> bool:
        """Whether drift, not the power law, says where the mean curve ended."""
        apart = abs(float(np.median(self.law(self.images[-1:]))) - self.mean[-1])
        at_corner = (self.kind == len(self.errors) - 1).mean() > 0.5
        allowed = NEGLIGIBLE if at_corner else DEPARTURE
        return bool(apart > allowed * np.ptp(self.mean) and apart > NOISES * np.median(self.scale))

    def limit(self) -> np.ndarray:
        """Median and ends of the interval at `LEVEL` of what the curve tends to: ā and the drift until then."""
        far = np.array([LIMIT * self.end])
        return _quantiles(np.clip(self.asymptote[:, None] + self.course(far) - self.law(far), 0, None))[:, 0]

    def _drawn(self, budgets: np.ndarray, *, noisy: bool) -> np.ndarray:
        drawn = self.law(budgets)
        normal = np.random.default_rng(1).standard_normal(drawn.shape)
        for number, errors in enumerate(self.errors):
            of = self.kind == number
            if not of.any() or not (noisy or errors.drift):
                continue
            towards, own = (errors.drifting(x, budgets) for x in (self.images, budgets))
            if noisy:
                towards, own = towards + errors.noise(self.images, budgets), own + errors.noise(budgets, budgets)
            measured = errors.drifting(self.images, self.images) + errors.noise(self.images, self.images)
            weights = linalg.solve(measured, towards, assume_a="pos")
            # Rounding may leave a variance of 0 a little below it.
            values, vectors = np.linalg.eigh(own - towards.T @ weights)
            root = vectors * np.sqrt(np.clip(values, 0, None))
            drawn[of] += self._residuals[of] @ weights + self.scale[of, None] * (normal[of] @ root.T)
        return drawn


@dataclass(frozen=True)
class Crossing:
    """Where two arms change their order.

    Attributes:
        budget: median of the training images at which they do; inf where that is beyond `FARTHEST` times ``start``.
        low: lower end of its interval at `LEVEL`.
        high: upper end; inf likewise.
        probability: that they do within `FARTHEST` times ``start``.
        start: the smaller of the two measured budgets.
    """

    budget: float
    low: float
    high: float
    probability: float
    start: float


def fit(images: np.ndarray, values: np.ndarray) -> Fit | Unfit:
    """Fit the mean learning curve of some runs, where a saturating power law describes it.

    Args:
        images: training images at each evaluation, ascending, ``(evaluations,)``.
        values: validation bits/dim, one row a run, ``(runs, evaluations)``.

    Raises:
        ValueError: where these are no curves.
    """
    images, values = _curves(images, values)
    return _fitted(images.tobytes(), values.tobytes(), len(values))


@lru_cache(maxsize=64)
def _fitted(images_of: bytes, values_of: bytes, runs: int) -> Fit | Unfit:
    """A page asks for the fit of an arm in its text, its figures and its files."""
    images, values = np.frombuffer(images_of), np.frombuffer(values_of).reshape(runs, -1)
    if course(images, values.mean(axis=0)).state == State.OVERFITTED:
        return Unfit("validation rose before the end")
    kept = images >= TRANSIENT * images[-1]
    images, values = images[kept], values[:, kept]
    early = images <= CHECKED * images[-1]
    if len(images) < FEWEST_POINTS or early.sum() < FEWEST_CHECKED:
        known = f"there {'is' if len(images) == 1 else 'are'} {count(len(images), 'evaluation')}"
        return Unfit(f"{known}, and a forecast takes {FEWEST_POINTS} or more")
    checked = _posterior(images[early], values[:, early])
    if checked is None:
        return Unfit("the curve is no saturating power law")
    _, low, high = checked.at(images[-1:])[:, 0]
    if not low <= values.mean(axis=0).min() <= high:
        share = f"{CHECKED:.0%}"
        return Unfit(f"a forecast from the first {share} of the curve misses its end")
    found = _posterior(images, values)
    if found is None or found.departs:
        return Unfit("the curve is no saturating power law")
    return found


def crossing(first: Fit, second: Fit) -> Crossing:
    """Where two arms' lowest values so far change their order, beyond the budget that both have reached."""
    start = min(first.end, second.end)
    budgets = np.geomspace(start, FARTHEST * start, PLACES)
    # Both took the same random numbers, which would tie their draws to each other: the second's are shuffled.
    order = np.random.default_rng(2).permutation(len(second.gap))
    draws = min(len(first.gap), len(second.gap))
    lowest = [np.minimum.accumulate(each.course(budgets), axis=1) for each in (first, second)]
    apart = lowest[0][:draws] - lowest[1][order][:draws]
    apart = apart * (1.0 if np.median(apart[:, 0]) >= 0 else -1.0)
    crossed = apart <= 0
    place = np.where(crossed.any(axis=1), crossed.argmax(axis=1), len(budgets))
    at = np.full(draws, np.inf)
    at[place == 0] = start
    within = (place > 0) & (place < len(budgets))
    after, rows = place[within], np.flatnonzero(within)
    left, right = apart[rows, after - 1], apart[rows, after]
    at[within] = budgets[after - 1] * (budgets[1] / budgets[0]) ** (left / (left - right))
    # Of order statistics, as a median of a finite and an infinite place is none.
    # Where "none" is among what the interval holds, that is its upper end, and all that it leaves out is below.
    tail = (1 - LEVEL) / 2
    none = float(np.isinf(at).mean())
    ends = (tail, 1 - tail) if none <= tail else (1 - LEVEL, 1.0)
    low, budget, high = np.quantile(at, [ends[0], 0.5, ends[1]], method="inverted_cdf")
    return Crossing(float(budget), float(low), float(high), float(np.isfinite(at).mean()), start)


def _quantiles(draws: np.ndarray) -> np.ndarray:
    tail = (1 - LEVEL) / 2
    found: np.ndarray = np.quantile(draws, [0.5, tail, 1 - tail], axis=0)
    return found


def _curves(images: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arrays as numbers, checked."""
    images, values = np.asarray(images, dtype=float), np.asarray(values, dtype=float)
    if images.ndim != 1 or values.ndim != 2 or values.shape[0] < 1 or values.shape[1:] != images.shape:
        raise ValueError(
            f"images of shape {images.shape} and values of shape {values.shape}: (evaluations,) and (runs, evaluations)"
        )
    if not len(images) or not np.isfinite(images).all() or images[0] <= 0 or (np.diff(images) <= 0).any():
        raise ValueError("images of a learning curve: finite, above 0 and ascending, one evaluation or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} values of a learning curve are not finite: finite numbers")
    return images, values


def _thinned(images: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of as many neighbours as leave `MOST_POINTS` or fewer; the first few that fill no group are left out."""
    size = -(-len(images) // MOST_POINTS)
    first = len(images) % size
    groups = images[first:].reshape(-1, size), values[:, first:].reshape(len(values), -1, size)
    return groups[0].mean(axis=-1), groups[1].mean(axis=-1)


@dataclass(frozen=True)
class _Solved:
    """Least squares of curves on 1 and z = t^(-c), under one covariance, for each c.

    With inner products under the inverse of the covariance: ``ones`` = 1·1, ``cross`` = 1·z,
    ``det`` = (1·1)(z·z) - (1·z)², the estimates of level and gap of each curve, the squared residuals that they leave
    in all, and ``log_det`` of the covariance.
    """

    ones: float
    cross: np.ndarray
    det: np.ndarray
    level: np.ndarray
    gap: np.ndarray
    left: np.ndarray
    log_det: float


def _solved(covariance: np.ndarray, basis: np.ndarray, curves: np.ndarray) -> _Solved:
    """Solve for curves in the columns of ``(evaluations, curves)`` and z in those of ``(evaluations, exponents)``."""
    factor = np.linalg.cholesky(covariance)
    stacked = np.column_stack([np.ones(len(basis)), basis, curves])
    whitened = linalg.solve_triangular(factor, stacked, lower=True)
    one, z, y = np.split(whitened, [1, 1 + basis.shape[1]], axis=1)
    ones, cross, squares = float((one**2).sum()), (one * z).sum(axis=0), (z**2).sum(axis=0)
    det = ones * squares - cross**2
    first, second = one.T @ y, z.T @ y
    level = (squares[:, None] * first - cross[:, None] * second) / det[:, None]
    gap = (ones * second - cross[:, None] * first) / det[:, None]
    # From the residuals themselves: from inner products, those of curves with little noise would be lost to rounding.
    left = ((y[:, None, :] - one[:, :, None] * level[None] - z[:, :, None] * gap[None]) ** 2).sum(axis=(0, 2))
    return _Solved(ones, cross, det, level, gap, left, 2 * float(np.log(np.diag(factor)).sum()))


def _posterior(images: np.ndarray, values: np.ndarray) -> Fit | None:
    """Draws of the posterior; None where next to none of it has a falling curve above 0."""
    end = float(images[-1])
    best = float(values.mean(axis=0).min())
    images, values = _thinned(images, values)
    runs, points = values.shape
    mean = values.mean(axis=0)
    # The runs around their mean, as S - 1 independent curves.
    around = (linalg.helmert(runs) @ values).T
    spacing = float(np.median(np.diff(images)))
    # Drift begins before the first evaluation, so that none is free of it.
    first = max(images[0] - spacing, images[0] / 2)
    lengths = [-spacing / np.log(rho) if rho else 0.0 for rho in AUTOCORRELATIONS]
    errors = tuple(Errors(length, drift, first, float(images[-1])) for length in lengths for drift in DRIFTS)
    freedom = runs * (points - 2)
    # What rounding leaves of a curve without noise.
    least = points * (1e-12 * float(np.abs(values).max())) ** 2

    def density(log_c: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[_Solved]]:
        """Log posterior density of each R and κ, by log c; the squares that are left; the mean curve's solutions."""
        basis = (images / images[-1])[:, None] ** -np.exp(log_c)[None, :]
        # Flat in level and slope, of which the latter is -c b: one factor c for each run.
        prior = runs * log_c - ((log_c - np.log(CENTRE)) / WIDTH) ** 2 / 2
        own, parts, left = [], [], []
        for each in errors:
            noise = each.noise(images, images)
            if each.drift == DRIFTS[0]:
                apart = _solved(noise, basis, around)
            part = _solved(noise + each.drifting(images, images), basis, mean[:, None])
            volume = part.log_det + np.log(part.det) + (runs - 1) * (apart.log_det + np.log(apart.det))
            left.append(runs * part.left + apart.left + least)
            own.append(prior - 0.75 * np.log1p(each.drift) - (volume + freedom * np.log(left[-1])) / 2)
            parts.append(part)
        return np.array(own), np.array(left), parts

    low, high = np.log(EXPONENTS)
    while True:
        grid = np.linspace(low, high, GRID)
        found, left, parts = density(grid)
        inside = np.flatnonzero(found.max(axis=0) > found.max() - BELOW)
        if len(inside) > GRID // 3 or grid[1] - grid[0] < 1e-12:
            break
        low, high = grid[max(inside[0] - 1, 0)], grid[min(inside[-1] + 1, GRID - 1)]
    weights = np.exp(found - found.max())
    rng = np.random.default_rng(0)
    drawn: list[np.ndarray] = []
    for _ in range(ROUNDS):
        cells = rng.choice(weights.size, DRAWS, p=(weights / weights.sum()).ravel())
        kind, place = np.unravel_index(cells, weights.shape)
        ones = np.array([each.ones for each in parts])[kind]
        cross, det = (np.stack([getattr(each, name) for each in parts])[kind, place] for name in ("cross", "det"))
        level, gap = (np.stack([getattr(each, name)[:, 0] for each in parts])[kind, place] for name in ("level", "gap"))
        # Of the noise of the mean curve.
        variance = left[kind, place] / rng.chisquare(freedom, DRAWS) / runs
        normal = rng.standard_normal((2, DRAWS))
        off = np.sqrt(variance * ones / det) * normal[0]
        levels = level - cross / ones * off + np.sqrt(variance / ones) * normal[1]
        part = np.stack([levels, gap + off, np.exp(grid[place]), np.sqrt(variance), kind])
        drawn.append(part[:, (part[0] >= 0) & (part[1] > 0)])
        if sum(each.shape[1] for each in drawn) >= DRAWS:
            break
    kept = np.concatenate(drawn, axis=1)[:, :DRAWS]
    if kept.shape[1] < FEWEST_DRAWS:
        return None
    level, gap, exponent, scale, kinds = kept
    return Fit(end, images, mean, spacing, best, level, gap, exponent, scale, kinds.astype(int), errors)
