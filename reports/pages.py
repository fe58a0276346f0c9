"""Everything that the two pages show, gathered once; and the templates that set it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.results import PICTURES, TABLES
from reports import answer, diagnostics, differences, drawing, formatting, method, tables, views
from reports.study import Study

if TYPE_CHECKING:
    from bench.results import ImageGrid, StudyResults
    from reports.views import FigureView

IMAGE_BUDGET = 3_000_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
MOST_ROWS = 1000
"""Rows of a trials table in the page; all of them are in ``runs.csv``."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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
    differences: tables.Table
    findings: list[diagnostics.Finding]
    bounds: list[FigureView]
    latents: list[FigureView]
    selected: tables.Table
    final_runs: tables.Table
    counts: tables.Table
    reasons: tables.Table
    responses: list[FigureView]
    budgets: list[FigureView]
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
        return [*self.bounds, *self.latents, *self.responses, *self.budgets, *self.curves]

    @property
    def glossary(self) -> list[tuple[str, str]]:
        """The definition of each metric of the comparison that has one, by its label."""
        rows = [row for _, rows in self.comparison for row in rows if row.definition]
        return list({row.label: row.definition for row in rows}.items())

    @property
    def files(self) -> str:
        """The frames that lie beside the page, as a listing."""
        tables = [f"tables/{name}.csv" for name in TABLES if name in self.results.tables]
        return formatting.listing(["measurements.csv", "runs.csv", "histories.csv", *tables])


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
        differences=tables.differences(differences.differences(study)),
        findings=diagnostics.findings(study),
        bounds=views.bound_curves(study, styles),
        latents=views.latent_profiles(study, styles),
        selected=tables.selected(study),
        final_runs=tables.final_runs(study),
        counts=tables.state_counts(study),
        reasons=tables.failure_reasons(study),
        responses=views.responses(study, styles),
        budgets=views.budgets(study, styles),
        curves=views.learning_curves(study, styles),
        trials=[(formatting.display(family), data) for family, data in searched if data.rows],
        grids=_grids(study),
        dataset=tables.facts(results.dataset),
        settings=tables.facts(results.settings),
        provenance=tables.facts(provenance),
        command=formatting.plain(command) if command else "",
    )


def _grids(study: Study) -> list[tuple[str, list[GridView]]]:
    """One grid of each kind and family, that of the first reported seed, side by side by kind."""
    budget = IMAGE_BUDGET
    groups = []
    kinds = list(dict.fromkeys(image.kind for image in study.results.images))
    kinds.sort(key=lambda kind: (list(PICTURES).index(kind) if kind in PICTURES else len(PICTURES), kind))
    for kind_number, kind in enumerate(kinds, start=1):
        shown: list[GridView] = []
        for family, runs in study.finals.items():
            image = _first_grid(study.results.images, kind, list(runs.runs["run_id"]))
            if image is None:
                continue
            stem = f"{kind_number}-{formatting.slug(kind)}-{len(shown) + 1}-{formatting.slug(family)}"
            fits = len(image.png) <= budget
            budget -= len(image.png) if fits else 0
            data_uri = f"data:image/png;base64,{base64.b64encode(image.png).decode('ascii')}" if fits else ""
            shown.append(GridView(formatting.display(family), image.caption, f"images/{stem}.png", image.png, data_uri))
        if shown:
            groups.append((PICTURES.get(kind, kind), shown))
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
        differences_note=method.DIFFERENCES_NOTE,
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
        page=content,
        notes=method.NOTES,
        response_note=method.RESPONSE_NOTE,
        differences_note=method.DIFFERENCES_NOTE,
    )
