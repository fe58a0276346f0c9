"""The figures of the gradient study: points with error bars, and the lines that theory draws through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.analysis.gradients import name_of, row_of
from reports.figures.grammar import Axis, Figure, Line, Panel, Points, Rule
from reports.figures.styles import HUES, Style
from reports.formatting import quantity, tick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.core.gradient_results import GradientResults
    from reports.figures.grammar import Layer

STYLES: dict[str, Style] = {
    "pathwise": HUES["vae"],
    "iwae": HUES["vae"],
    "score_function": HUES["glow"],
    "score_function_baseline": HUES["other-1"],
    "sticking_the_landing": HUES["other-2"],
    "doubly_reparameterised": HUES["other-3"],
}
"""The look of each estimator, the same throughout the report."""
VARIANCE, RATIO = Axis("tr Cov g, (nats per image)²", scale="log"), "‖E g‖ / √(tr Cov g)"


def _figure(title: str, x: Axis, y: Axis, layers: Sequence[Layer], caption: str, stem: str, *, in_csv: str) -> Figure:
    return Figure(title, [Panel(x, y, layers, height=3.8)], caption, legend=True, stem=stem, numbers=f"{in_csv}.csv")


def _at(label: str, places: Sequence[float]) -> Axis:
    """A logarithmic axis with ticks at the places that were measured."""
    return Axis(label, scale="log", ticks=[(float(place), tick(float(place))) for place in places])


def _estimators(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each estimator, in the order of :data:`STYLES`."""
    for estimator in STYLES:
        own = frame[frame["estimator"] == estimator]
        if len(own):
            yield estimator, own


def _layers(
    frame: pd.DataFrame, x: str, y: str, samples: int = 1, known: str = "", *, joined: bool = False
) -> list[Layer]:
    """The points of each estimator with their errors, joined where wanted, and the closed form as a line."""
    layers: list[Layer] = []
    for estimator, rows in _estimators(frame):
        own = rows.sort_values(x)
        label, error = name_of(estimator, samples), own[f"{y}_error"].fillna(0.0)
        if known:
            layers.append(Line(own[x], own[known], colour=estimator, width=1.1, opacity=0.8))
        if joined:
            layers.append(Line(own[x], own[y], error, label=label, colour=estimator, markers=True, width=1.4))
        else:
            layers.append(Points(own[x], own[y], error, label=label, colour=estimator, size=5.5))
    return layers


def why(results: GradientResults) -> list[Figure]:
    """Why the trick is used: variance against the number of dimensions, in closed form and in the VAE."""
    quadratic, vae = results.closed_forms.quadratic, results.encoder_gradients
    found = [
        _figure(
            "f = ‖x‖²: variance against dimension",
            _at("D", sorted(quadratic["dimension"].unique())),
            Axis("variance, pathwise = 1", scale="log"),
            _layers(quadratic, "dimension", "ratio", known="closed_form"),
            "Variance of the score function over that of the pathwise gradient. Lines: (D+2)(D+4)/4, and (D+4)/2 with "
            "the baseline.",
            "quadratic",
            in_csv="quadratic",
        )
    ]
    single = vae[vae["samples"] == 1]
    sizes = sorted(single["latent_size"].unique())
    if len(sizes) > 1:
        found += [
            _figure(
                "In the VAE: variance of the encoder's gradient against latent size",
                _at("latent size", sizes),
                VARIANCE,
                _layers(single, "latent_size", "variance", joined=True),
                "One batch, k = 1, weights that pathwise training ended at. ± one standard error.",
                "vae-d",
                in_csv="encoder_gradients",
            ),
            _figure(
                "In the VAE: signal-to-noise ratio against latent size",
                _at("latent size", sizes),
                Axis(RATIO),
                _layers(single, "latent_size", "snr", joined=True),
                "The same gradients. At 0 the noise hides the signal in as many draws as were taken.",
                "vae-snr-d",
                in_csv="encoder_gradients",
            ),
        ]
    return found


