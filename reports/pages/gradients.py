"""The gradient study's report: its answer in words, the closed forms with their verdicts, figures, tables and CSV."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from scipy.stats import t

from bench.core.results import RunState
from reports import formatting
from reports.figures import svg
from reports.figures.series import STYLES, Axes, Series, draw
from reports.formatting import count, listing, number, plain, quantity, state_name
from reports.text.tables import Cell, Table, facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bench.core.gradient_results import GradientResults

CONFIDENCE = 0.99
"""Of all closed-form comparisons together."""
DEGREES_OF_FREEDOM = 63
"""Every Monte Carlo error is a jackknife over 64 blocks of draws."""
NAMES = {
    "pathwise": "pathwise",
    "iwae": "IWAE",
    "score_function": "score function",
    "score_function_baseline": "score function with baseline",
    "sticking_the_landing": "sticking the landing",
    "doubly_reparameterised": "doubly reparameterised",
}
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
        "over draws of the noise for one batch and the weights that pathwise training ended at. Its variance is tr Cov "
        "g, its signal-to-noise ratio ‖E g‖ / √(tr Cov g) (after Rainforth et al. 2018, eq. 4), with the noise in the "
        "estimate of ‖E g‖ taken out. ± is a jackknife over 16 blocks of draws.",
    ),
    (
        "Training",
        "The same VAE, budget, order of the images and initial weights for each estimator: only the gradient differs. "
        "Adam divides the gradient by its own size, so that noise slows training rather than breaking it. Learning "
        "curves show the one-sample bound; the table the importance-weighted bound on validation, for all with the "
        "same number of samples. Test images are not used.",
    ),
]


@dataclass(frozen=True)
class FigureView:
    """A figure in both forms, its heading and caption."""

    title: str
    caption: str
    inline: Markup
    standalone: str
    path: str


@dataclass(frozen=True)
class GradientPage:
    """What both templates read."""

    study_id: str
    question: str
    data: str
    headline: str
    details: list[str]
    outcomes: Table
    why: list[FigureView]
    not_better: list[FigureView]
    weighted: list[FigureView]
    training: list[FigureView]
    runs: Table
    dataset: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    provenance: list[tuple[str, str]]
    command: str

    @property
    def figures(self) -> list[FigureView]:
        """All figures, in their order on the page."""
        return [*self.why, *self.not_better, *self.weighted, *self.training]


def verdicts(compared: pd.DataFrame) -> pd.DataFrame:
    """The outcomes with ``allowed``, the largest difference that chance and rounding explain, and ``within``."""
    random = int((compared["standard_error"] > 0).sum())
    factor = float(t.ppf(1 - (1 - CONFIDENCE) / (2 * max(1, random)), DEGREES_OF_FREEDOM))
    allowed = factor * compared["standard_error"] + compared["tolerance"]
    within = (compared["measured"] - compared["closed_form"]).abs() <= allowed
    return compared.assign(allowed=allowed, within=within)


def _rows(frame: pd.DataFrame) -> Iterable[Any]:
    """The frame's rows, their columns as attributes."""
    return frame.itertuples(index=False)


