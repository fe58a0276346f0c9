"""The figures as both pages show them: drawn, titled, with a caption that says what is to be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.results import RunState
from reports import formatting
from reports.analysis import budget
from reports.analysis import curves as figures
from reports.analysis.importance import importances as importances_of
from reports.analysis.trade_offs import TradeOff
from reports.analysis.trade_offs import trade_offs as trade_offs_of
from reports.figures import matplotlib as drawing
from reports.figures import plotly as interactive
from reports.figures import svg
from reports.figures.styles import ENDS, UNKNOWN_END, FamilyStyle
from reports.formatting import count, display

if TYPE_CHECKING:
    from markupsafe import Markup

    from reports.analysis.results import Study

Styles = dict[str, FamilyStyle]


@dataclass(frozen=True)
class FigureView:
    """A figure in all its forms, its heading and caption.

    Attributes:
        family: whose it is; empty where several families share it.
        title: its heading, and its name for screen readers.
        caption: what is to be seen.
        inline: as SVG for the page.
        standalone: as an SVG file.
        path: that file's place beside the page.
        plot: as JSON for plotly; empty where looking closer shows nothing more.
    """

    family: str
    title: str
    caption: str
    inline: Markup
    standalone: str
    path: str
    plot: str = ""


def _view(raw: str, title: str, caption: str, family: str, stem: str, styles: Styles, plot: str = "") -> FigureView:
    title, caption = formatting.visible(title), formatting.visible(caption)
    palette = {style.colour: f"var(--{style.name})" for style in styles.values()}
    return FigureView(
        family,
        title,
        caption,
        svg.inline(raw, title, f"{stem}-", palette),
        svg.standalone(raw, title),
        f"figures/{stem}.svg",
        plot,
    )


def responses(study: Study, styles: Styles) -> list[FigureView]:
    """Validation bits/dim against each swept parameter of each family."""
    views: list[FigureView] = []
    for family, style in styles.items():
        for parameter in study.swept(family):
            data = figures.response(study, family, parameter)
            if data is None:
                continue
            stem = f"response-{len(views) + 1}-{formatting.slug(family)}-{formatting.slug(parameter)}"
            title = f"{formatting.display(family)}: validation bits/dim against {parameter}"
            caption = _response_caption(data, style)
            raw, plot = drawing.draw_response(data, style), interactive.response(data, style)
            views.append(_view(raw, title, caption, family, stem, styles, plot))
    return views


def _response_caption(data: figures.Response, style: FamilyStyle) -> str:
    body = data.points[~data.points["strip"]]
    counts = body["mark"].value_counts()
    key = [
        f"{symbol} {counts[mark]} {words}"
        for mark, symbol, words in (
            (RunState.COMPLETE, style.filled, "complete"),
            (RunState.PRUNED, style.hollow, "pruned"),
            (RunState.INTERRUPTED, "◊", "interrupted"),
            (RunState.RUNNING, "◊", "running"),
        )
        if mark in counts
    ]
    if body["selected"].any():
        key.append("◯ the selected one")
    edge = data.points.loc[data.points["strip"], "mark"].value_counts(sort=False)
    strip = [ENDS.get(mark, UNKNOWN_END).caption.format(n) for mark, n in edge.items()]
    sentences = [f"{', '.join(key)}." if key else "", f"In the strip: {', '.join(strip)}." if strip else ""]
    if data.without:
        sentences.append(f"{formatting.count(data.without, 'trial')} without a value of this parameter not drawn.")
    return " ".join(filter(None, sentences))


def learning_curves(study: Study, styles: Styles) -> list[FigureView]:
    """The learning curves of each family."""
    views: list[FigureView] = []
    for data in figures.learning_curves(study):
        title = f"{formatting.display(data.family)}: validation bits/dim against images seen and seconds"
        runs = [
            f"{formatting.count(len(data.searched), 'search trial')} thin" if data.searched else "",
            f"{formatting.count(len(data.final), 'final run')} as their mean and the range over seeds"
            if data.final
            else "",
        ]
        caption = f"{', '.join(filter(None, runs))}. One scale for all families, without the highest 5% of points."
        stem = f"learning-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_learning_curves(data, styles[data.family])
        plot = interactive.learning_curves(data, styles[data.family])
        views.append(_view(raw, title, caption, data.family, stem, styles, plot))
    return views


COSTS = {
    "training_seconds": ("training time", "training time (s)"),
    "parameters": ("size", "trainable parameters"),
    "sample_images_per_second": ("sampling speed", "images sampled per second"),
}


def trade_offs(study: Study, styles: Styles) -> list[FigureView]:
    """Likelihood against training time, size and sampling speed, each with its Pareto front."""
    views: list[FigureView] = []
    for data in trade_offs_of(study):
        cost, label = COSTS[data.metric]
        under = f" ({data.conditions})" if data.conditions else ""
        title = f"{data.split.capitalize()} bits/dim against {cost}{under}"
        stem = f"trade-off-{len(views) + 1}-{formatting.slug(data.metric)}"
        raw = drawing.draw_trade_off(data, styles, label)
        plot = interactive.trade_off(data, styles, label)
        views.append(_view(raw, title, _trade_off_caption(data, styles), "", stem, styles, plot))
    return views


def _trade_off_caption(data: TradeOff, styles: Styles) -> str:
    runs = "complete trials" if data.split == "validation" else "final runs"
    key = [f"{styles[family].filled} {display(family)}" for family in data.points["family"].unique()]
    counts = data.front["family"].value_counts()
    front = [f"{counts[family]} of {display(family)}" for family in counts.index]
    return (
        f"{', '.join(key)}: {len(data.points)} {runs}. Filled and joined: the Pareto front, runs that no other beats "
        f"in both figures, {formatting.listing(front)}."
    )


def importances(study: Study, styles: Styles) -> list[FigureView]:
    """Which swept parameter the likelihood depends on, of each family with enough complete trials."""
    views: list[FigureView] = []
    for data in importances_of(study):
        title = f"{display(data.family)}: which swept parameter matters"
        caption = (
            f"Shares of the variation of validation bits/dim over the swept ranges, by functional ANOVA on "
            f"{count(data.trials, 'complete trial')}; the line is the range over resampled trials."
        )
        stem = f"importance-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_importances(data, styles[data.family])
        views.append(_view(raw, title, caption, data.family, stem, styles))
    return views


def bound_curves(study: Study, styles: Styles) -> list[FigureView]:
    """The bound against the number of importance samples, of each family."""
    views: list[FigureView] = []
    for data in figures.bound_curves(study):
        title = f"{display(data.family)}: test bits/dim against importance samples k"
        over = f"mean over {data.seeds} seeds" if data.seeds > 1 else "one seed"
        caption = f"The {over}; the band is two Monte Carlo errors. Where the curve is flat, more samples gain nothing."
        stem = f"bound-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_bound_curve(data, styles[data.family])
        views.append(_view(raw, title, caption, data.family, stem, styles))
    return views


def latent_profiles(study: Study, styles: Styles) -> list[FigureView]:
    """What each latent carries, of the first seed of each family that has latents."""
    views: list[FigureView] = []
    for data in figures.latent_profiles(study):
        title = f"{display(data.family)}: KL to the prior of each latent, seed {data.seed}"
        active, total = int(data.points["active"].sum()), len(data.points)
        caption = f"Latents in descending order: {active} active (filled), {total - active} not (hollow)."
        stem = f"latents-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_latent_profile(data, styles[data.family])
        views.append(_view(raw, title, caption, data.family, stem, styles))
    return views


def budgets(study: Study, styles: Styles) -> list[FigureView]:
    """The best validation bits/dim so far against what the search has spent, of each family."""
    views: list[FigureView] = []
    for data in budget.best_so_far(study):
        title = f"{display(data.family)}: best validation bits/dim so far against the budget"
        stem = f"budget-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_budget(data, styles[data.family])
        views.append(_view(raw, title, _budget_caption(data), data.family, stem, styles))
    return views


def _budget_caption(data: budget.BestSoFar) -> str:
    if data.band is None:
        how = f" by the {data.sampler} sampler" if data.sampler else ""
        trials = int(data.observed["trials"].iloc[-1])
        if data.sampler == "random":
            reason = "no trial is a random draw yet"
        elif data.sampler == "tpe" and trials <= budget.TPE_STARTUP_TRIALS:
            reason = (
                "its trials are the family's own configuration and random draws, as the tpe sampler proposes none "
                f"before {budget.TPE_STARTUP_TRIALS} trials have completed, and they are too few"
            )
        else:
            reason = f"its trials were proposed{how} and not drawn independently"
        return (
            f"The line is what this one study found, in its order. No interval is drawn: {reason}, so only repeated "
            "studies could say how far another one would differ."
        )
    sentences = [
        "Solid: what this study found, in its order.",
        "Dashed: the median best of so many random trials, with its 95% band, from "
        f"{count(data.draws, 'independent draw')} (the first trial is the family's own "
        "configuration and no draw). Where the band leaves the scale, the trials are too few to bound it.",
        "Trials that failed, diverged or were pruned count as infinitely bad, as they cannot be selected.",
    ]
    if data.pruned:
        sentences.append("Pruning depends on earlier trials, so that here the band holds only approximately.")
    return " ".join(sentences)
