"""Gradient estimators with known moments: ∇_μ E[f(x)], x = μ + σε, and the linear-Gaussian IWAE.

*Pathwise* is ∇f(x)·∂x/∂μ, the reparameterisation trick. The *score function* is f(x)·∇_μ log q(x) = f(x)·(x - μ)/σ²,
which needs f but not its derivative (Williams 1992; Mohamed et al. 2020 compare the two). Everything is NumPy in
double precision; every error is a Monte Carlo error over blocks of independent draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from bench.core.gradient_results import ClosedForms
from bench.core.seeds import derive_seed
from bench.workflows.gradients.jackknife import jackknife

Array = npt.NDArray[np.float64]

BLOCKS = 64
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64)
TESTED_DIMENSIONS = (1, 4, 16, 64)
K_SIGMA = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0)
CROSSING_GRID = np.linspace(0.7, 1.0, 13)
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FITTED_FROM = 32
"""Smallest k of the fitted slopes, which hold for large k: above it, higher-order terms change the slope by less than
0.002."""
OFFSETS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
STEP_MEANS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)

OBSERVATION, PRIOR_MEAN = 1.0, 0.0
"""x and μ of the model x | z ~ N(z, 1), z ~ N(μ, 1) (Rainforth et al. 2018, section 4.1), here of one dimension."""
PROPOSAL_VARIANCE, PROPOSAL_OFFSET = 2 / 3, 0.5
"""q(z | x) is wider than the posterior, whose variance is ½, as in their example, and shifted from its mean."""


def measure(draws: int, seed: int, on_part: Callable[[str], None] = lambda part: None) -> ClosedForms:
    """Measure all closed forms from ``draws`` draws each (for the IWAE, of each k), rounded up to whole blocks."""
    per_block = max(2, -(-draws // BLOCKS))
    on_part("‖x‖²")
    quadratic = measure_quadratic(per_block, seed)
    on_part("cos kx")
    cosine, crossing = measure_cosine(per_block, seed)
    on_part("step")
    step = measure_step(per_block, seed)
    on_part("IWAE and DReG")
    ratios, slopes = measure_signal_to_noise(per_block, seed)
    on_part("sticking the landing")
    landing, landed = measure_landing(per_block, seed)
    tested = quadratic[
        (quadratic["estimator"] == "score_function") & quadratic["dimension"].isin(TESTED_DIMENSIONS)
    ].itertuples()
    rows = [
        *(("quadratic", f"D = {row.dimension}", row.ratio, row.ratio_error, row.closed_form, 0.0) for row in tested),
        crossing,
        *slopes,
        landed,
        *(
            ("step", row.estimator, row.gradient, row.gradient_error, row.closed_form, 0.0)
            for row in step[(step["mean"] == 0) & (step["estimator"] == "score_function")].itertuples()
        ),
    ]
    columns = ["outcome", "case", "measured", "standard_error", "closed_form", "tolerance"]
    return ClosedForms(quadratic, cosine, step, ratios, landing, pd.DataFrame(rows, columns=columns))


def _generators(seed: int, name: str) -> Iterator[np.random.Generator]:
    """A random generator for each block."""
    for block in range(BLOCKS):
        yield np.random.Generator(np.random.Philox(key=derive_seed(seed, "gradients", name, block)))


# f(x) = ‖x‖² at μ = 0, σ = 1.


def quadratic_ratio(dimension: int) -> float:
    """Var[score function] / Var[pathwise] = (D+2)(D+4)/4: E[‖x‖⁴ x_j²] = (D+2)(D+4) over E[(2 x_j)²] = 4."""
    return (dimension + 2) * (dimension + 4) / 4


def quadratic_ratio_with_baseline(dimension: int) -> float:
    """With the baseline E f = D: E[(‖x‖² - D)² x_j²] / 4 = (D+4)/2."""
    return (dimension + 4) / 2


def measure_quadratic(per_block: int, seed: int) -> pd.DataFrame:
    """Variance of the score function over that of the pathwise gradient, with and without a leave-one-out baseline."""
    rows = []
    for dimension in DIMENSIONS:
        blocks = []
        for rng in _generators(seed, f"quadratic {dimension}"):
            x = rng.standard_normal((per_block, dimension))
            f = np.einsum("nd,nd->n", x, x)
            others = (f.sum() - f) / (per_block - 1)
            estimates = (2 * x, f[:, None] * x, (f - others)[:, None] * x)
            blocks.append([estimate.var(axis=0, ddof=1).sum() for estimate in estimates])
        ratios = jackknife(lambda mean: mean[1:] / mean[0], np.asarray(blocks))
        for i, (estimator, known) in enumerate(
            (("score_function", quadratic_ratio), ("score_function_baseline", quadratic_ratio_with_baseline))
        ):
            rows.append((dimension, estimator, ratios.value[i], ratios.standard_error[i], known(dimension)))
    return pd.DataFrame(rows, columns=["dimension", "estimator", "ratio", "ratio_error", "closed_form"])


# f(x) = cos(kx) at μ = 0; s = kσ, and variances in units of 1/σ².


def cosine_pathwise_variance(s: float) -> float:
    """Var[-k sin(kx)] σ² = s²(1 - e^(-2s²))/2."""
    return float(s**2 * -np.expm1(-2 * s**2) / 2)


def cosine_score_variance(s: float) -> float:
    """Var[cos(kx) x/σ²] σ² = (1 + (1 - 4s²) e^(-2s²))/2."""
    return float((1 + (1 - 4 * s**2) * np.exp(-2 * s**2)) / 2)


def cosine_crossing() -> float:
    """The kσ at which the two variances are equal, 0.851; above it the score function's is smaller."""
    return float(brentq(lambda s: cosine_pathwise_variance(s) - cosine_score_variance(s), 0.5, 1.5, xtol=1e-12))