def not_better(results: GradientResults, judged: pd.DataFrame) -> list[Figure]:
    """Where the pathwise gradient is not the better one."""
    known = results.closed_forms
    crossing = float(row_of(judged, outcome="cosine").closed_form)
    return [
        _figure(
            "f = cos kx: variance against kσ",
            Axis("kσ"),
            Axis("variance, in units of 1/σ²", scale="log"),
            [*_layers(known.cosine, "k_sigma", "variance", known="closed_form"), Rule(crossing)],
            "Lines are the closed forms. Right of the dashed line, kσ = 0.851, the score function is the better one.",
            "cosine",
            in_csv="cosine",
        ),
        _figure(
            "f = 1 where x > 0: the gradient itself",
            Axis("μ"),
            Axis("∂/∂μ P(x > 0)"),
            _layers(known.step, "mean", "gradient", known="closed_form"),
            "Lines: the truth, φ(μ), on which the two curves lie. The pathwise gradient is 0 everywhere.",
            "step",
            in_csv="step",
        ),
        _figure(
            "Sticking the landing: variance near the posterior",
            Axis("distance of q from the exact posterior"),
            Axis("variance"),
            _layers(known.landing, "offset", "variance", joined=True),
            "The linear-Gaussian toy, k = 1: q has the posterior's variance times one plus the distance, and a mean so "
            "far from its own. The pathwise gradient's KL is sampled.",
            "landing",
            in_csv="sticking_the_landing",
        ),
    ]


def weighted(results: GradientResults, judged: pd.DataFrame) -> list[Figure]:
    """What more importance samples do to the signal-to-noise ratio, in the toy and in the VAE."""
    toy, vae = results.closed_forms.signal_to_noise, results.encoder_gradients
    layers: list[Layer] = []
    for estimator, own in _estimators(toy):
        slope = row_of(judged, outcome="signal_to_noise", case=estimator)
        large = own[own["samples"] >= 32]
        places = large["samples"].to_numpy(dtype=float)
        weights = (large["snr"] / large["snr_error"]) ** 2
        centre = float(np.average(np.log(large["snr"]) - slope.measured * np.log(places), weights=weights))
        ends = places[[0, -1]]
        fitted = np.exp(centre + slope.measured * np.log(ends))
        label = f"{name_of(estimator)}, slope {quantity(slope.measured, slope.standard_error)}"
        layers.append(Points(own["samples"], own["snr"], own["snr_error"], label=label, colour=estimator, size=5.5))
        layers.append(Line(ends, fitted, colour=estimator, width=1.1, opacity=0.8))
    found = [
        _figure(
            "The toy: signal-to-noise ratio of the encoder's gradient against k",
            _at("k", sorted(toy["samples"].unique())[::2]),
            Axis("|mean| / standard deviation", scale="log"),
            layers,
            "Lines are the fits for k ≥ 32; theory has slopes of −½ and ½.",
            "snr",
            in_csv="signal_to_noise",
        )
    ]
    many = vae[vae["samples"] > 1]
    if many["samples"].nunique() > 1:
        x = _at("k", sorted(many["samples"].unique()))
        found += [
            _figure(
                "In the VAE: signal-to-noise ratio against k",
                x,
                Axis(RATIO, scale="log"),
                _layers(many, "samples", "snr", samples=2, joined=True),
                "The encoder's gradient of the importance-weighted bound, over all of its weights.",
                "vae-snr-k",
                in_csv="encoder_gradients",
            ),
            _figure(
                "In the VAE: variance against k",
                x,
                VARIANCE,
                _layers(many, "samples", "variance", samples=2, joined=True),
                "The same gradients.",
                "vae-k",
                in_csv="encoder_gradients",
            ),
        ]
    return found


def training(results: GradientResults) -> list[Figure]:
    """Learning curves under each estimator, one figure for each number of samples."""
    points = results.histories
    compared = points.groupby("latent_size")["estimator"].nunique() if len(points) else pd.Series(dtype=int)
    points = points[points["latent_size"].isin(compared.index[compared > 1])]
    if points.empty:
        return []
    # The first evaluations would press all others into a line.
    late = points[points["images"] >= 0.2 * points["images"].max()]["bits_per_dim"]
    margin = 0.08 * (float(late.max()) - float(late.min())) or 0.05
    y = Axis("validation bits/dim", limits=(float(late.min()) - margin, float(late.max()) + margin))
    found = []
    for samples in sorted(points["samples"].unique()):
        group = points[points["samples"] == samples]
        layers = [
            Line(run["images"], run["bits_per_dim"], label=name_of(estimator, samples), colour=estimator, markers=True)
            for estimator, own in _estimators(group)
            for _, run in own.groupby("seed")
        ]
        title = f"Learning curves, k = {samples}: validation bits/dim against training images seen"
        caption = "One line a seed; one-sample bound. One scale for all k, without the first fifth of training."
        stem = f"learning-{samples}"
        found.append(_figure(title, Axis("training images seen"), y, layers, caption, stem, in_csv="histories"))
    return found