def _row(frame: pd.DataFrame, **where: object) -> Any:
    """The first row that has these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return next(iter(_rows(frame)))


def _name(estimator: str, samples: int = 1) -> str:
    return NAMES["iwae"] if estimator == "pathwise" and samples > 1 else NAMES.get(estimator, estimator)


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
    for row in _rows(judged):
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
            f"{number(row.mean, 3)} by {_name(row.estimator)}"
            + (f" ({number(row.low, 3)} to {number(row.high, 3)} over seeds)" if row.runs > 1 else "")
            for row in (_Seeds(*values) for values in bits.reset_index().to_numpy())
        ]
        return (
            f"Trained on equally many images, the VAE reaches {listing(parts)} (validation bits/dim, lower is better)."
        )

    def _cosine(self) -> str:
        crossing = _row(self.judged, outcome="cosine")
        frame = self.results.closed_forms.cosine
        widest = float(frame["k_sigma"].max())
        pathwise, score = (_row(frame, k_sigma=widest, estimator=name) for name in ("pathwise", "score_function"))
        return (
            "It is not the better one where f oscillates within the width of q: slopes then grow and cancel, values "
            f"stay bounded. For cos kx the score function has the smaller variance beyond kσ = "
            f"{quantity(crossing.measured, crossing.standard_error)}; at kσ = {widest:g} pathwise has "
            f"{_times(pathwise.variance / score.variance)} its variance."
        )

    def _step(self) -> str:
        frame = self.results.closed_forms.step
        pathwise, score = (_row(frame, mean=0, estimator=name) for name in ("pathwise", "score_function"))
        return (
            "And it is wrong where f jumps: the slope of a step is 0 almost everywhere, so the pathwise gradient is "
            f"{pathwise.gradient:g} with no variance at all, while the truth is "
            f"{number(score.closed_form, 3)} and the score function finds "
            f"{quantity(score.gradient, score.gradient_error)}. Discrete latents are the same case."
        )

    def _landing(self) -> str:
        frame = self.results.closed_forms.landing
        names = ("pathwise", "sticking_the_landing")
        pathwise, landing = (_row(frame, offset=0, estimator=name).variance for name in names)
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
                parts.append(f"{_name(estimator, high)} from {number(start, 2)} to {number(end, 2)}")
        start, end = (self._cell("doubly_reparameterised", k, size, "snr") for k in (low, high))
        falls = start is not None and end is not None and end < start
        caution = " The theory is of large k: at these k the VAE does not show its rise." if falls else ""
        return f"{sentence}. In the VAE, from k = {low} to {high}: {listing(parts)}.{caution}"


def _series(
    frame: pd.DataFrame, x: str, y: str, error: str, samples: int = 1, known: str = "", joined: bool = False
) -> list[Series]:
    """One series an estimator, in the order of :data:`STYLES`."""
    found = []
    for estimator in STYLES:
        own = frame[frame["estimator"] == estimator].sort_values(x)
        if own.empty:
            continue
        line = (own[x].tolist(), own[known].tolist()) if known else ([], [])
        label = _name(estimator, samples)
        found.append(Series(estimator, label, own[x].tolist(), own[y].tolist(), own[error].tolist(), line, joined))
    return found


def _view(series: Iterable[Series], axes: Axes, title: str, caption: str, stem: str) -> FigureView:
    raw = draw(list(series), axes)
    palette = {style.colour: f"var(--{style.name})" for style in STYLES.values()}
    return FigureView(
        title, caption, svg.inline(raw, title, f"{stem}-", palette), svg.standalone(raw, title), f"figures/{stem}.svg"
    )


def _why(results: GradientResults) -> list[FigureView]:
    known, vae = results.closed_forms, results.encoder_gradients
    views = [
        _view(
            _series(known.quadratic, "dimension", "ratio", "ratio_error", known="closed_form"),
            Axes("D", "variance, pathwise = 1", True, True, sorted(known.quadratic["dimension"].unique())),
            "f = ‖x‖²: variance against dimension",
            "Variance of the score function over that of the pathwise gradient. Lines: (D+2)(D+4)/4, and (D+4)/2 with "
            "the baseline.",
            "quadratic",
        )
    ]
    single = vae[vae["samples"] == 1]
    if single.empty:
        return views
    sizes = sorted(single["latent_size"].unique())
    if len(sizes) > 1:
        axes = Axes("latent size", "tr Cov g, (nats per image)²", True, True, sizes)
        title = "In the VAE: variance of the encoder's gradient against latent size"
        caption = "One batch, k = 1, weights that pathwise training ended at. ± one standard error."
        views.append(
            _view(
                _series(single, "latent_size", "variance", "variance_error", joined=True), axes, title, caption, "vae-d"
            )
        )
        views.append(
            _view(
                _series(single, "latent_size", "snr", "snr_error", joined=True),
                Axes("latent size", "‖E g‖ / √(tr Cov g)", True, False, sizes),
                "In the VAE: signal-to-noise ratio against latent size",
                "The same gradients. At 0 the noise hides the signal in as many draws as were taken.",
                "vae-snr-d",
            )
        )
    return views


def _not_better(results: GradientResults, judged: pd.DataFrame) -> list[FigureView]:
    known = results.closed_forms
    crossing = _row(judged, outcome="cosine")
    return [
        _view(
            _series(known.cosine, "k_sigma", "variance", "variance_error", known="closed_form"),
            Axes("kσ", "variance, in units of 1/σ²", False, True, marked=float(crossing.closed_form)),
            "f = cos kx: variance against kσ",
            "Lines are the closed forms. Right of the dashed line, kσ = 0.851, the score function is the better one.",
            "cosine",
        ),
        _view(
            _series(known.step, "mean", "gradient", "gradient_error", known="closed_form"),
            Axes("μ", "∂/∂μ P(x > 0)"),
            "f = 1 where x > 0: the gradient itself",
            "Lines: the truth, φ(μ), on which the two curves lie. The pathwise gradient is 0 everywhere.",
            "step",
        ),
        _view(
            _series(known.landing, "offset", "variance", "variance_error", joined=True),
            Axes("distance of q from the exact posterior", "variance"),
            "Sticking the landing: variance near the posterior",
            "The linear-Gaussian toy, k = 1: q has the posterior's variance times one plus the distance, and a mean so "
            "far from its own. The pathwise gradient's KL is sampled.",
            "landing",
        ),
    ]


def _weighted(results: GradientResults, judged: pd.DataFrame) -> list[FigureView]:
    known, vae = results.closed_forms.signal_to_noise, results.encoder_gradients
    samples = sorted(known["samples"].unique())
    series = []
    for one in _series(known, "samples", "snr", "snr_error"):
        slope = _row(judged, outcome="signal_to_noise", case=one.estimator)
        large = known[(known["estimator"] == one.estimator) & (known["samples"] >= 32)]
        places = large["samples"].to_numpy(dtype=float)
        weights = (large["snr"] / large["snr_error"]) ** 2
        centre = float(np.average(np.log(large["snr"]) - slope.measured * np.log(places), weights=weights))
        ends = places[[0, -1]]
        line = (ends.tolist(), np.exp(centre + slope.measured * np.log(ends)).tolist())
        label = f"{one.label}, slope {quantity(slope.measured, slope.standard_error)}"
        series.append(Series(one.estimator, label, one.x, one.y, one.error, line))
    views = [
        _view(
            series,
            Axes("k", "|mean| / standard deviation", True, True, samples[::2]),
            "The toy: signal-to-noise ratio of the encoder's gradient against k",
            "Lines are the fits for k ≥ 32; theory has slopes of −½ and ½.",
            "snr",
        )
    ]
    many = vae[vae["samples"] > 1]
    if many["samples"].nunique() > 1:
        ks = sorted(many["samples"].unique())
        views += [
            _view(
                _series(many, "samples", "snr", "snr_error", samples=2, joined=True),
                Axes("k", "‖E g‖ / √(tr Cov g)", True, True, ks),
                "In the VAE: signal-to-noise ratio against k",
                "The encoder's gradient of the importance-weighted bound, over all of its weights.",
                "vae-snr-k",
            ),
            _view(
                _series(many, "samples", "variance", "variance_error", samples=2, joined=True),
                Axes("k", "tr Cov g, (nats per image)²", True, True, ks),
                "In the VAE: variance against k",
                "The same gradients.",
                "vae-k",
            ),
        ]
    return views


def _training(results: GradientResults) -> list[FigureView]:
    points = results.histories
    compared = points.groupby("latent_size")["estimator"].nunique() if len(points) else pd.Series(dtype=int)
    points = points[points["latent_size"].isin(compared.index[compared > 1])]
    if points.empty:
        return []
    # The first evaluations would press all others into a line.
    late = points[points["images"] >= 0.2 * points["images"].max()]["bits_per_dim"]
    margin = 0.08 * (float(late.max()) - float(late.min())) or 0.05
    limits = (float(late.min()) - margin, float(late.max()) + margin)
    views = []
    for samples in sorted(points["samples"].unique()):
        group = points[points["samples"] == samples]
        curves = [
            (estimator, run)
            for estimator in STYLES
            for _, run in group[group["estimator"] == estimator].groupby("seed")
        ]
        series = [
            Series(name, _name(name, samples), run["images"].tolist(), run["bits_per_dim"].tolist(), joined=True)
            for name, run in curves
        ]
        title = f"Learning curves, k = {samples}: validation bits/dim against training images seen"
        caption = "One line a seed; one-sample bound. One scale for all k, without the first fifth of training."
        axes = Axes("training images seen", "validation bits/dim", limits=limits)
        views.append(_view(series, axes, title, caption, f"learning-{samples}"))
    return views


def _runs(results: GradientResults) -> Table:
    columns = ["Estimator", "k", "Latents", "Seed", "Validation bits/dim", "Seconds"]
    rows = []
    for row in _rows(results.runs):
        complete = row.state == RunState.COMPLETE
        bits = quantity(row.bits_per_dim, row.standard_error) if complete else state_name(row.state)
        rows.append(
            [
                Cell(_name(row.estimator, row.samples)),
                Cell(str(row.samples)),
                Cell(str(row.latent_size)),
                Cell(str(row.seed + 1)),
                Cell(bits, [row.reason] if row.reason else []),
                Cell(quantity(row.seconds) if complete else formatting.MISSING),
            ]
        )
    return Table("Training runs: ± is one standard error over validation images", columns, rows)


def answer(results: GradientResults) -> tuple[str, list[str]]:
    """The headline and the sentences under it."""
    answers = _Answers(results, verdicts(results.closed_forms.outcomes))
    return answers.headline(), answers.details()


def page(results: GradientResults) -> GradientPage:
    """Compute the page from what was measured."""
    judged = verdicts(results.closed_forms.outcomes)
    headline, details = answer(results)
    provenance = dict(results.provenance)
    command = str(provenance.pop("command", ""))
    return GradientPage(
        study_id=results.study_id,
        question=results.question,
        data=str(results.dataset.get("name", "unknown data")),
        headline=headline,
        details=details,
        outcomes=outcomes(judged),
        why=_why(results),
        not_better=_not_better(results, judged),
        weighted=_weighted(results, judged),
        training=_training(results),
        runs=_runs(results),
        dataset=facts(results.dataset),
        settings=facts(results.settings),
        provenance=facts(provenance),
        command=command,
    )


def _kept(escape: Callable[[str], str]) -> Callable[[object], object]:
    return lambda value: value if isinstance(value, Markup) else escape(str(value))


def html(content: GradientPage) -> str:
    """The page as one self-contained HTML file: every value escaped, no script, nothing loaded."""
    style = resources.files("reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_kept(formatting.visible),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("gradients.html.j2")
    return template.render(page=content, css=Markup(style), notes=NOTES)  # noqa: S704 - the package's own style sheet


def markdown(content: GradientPage) -> str:
    """The page's Markdown twin, every value escaped for Markdown."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=False,  # noqa: S701 - not HTML: `finalize` escapes for Markdown, HTML included
        undefined=StrictUndefined,
        finalize=_kept(formatting.markdown),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fence"] = formatting.fence
    environment.filters["address"] = formatting.address
    return environment.get_template("gradients.md.j2").render(page=content, notes=NOTES)


def write_report(results: GradientResults, folder: Path) -> Path:
    """Write the page, its Markdown twin with figures beside it, and every frame as CSV, into ``folder``.

    The same results give the same bytes.

    Returns:
        The path of the HTML page.
    """
    content = page(results)
    known = results.closed_forms
    frames: dict[str, Any] = {
        "closed_form_outcomes": verdicts(known.outcomes),
        "quadratic": known.quadratic,
        "cosine": known.cosine,
        "step": known.step,
        "signal_to_noise": known.signal_to_noise,
        "sticking_the_landing": known.landing,
        "encoder_gradients": results.encoder_gradients,
        "runs": results.runs,
        "histories": results.histories,
    }
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for view in content.figures:
        (folder / view.path).write_text(view.standalone, encoding="utf-8")
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / "report.md").write_text(markdown(content), encoding="utf-8", errors="backslashreplace")
    written = folder / "report.html"
    written.write_text(html(content), encoding="utf-8", errors="backslashreplace")
    return written