def measure_cosine(per_block: int, seed: int) -> tuple[pd.DataFrame, tuple[str, str, float, float, float, float]]:
    """Measure both variances against kσ, and the kσ where they cross."""
    grid = np.concatenate([K_SIGMA, CROSSING_GRID])
    blocks = np.empty((BLOCKS, 2, len(grid)))
    for block, rng in enumerate(_generators(seed, "cosine")):
        u = rng.standard_normal(per_block)
        for i, s in enumerate(grid):
            blocks[block, :, i] = np.var(-s * np.sin(s * u), ddof=1), np.var(np.cos(s * u) * u, ddof=1)
    shown = jackknife(lambda mean: mean, blocks[:, :, : len(K_SIGMA)])
    names = (("pathwise", cosine_pathwise_variance), ("score_function", cosine_score_variance))
    rows = [
        (s, name, shown.value[j, i], shown.standard_error[j, i], known(s))
        for j, (name, known) in enumerate(names)
        for i, s in enumerate(K_SIGMA)
    ]
    crossing = jackknife(_crossing, blocks[:, :, len(K_SIGMA) :])
    columns = ["k_sigma", "estimator", "variance", "variance_error", "closed_form"]
    outcome = ("cosine", "crossing", float(crossing.value), float(crossing.standard_error), cosine_crossing(), 0.0)
    return pd.DataFrame(rows, columns=columns), outcome


def _crossing(variances: Array) -> float:
    """Where a cubic through the logarithm of the variances' ratio is 0."""
    fit = np.polynomial.Polynomial.fit(CROSSING_GRID, np.log(variances[0] / variances[1]), 3)
    low, high = CROSSING_GRID[0], CROSSING_GRID[-1]
    # With few draws the curves may not cross on the grid: take its nearer end.
    if fit(low) * fit(high) > 0:
        return float(low if abs(fit(low)) < abs(fit(high)) else high)
    return float(brentq(fit, low, high))


# f(x) = 1 where x > 0, else 0, σ = 1.


def measure_step(per_block: int, seed: int) -> pd.DataFrame:
    """∂/∂μ P(x > 0) = φ(μ): the pathwise gradient of a step is 0 almost everywhere, and wrong."""
    rows = []
    for mean in STEP_MEANS:
        averages = [
            np.mean((mean + noise > 0) * noise)
            for noise in (rng.standard_normal(per_block) for rng in _generators(seed, f"step {mean}"))
        ]
        score = jackknife(lambda average: average, np.asarray(averages))
        exact = float(norm.pdf(mean))
        rows.append((mean, "score_function", float(score.value), float(score.standard_error), exact))
        rows.append((mean, "pathwise", 0.0, 0.0, exact))
    return pd.DataFrame(rows, columns=["mean", "estimator", "gradient", "gradient_error", "closed_form"])


# The importance-weighted bound of the linear-Gaussian model; gradients with respect to the proposal's mean.


