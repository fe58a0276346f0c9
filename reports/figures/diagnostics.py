"""The figures of diagnostics: what more importance samples gain, and what each latent carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.analysis import curves
from reports.figures.grammar import Axis, Band, Figure, Line, Panel, Points
from reports.figures.registry import register_figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.results import Study
    from reports.figures.grammar import Layer


@register_figure("bound", "The bound against importance samples", section="diagnostics")
def bound_curves(study: Study) -> Iterator[Figure]:
    """The bound against the number of importance samples, of each arm."""
    for data in curves.bound_curves(study):
        samples, value = data.points["importance_samples"], data.points["value"]
        error = 2 * data.points["error"].fillna(0.0)
        layers: list[Layer] = [Line(samples, value, colour=data.arm, label=study.title(data.arm), markers=True)]
        if error.any():
            layers.insert(0, Band(samples, value - error, value + error, colour=data.arm))
        over = f"mean over {data.seeds} seeds" if data.seeds > 1 else "one seed"
        band = "; the band is two Monte Carlo errors" if error.any() else ""
        yield Figure(
            f"{study.title(data.arm)}: test bits/dim against importance samples k",
            [Panel(Axis("importance samples k", scale="log2"), Axis("test bits/dim"), layers)],
            f"The {over}{band}. Where the curve is flat, more samples gain nothing.",
            stem=data.arm,
        )


@register_figure("latents", "What each latent carries", section="diagnostics")
def latent_profiles(study: Study) -> Iterator[Figure]:
    """What each latent carries, of the first seed of each arm that has latents."""
    for data in curves.latent_profiles(study):
        kl, active = data.points["kl_nats"].to_numpy(), data.points["active"].to_numpy()
        rank = np.arange(1, len(kl) + 1)
        layers = [
            Points(rank[some], kl[some], colour=data.arm, filled=filled, size=5, label=label)
            for some, filled, label in ((active, True, "active"), (~active, False, "not active"))
        ]
        # From just below 0, so that marks at 0 show whole.
        limits = (min(0.0, float(kl.min())) - 0.04 * (float(kl.max()) or 1.0), 1.05 * (float(kl.max()) or 1.0))
        yield Figure(
            f"{study.title(data.arm)}: KL to the prior of each latent, seed {data.seed}",
            [Panel(Axis("latent, by its KL", whole=True), Axis("KL to the prior", "nats", limits=limits), layers)],
            f"Latents in descending order: {active.sum()} active (filled), {(~active).sum()} not (hollow).",
            stem=data.arm,
        )
