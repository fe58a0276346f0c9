"""Everything that the two pages show, gathered once; and the templates that set it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.results import RunState
from reports import answer, drawing, figures, formatting, method, svg, tables
from reports.study import Study

if TYPE_CHECKING:
    from bench.results import ImageGrid, StudyResults

IMAGE_BUDGET = 3_000_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
MOST_ROWS = 1000
"""Rows of a trials table in the page; all of them are in ``runs.csv``."""
GRID_TITLES = {
    "samples": "Samples",
    "samples_temperature": "Samples over temperatures",
    "reconstructions": "Reconstructions",
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class FigureView:
    """A figure in both forms, its heading and caption."""

    family: str
    title: str
    caption: str
    inline: Markup
    standalone: str
    path: str


@dataclass(frozen=True)
class GridView:
    """A picture grid: whose it is, its caption, its file, and its data address where the page has room for it."""

    family: str
    caption: str
    path: str
    png: bytes
    data_uri: str


@dataclass(frozen=True)
class Page:
    """What both templates read."""

    results: StudyResults
    families: list[tuple[str, drawing.FamilyStyle, int]]
    answer: answer.Answer
    comparison: list[tuple[str, list[tables.Row]]]
    selected: tables.Table
    final_runs: tables.Table
    counts: tables.Table
    reasons: tables.Table
    responses: list[FigureView]
    curves: list[FigureView]
    trials: list[tuple[str, tables.Table]]
    grids: list[tuple[str, list[GridView]]]
    dataset: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    provenance: list[tuple[str, str]]
    command: str

    @property
    def figures(self) -> list[FigureView]:
        """All figures, in their order on the page."""
        return [*self.responses, *self.curves]


def page(results: StudyResults) -> Page:
    """Compute the page of a study, in whatever state it is."""
    study = Study(results)
    names = study.families
    styles = drawing.family_styles(names)
    searched = [(family, tables.trials(study, family)) for family in names]
    provenance = dict(results.provenance)
    command = provenance.pop("command", "")
    return Page(
        results=results,
        families=[(formatting.display(family), styles[family], len(study.finals[family].runs)) for family in names],
        answer=answer.answer(study),
        comparison=tables.comparison(study),
        selected=tables.selected(study),
        final_runs=tables.final_runs(study),
        counts=tables.state_counts(study),
        reasons=tables.failure_reasons(study),
        responses=_responses(study, styles),
        curves=_curves(study, styles),
        trials=[(formatting.display(family), data) for family, data in searched if data.rows],
        grids=_grids(study),
        dataset=tables.facts(results.dataset),
        settings=tables.facts(results.settings),
        provenance=tables.facts(provenance),
        command=formatting.plain(command) if command else "",
    )


def _view(
    raw: str, title: str, caption: str, family: str, stem: str, styles: dict[str, drawing.FamilyStyle]
) -> FigureView:
    title, caption = formatting.visible(title), formatting.visible(caption)
    palette = {style.colour: f"var(--{style.name})" for style in styles.values()}
    return FigureView(
        family,
        title,
        caption,
        svg.inline(raw, title, f"{stem}-", palette),
        svg.standalone(raw, title),
        f"figures/{stem}.svg",
    )


def _responses(study: Study, styles: dict[str, drawing.FamilyStyle]) -> list[FigureView]:
    views: list[FigureView] = []
    for family, style in styles.items():
        for parameter in study.swept(family):
            data = figures.response(study, family, parameter)
            if data is None:
                continue
            stem = f"response-{len(views) + 1}-{formatting.slug(family)}-{formatting.slug(parameter)}"
            title = f"{formatting.display(family)}: validation bits/dim against {parameter}"
            caption = _response_caption(data, style)
            views.append(_view(drawing.draw_response(data, style), title, caption, family, stem, styles))
    return views


def _response_caption(data: figures.Response, style: drawing.FamilyStyle) -> str:
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
    strip = [drawing.STRIP_MARKS.get(mark, drawing.UNKNOWN_MARK)[1].format(n) for mark, n in edge.items()]
    sentences = [f"{', '.join(key)}." if key else "", f"In the strip: {', '.join(strip)}." if strip else ""]
    if data.without:
        sentences.append(f"{formatting.count(data.without, 'trial')} without a value of this parameter not drawn.")
    return " ".join(filter(None, sentences))


def _curves(study: Study, styles: dict[str, drawing.FamilyStyle]) -> list[FigureView]:
    views: list[FigureView] = []
    for data in figures.learning_curves(study):
        title = f"{formatting.display(data.family)}: validation bits/dim against training images seen"
        runs = [
            f"{formatting.count(len(data.searched), 'search trial')} thin" if data.searched else "",
            f"{formatting.count(len(data.final), 'final run')} bold" if data.final else "",
        ]
        caption = f"{', '.join(filter(None, runs))}. One scale for all families, without the highest 5% of points."
        stem = f"learning-{len(views) + 1}-{formatting.slug(data.family)}"
        raw = drawing.draw_learning_curves(data, styles[data.family])
        views.append(_view(raw, title, caption, data.family, stem, styles))
    return views


def _grids(study: Study) -> list[tuple[str, list[GridView]]]:
    """One grid of each kind and family, that of the first reported seed, side by side by kind."""
    budget = IMAGE_BUDGET
    groups = []
    kinds = list(dict.fromkeys(image.kind for image in study.results.images))
    kinds.sort(key=lambda kind: (list(GRID_TITLES).index(kind) if kind in GRID_TITLES else len(GRID_TITLES), kind))
    for kind_number, kind in enumerate(kinds, start=1):
        views: list[GridView] = []
        for family, runs in study.finals.items():
            image = _first_grid(study.results.images, kind, list(runs.runs["run_id"]))
            if image is None:
                continue
            stem = f"{kind_number}-{formatting.slug(kind)}-{len(views) + 1}-{formatting.slug(family)}"
            fits = len(image.png) <= budget
            budget -= len(image.png) if fits else 0
            data_uri = f"data:image/png;base64,{base64.b64encode(image.png).decode('ascii')}" if fits else ""
            views.append(GridView(formatting.display(family), image.caption, f"images/{stem}.png", image.png, data_uri))
        if views:
            groups.append((GRID_TITLES.get(kind, kind), views))
    return groups


def _first_grid(images: list[ImageGrid], kind: str, runs: list[str]) -> ImageGrid | None:
    of_kind = {image.run_id: image for image in images if image.kind == kind and image.png.startswith(PNG_SIGNATURE)}
    return next((of_kind[run] for run in runs if run in of_kind), None)


def _foreign(value: object) -> object:
    return value if isinstance(value, Markup) else formatting.visible(str(value))


def _markdown(value: object) -> object:
    return value if isinstance(value, Markup) else formatting.markdown(str(value))


def html(content: Page) -> str:
    """The page as one self-contained HTML file: every value escaped, no script, nothing loaded."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_foreign,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    template = environment.get_template("report.html.j2")
    return template.render(
        page=content,
        css=Markup(style),  # noqa: S704 - the package's own style sheet
        notes=method.NOTES,
        response_note=method.RESPONSE_NOTE,
        most_rows=MOST_ROWS,
    )


def markdown(content: Page) -> str:
    """The page's Markdown twin, every value escaped for Markdown."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=False,  # noqa: S701 - not HTML: `finalize` escapes for Markdown, HTML included
        undefined=StrictUndefined,
        finalize=_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fence"] = formatting.fence
    environment.filters["address"] = formatting.address
    return environment.get_template("report.md.j2").render(
        page=content, notes=method.NOTES, response_note=method.RESPONSE_NOTE
    )