def importance_weighted_gradients(noise: Array, offset: float, variance: float) -> tuple[Array, Array]:
    """The IWAE's and the doubly reparameterised gradient with respect to the mean m of q; noise (n, k), each (n,).

    IWAE: Σ w̃_i d log w_i/dm. DReG: Σ w̃_i² ∂log w_i/∂z_i (Tucker et al. 2019, eq. 8); ∂z/∂m = 1. At k = 1 they are
    the pathwise gradient of the ELBO with a sampled KL, and the sticking-the-landing gradient.
    """
    scale = np.sqrt(variance)
    z = (OBSERVATION + PRIOR_MEAN) / 2 + offset + scale * noise
    log_w = 0.5 * (noise**2 - (z - PRIOR_MEAN) ** 2 - (OBSERVATION - z) ** 2)
    weights = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    along_path = (OBSERVATION - z) - (z - PRIOR_MEAN)
    iwae = np.einsum("nk,nk->n", weights, along_path)
    dreg = np.einsum("nk,nk->n", weights**2, along_path + noise / scale)
    return iwae, dreg


def measure_signal_to_noise(
    per_block: int, seed: int, samples: Sequence[int] = SAMPLES
) -> tuple[pd.DataFrame, list[tuple[str, str, float, float, float, float]]]:
    """SNR = |mean| / standard deviation of both gradients against k, and the slopes of log SNR against log k.

    The IWAE's falls as k^-½ (Rainforth et al. 2018, theorem 1), DReG's rises as k^½ (Tucker et al. 2019, section 6).
    Both are leading terms at large k: lines are fitted over k >= 32, weighted by the errors.
    """
    moments = np.empty((BLOCKS, 2, 2, len(samples)))  # (block, mean or mean square, estimator, k)
    for i, k in enumerate(samples):
        for block, rng in enumerate(_generators(seed, f"importance weighted {k}")):
            noise = rng.standard_normal((per_block, k))
            found = np.asarray(importance_weighted_gradients(noise, PROPOSAL_OFFSET, PROPOSAL_VARIANCE))
            moments[block, :, :, i] = found.mean(axis=1), (found**2).mean(axis=1)

    def ratio(mean: Array) -> Array:
        return np.asarray(np.abs(mean[0]) / np.sqrt(mean[1] - mean[0] ** 2))

    snr = jackknife(ratio, moments)
    rows = [
        (k, name, snr.value[j, i], snr.standard_error[j, i])
        for j, name in enumerate(("iwae", "doubly_reparameterised"))
        for i, k in enumerate(samples)
    ]
    log_k = np.log(samples)
    fitted = np.asarray(samples) >= FITTED_FROM
    slopes: list[tuple[str, str, float, float, float, float]] = []
    for j, (case, expected) in enumerate((("iwae", -0.5), ("doubly_reparameterised", 0.5))):
        precision = (snr.value / snr.standard_error)[j, fitted]

        def slope(mean: Array, j: int = j, precision: Array = precision) -> float:
            return float(np.polyfit(log_k[fitted], np.log(ratio(mean)[j, fitted]), 1, w=precision)[0])

        fit = jackknife(slope, moments)
        slopes.append(("signal_to_noise", case, float(fit.value), float(fit.standard_error), expected, 0.0))
    return pd.DataFrame(rows, columns=["samples", "estimator", "snr", "snr_error"]), slopes


def measure_landing(per_block: int, seed: int) -> tuple[pd.DataFrame, tuple[str, str, float, float, float, float]]:
    """Variance of the pathwise and the sticking-the-landing gradient, with q at a distance from the posterior.

    q has the posterior's variance times (1 + offset), and its mean plus the offset. At 0 the terms of ∂log w/∂z cancel
    for every z, up to rounding of a few units in the last place of the largest term.
    """
    rows = []
    for offset in OFFSETS:
        variances = [
            [gradient.var(ddof=1) for gradient in importance_weighted_gradients(noise, offset, 0.5 * (1 + offset))]
            for noise in (rng.standard_normal((per_block, 1)) for rng in _generators(seed, "landing"))
        ]
        both = jackknife(lambda mean: mean, np.asarray(variances))
        for i, name in enumerate(("pathwise", "sticking_the_landing")):
            rows.append((offset, name, float(both.value[i]), float(both.standard_error[i])))
    frame = pd.DataFrame(rows, columns=["offset", "estimator", "variance", "variance_error"])
    measured = frame.loc[(frame["offset"] == 0) & (frame["estimator"] == "sticking_the_landing"), "variance"].item()
    largest = 16.0
    rounding = (4 * np.finfo(np.float64).eps * largest) ** 2
    return frame, ("sticking_the_landing", "exact posterior", measured, 0.0, 0.0, float(rounding))
