"""The gradient study in words: its answer, its comparisons with closed forms, and what its methods are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.core.results import RunState
from reports import formatting
from reports.analysis.gradients import NAMES, name_of, row_of, rows_of, verdicts
from reports.formatting import count, listing, number, plain, quantity, state_name
from reports.text.smoke import marked
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from bench.core.gradient_results import GradientResults

NOTES: list[tuple[str, str]] = [
    (
        "Pathwise",
        "Write x = μ + σε with ε ~ N(0, 1) and differentiate through x: ∇f(x). The reparameterisation trick (Kingma & "
        "Welling 2014; Rezende et al. 2014). It needs the slope of f.",
    ),
    (
        "Score function",
        "f(x)·∇ log q(x), also called REINFORCE (Williams 1992). It needs f alone, which may be anything: a step, a "
        "black box. In the VAE it estimates the gradient of E[log p(x | z)]; the KL keeps its closed form in both.",
    ),
    (
        "Baseline",
        "(f(x) − b)·∇ log q(x). b is the mean of f over the other draws, in the VAE over the other images of the "
        "batch: independent of the draw that it is taken from, and so without bias (leave-one-out, as in Kool et al. "
        "2019).",
    ),
    (
        "Sticking the landing",
        "The pathwise gradient of log p(x, z) − log q(z | x) with q's own weights held still in the last term "
        "(Roeder et al. 2017). The KL is sampled, not in closed form.",
    ),
    (
        "IWAE and doubly reparameterised",
        "Gradients of the importance-weighted bound of k samples (Burda et al. 2016): differentiated as it stands, "
        "and with each path weighed by its squared normalised weight (DReG, Tucker et al. 2019).",
    ),
    (
        "Closed forms",
        "Every Monte Carlo error is a jackknife over 64 blocks of independent draws. A comparison agrees where its "
        "difference is within so many standard errors that all of them together would hold with 99% probability "
        "(Student's t with 63 degrees of freedom, Bonferroni). The toy of the IWAE has x | z ~ N(z, 1), z ~ N(0, 1) "
        "and a proposal of variance 2/3 (Rainforth et al. 2018) that is 0.5 off the posterior's mean, in one "
        "dimension; the gradient is that of the proposal's mean, and slopes are fitted over k ≥ 32, as they hold for "
        "large k.",
    ),
    (
        "In the VAE",
        "g is the gradient of a batch's mean bound, in nats per image, with respect to all of the encoder's weights, "
        "over draws of the noise for one batch and the weights that pathwise training kept. Its variance is tr Cov "
        "g, its signal-to-noise ratio ‖E g‖ / √(tr Cov g) (after Rainforth et al. 2018, eq. 4), with the noise in the "
        "estimate of ‖E g‖ taken out. ± is a jackknife over 16 blocks of draws.",
    ),
    (
        "Training",
        "The same VAE, budget, order of the images and initial weights for each estimator: only the gradient differs. "
        "Adam divides the gradient by its own size, so that noise slows training rather than breaking it. Learning "
        "curves show the one-sample bound; the table the importance-weighted bound on test, for all with the same "
        "number of samples.",
    ),
]


_CASES: dict[str, tuple[Callable[[str], str], Callable[[float], str]]] = {
    "quadratic": (
        lambda case: f"f = ‖x‖², {case}: variance of the score function over that of pathwise",
        lambda value: f"(D+2)(D+4)/4 = {value:g}",
    ),
    "cosine": (
        lambda case: "f = cos kx: the kσ above which the score function has the smaller variance",
        lambda value: f"{value:.4f}",
    ),
    "signal_to_noise": (
        lambda case: f"{NAMES[case]}: slope of log SNR against log k",
        lambda value: "½" if value > 0 else "−½",
    ),
    "sticking_the_landing": (
        lambda case: "Sticking the landing: variance at the exact posterior",
        lambda value: "0",
    ),
    "step": (
        lambda case: "f = 1 where x > 0: mean of the score function at μ = 0",
        lambda value: f"1/√(2π) = {value:.4f}",
    ),
}


def outcomes(judged: pd.DataFrame) -> Table:
    """The comparisons with their closed forms and verdicts."""
    rows = []
    for row in rows_of(judged):
        describe, exact = _CASES[row.outcome]
        if row.standard_error > 0:
            measured = _with_error(row.measured, row.standard_error)
            away = f"{number(abs(row.measured - row.closed_form) / row.standard_error, 1)} standard errors"
        else:
            measured = quantity(row.measured)
            away = f"rounding allows {quantity(row.tolerance)}"
        verdict = "yes" if row.within else "NO"
        texts = (describe(row.case), measured, exact(row.closed_form))
        rows.append([*map(Cell, texts), Cell(verdict, [away])])
    return Table("What theory says, and what was measured", ["", "Measured", "Closed form", "Within its error?"], rows)


def _with_error(value: float, error: float) -> str:
    """Value and error with two digits of the error, never in thousands: they stand beside a closed form."""
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{number(value, decimals)} ± {number(error, decimals)}"


def _factor(value: float) -> str:
    """A ratio in words: three digits, thousands apart."""
    if not np.isfinite(value):
        return "∞"
    if value >= 1e6:
        return f"{value / 1e6:,.3g} million"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _times(value: float) -> str:
    return f"{_factor(value)} times"


def _span(ratios: dict[int, float]) -> str:
    """The smallest and the largest of ratios, in words."""
    low, high = min(ratios.values()), max(ratios.values())
    return _times(low) if low == high else f"{_factor(low)} to {_times(high)}"


class _Seeds(NamedTuple):
    """What the training runs of one estimator reached, over seeds."""

    estimator: str
    mean: float
    low: float
    high: float
    runs: int


class _Answers:
    """The sentences, each computed from the frames."""

    def __init__(self, results: GradientResults, judged: pd.DataFrame) -> None:
        self.results = results
        self.judged = judged
        self.vae = results.encoder_gradients

    def headline(self) -> str:
        ratios = self.results.closed_forms.quadratic
        top = ratios[ratios["estimator"] == "score_function"].sort_values("dimension").iloc[-1]
        sentence = (
            "The trick is used because it lets the gradient know the slope of what is averaged, and not only its "
            f"value: in {plain(int(top.dimension))} dimensions the score function's gradient of E‖x‖² has "
            f"{_times(top.ratio)} the variance"
        )
        inside = self._ratios("score_function")
        return f"{sentence}, and in this VAE {_span(inside)}." if inside else f"{sentence}."

    def details(self) -> list[str]:
        parts = (
            self._verdict(),
            self._dimension(),
            self._baseline(),
            self._training(),
            self._cosine(),
            self._step(),
            self._landing(),
            self._weighted(),
        )
        return [part for part in parts if part]

    def _cell(self, estimator: str, samples: int, latent_size: int, column: str) -> float | None:
        frame = self.vae
        chosen = frame[
            (frame["estimator"] == estimator) & (frame["samples"] == samples) & (frame["latent_size"] == latent_size)
        ]
        return None if chosen.empty else float(chosen[column].iloc[0])

    def _ratios(self, estimator: str) -> dict[int, float]:
        """Variance over the pathwise one at k = 1, by latent size."""
        found = {}
        for size in sorted(self.vae.loc[self.vae["samples"] == 1, "latent_size"].unique()):
            variance, pathwise = (self._cell(name, 1, size, "variance") for name in (estimator, "pathwise"))
            if variance is not None and pathwise:
                found[int(size)] = variance / pathwise
        return found

    def _verdict(self) -> str:
        missed = int((~self.judged["within"]).sum())
        if not missed:
            return f"All {len(self.judged)} comparisons with a closed form agree within their errors."
        return (
            f"{count(missed, 'comparison')} of {len(self.judged)} with a closed form "
            f"{'does' if missed == 1 else 'do'} not agree within the errors: see the table."
        )

    def _dimension(self) -> str:
        parts = [f"{_factor(ratio)} with {size} latents" for size, ratio in self._ratios("score_function").items()]
        return (
            "Without a slope, the one number f(x) must show how f depends on each of D coordinates, and what the "
            "others add to it is noise: for E‖x‖² the ratio of variances is (D+2)(D+4)/4. For the encoder of the "
            f"trained VAE the ratio of the score function's variance to the pathwise one's is {listing(parts)}."
            if parts
            else ""
        )

    def _baseline(self) -> str:
        ratios = self.results.closed_forms.quadratic
        top = ratios[ratios["estimator"] == "score_function_baseline"].sort_values("dimension").iloc[-1]
        ratios_inside = self._ratios("score_function_baseline")
        inside = f", and to {_span(ratios_inside)} in the VAE" if ratios_inside else ""
        return (
            f"A baseline takes most of that away, to {_times(top.ratio)} at D = {plain(int(top.dimension))}, where "
            f"theory has (D+4)/2{inside}; it does not take away the growth with D."
        )

    def _training(self) -> str:
        runs = self.results.runs
        complete = runs[(runs["state"] == RunState.COMPLETE) & (runs["samples"] == 1)]
        size = complete.loc[complete["estimator"] != "pathwise", "latent_size"]
        complete = complete[complete["latent_size"].isin(size)]
        bits = complete.groupby("estimator")["bits_per_dim"].agg(["mean", "min", "max", "count"]).sort_values("mean")
        if "pathwise" not in bits.index or len(bits) < 2:
            return ""
        parts = [
            f"{number(row.mean, 3)} by {name_of(row.estimator)}"
            + (f" ({number(row.low, 3)} to {number(row.high, 3)} over seeds)" if row.runs > 1 else "")
            for row in (_Seeds(*values) for values in bits.reset_index().to_numpy())
        ]
        return f"Trained on equally many images, the VAE reaches {listing(parts)} (test bits/dim, lower is better)."

    def _cosine(self) -> str:
        crossing = row_of(self.judged, outcome="cosine")
        frame = self.results.closed_forms.cosine
        widest = float(frame["k_sigma"].max())
        pathwise, score = (row_of(frame, k_sigma=widest, estimator=name) for name in ("pathwise", "score_function"))
        return (
            "It is not the better one where f oscillates within the width of q: slopes then grow and cancel, values "
            f"stay bounded. For cos kx the score function has the smaller variance beyond kσ = "
            f"{quantity(crossing.measured, crossing.standard_error)}; at kσ = {widest:g} pathwise has "
            f"{_times(pathwise.variance / score.variance)} its variance."
        )

    def _step(self) -> str:
        frame = self.results.closed_forms.step
        pathwise, score = (row_of(frame, mean=0, estimator=name) for name in ("pathwise", "score_function"))
        return (
            "And it is wrong where f jumps: the slope of a step is 0 almost everywhere, so the pathwise gradient is "
            f"{pathwise.gradient:g} with no variance at all, while the truth is "
            f"{number(score.closed_form, 3)} and the score function finds "
            f"{quantity(score.gradient, score.gradient_error)}. Discrete latents are the same case."
        )

    def _landing(self) -> str:
        frame = self.results.closed_forms.landing
        names = ("pathwise", "sticking_the_landing")
        pathwise, landing = (row_of(frame, offset=0, estimator=name).variance for name in names)
        exact = (
            "Where q is the exact posterior, sticking the landing has no variance but rounding "
            f"({quantity(landing)}), and the pathwise gradient with a sampled KL "
            f"{quantity(pathwise)}."
        )
        ratios = self._ratios("sticking_the_landing")
        parts = [f"{_factor(ratio)} with {size} latents" for size, ratio in ratios.items()]
        if not parts:
            return exact
        return (
            f"{exact} In this VAE, whose q is not exact, the ratio of its variance to that of the pathwise gradient "
            f"with its KL in closed form is {listing(parts)}: below 1 it is the better one."
        )

    def _weighted(self) -> str:
        frame = self.results.closed_forms.signal_to_noise.set_index(["estimator", "samples"])["snr"]
        samples = [int(k) for k in frame["iwae"].index]
        first, last = min(samples), max(samples)
        sentence = (
            "More samples make the IWAE's bound tighter and its encoder's gradient worse: from k = "
            f"{first} to {last} its signal-to-noise ratio goes from {number(frame['iwae', first], 2)} to "
            f"{number(frame['iwae', last], 3)} in the toy, that of the doubly reparameterised gradient from "
            f"{number(frame['doubly_reparameterised', first], 2)} to {number(frame['doubly_reparameterised', last], 1)}"
        )
        many = self.vae[self.vae["samples"] > 1]
        if many["samples"].nunique() < 2:
            return f"{sentence}."
        low, high = int(many["samples"].min()), int(many["samples"].max())
        size = int(many["latent_size"].iloc[0])
        parts = []
        for estimator in ("pathwise", "doubly_reparameterised"):
            start, end = (self._cell(estimator, k, size, "snr") for k in (low, high))
            if start is not None and end is not None:
                parts.append(f"{name_of(estimator, high)} from {number(start, 2)} to {number(end, 2)}")
        start, end = (self._cell("doubly_reparameterised", k, size, "snr") for k in (low, high))
        falls = start is not None and end is not None and end < start
        caution = " The theory is of large k: at these k the VAE does not show its rise." if falls else ""
        return f"{sentence}. In the VAE, from k = {low} to {high}: {listing(parts)}.{caution}"


def runs(results: GradientResults) -> Table:
    """What each training run reached, or how it ended."""
    columns = ["Estimator", "k", "Latents", "Seed", "Test bits/dim", "Seconds"]
    rows = []
    for row in rows_of(results.runs):
        complete = row.state == RunState.COMPLETE
        bits = quantity(row.bits_per_dim, row.standard_error) if complete else state_name(row.state)
        rows.append(
            [
                Cell(name_of(row.estimator, row.samples)),
                Cell(str(row.samples)),
                Cell(str(row.latent_size)),
                Cell(str(row.seed)),
                Cell(bits, [row.reason] if row.reason else []),
                Cell(quantity(row.seconds) if complete else formatting.MISSING),
            ]
        )
    return Table("Training runs: ± is one standard error over test images", columns, rows)


def answer(results: GradientResults) -> tuple[str, list[str]]:
    """The headline and the sentences under it."""
    answers = _Answers(results, verdicts(results.closed_forms.outcomes))
    return marked(answers.headline(), results.settings), answers.details()
