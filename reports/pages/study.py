"""Everything that the two pages show, gathered once; and the templates that set it."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bench.core.results import PICTURES, TABLES
from reports import formatting
from reports.analysis import differences
from reports.analysis import findings as diagnostics
from reports.analysis.results import Study
from reports.figures import views
from reports.figures.styles import family_styles
from reports.text import answer, method, tables

if TYPE_CHECKING:
    from bench.core.results import ImageGrid, StudyResults
    from reports.figures.styles import FamilyStyle
    from reports.figures.views import FigureView

IMAGE_BUDGET = 1_200_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
MOST_ROWS = 500
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
    families: list[tuple[str, FamilyStyle, int]]
    answer: answer.Answer
    comparison: list[tuple[str, list[tables.Row]]]
    differences: tables.Table
    findings: list[diagnostics.Finding]
    bounds: list[FigureView]
    latents: list[FigureView]
    trade_offs: list[FigureView]
    published: tables.Table
    selected: tables.Table
    fixed: tables.Table
    final_runs: tables.Table
    counts: tables.Table
    reasons: tables.Table
    responses: list[FigureView]
    importances: list[FigureView]
    stability: list[tables.Table]
    budgets: list[FigureView]
    course: tables.Table
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
        return [
            *self.trade_offs,
            *self.bounds,
            *self.latents,
            *self.responses,
            *self.importances,
            *self.budgets,
            *self.curves,
        ]

    @property
    def closer(self) -> bool:
        """Whether any figure can be drawn interactively, which takes plotly."""
        return any(view.plot for view in self.figures)

    @property
    def glossary(self) -> list[tuple[str, str]]:
        """The definition of each metric of the comparison that has one, by its label."""
        rows = [row for _, rows in self.comparison for row in rows if row.definition]
        return list({row.label: row.definition for row in rows}.items())

    @property
    def files(self) -> str:
        """The frames that lie beside the page, as a listing."""
        tables = [f"tables/{name}.csv" for name in TABLES if name in self.results.tables]
        names = ["measurements.csv", "runs.csv", "histories.csv", *tables]
        return f"{formatting.listing(names)}, and as Parquet"


def page(results: StudyResults) -> Page:
    """Compute the page of a study, in whatever state it is."""
    study = Study(results)
    names = study.families
    styles = family_styles(names)
    budget = _Budget(IMAGE_BUDGET)
    grids = _grids(study, budget)
    pictures = _trial_pictures(study, budget)
    searched = [(family, tables.trials(study, family, pictures)) for family in names]
    stability = [tables.learning_rate_stability(study, family) for family in names]
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
        trade_offs=views.trade_offs(study, styles),
        published=tables.published(study),
        selected=tables.selected(study),
        fixed=tables.fixed(study),
        final_runs=tables.final_runs(study),
        counts=tables.state_counts(study),
        reasons=tables.failure_reasons(study),
        responses=views.responses(study, styles),
        importances=views.importances(study, styles),
        stability=[table for table in stability if table is not None],
        budgets=views.budgets(study, styles),
        course=tables.training_course(study),
        curves=views.learning_curves(study, styles),
        trials=[(formatting.display(family), data) for family, data in searched if data.rows],
        grids=grids,
        dataset=tables.facts(results.dataset),
        settings=tables.facts(results.settings),
        provenance=tables.facts(provenance),
        command=formatting.plain(command) if command else "",
    )


class _Budget:
    """What is left of the bytes that pictures may take."""

    def __init__(self, left: int) -> None:
        self.left = left

    def embed(self, png: bytes) -> str:
        """The data address of a picture; empty where there is no room for it."""
        if len(png) > self.left:
            return ""
        self.left -= len(png)
        return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _trial_pictures(study: Study, budget: _Budget) -> dict[str, str]:
    """Samples of the trials that left any, by run."""
    trials = set(study.trials["run_id"])
    samples = [image for image in study.results.images if image.kind == "samples" and image.run_id in trials]
    return {image.run_id: budget.embed(image.png) for image in samples if image.png.startswith(PNG_SIGNATURE)}


def _grids(study: Study, budget: _Budget) -> list[tuple[str, list[GridView]]]:
    """One grid of each kind and family, that of the first reported seed, side by side by kind."""
    groups = []
    finals = {run for final in study.finals.values() for run in final.runs["run_id"]}
    kinds = list(dict.fromkeys(image.kind for image in study.results.images if image.run_id in finals))
    kinds.sort(key=lambda kind: (list(PICTURES).index(kind) if kind in PICTURES else len(PICTURES), kind))
    for kind_number, kind in enumerate(kinds, start=1):
        shown: list[GridView] = []
        for family, runs in study.finals.items():
            image = _first_grid(study.results.images, kind, list(runs.runs["run_id"]))
            if image is None:
                continue
            stem = f"{kind_number}-{formatting.slug(kind)}-{len(shown) + 1}-{formatting.slug(family)}"
            path, data_uri = f"images/{stem}.png", budget.embed(image.png)
            shown.append(GridView(formatting.display(family), image.caption, path, image.png, data_uri))
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
    """The page as one self-contained HTML file: every value escaped, nothing loaded, whole without its scripts.

    Only two scripts may run, by their digests: the page's own, and plotly where a figure can be drawn interactively.
    """
    script = own_file("page.js")
    scripts = [script, get_plotlyjs()] if content.closer else [script]
    return (
        html_environment()
        .get_template("report.html.j2")
        .render(
            page=content,
            css=own_file("style.css"),
            script=script,
            plotly=_plotly() if content.closer else "",
            allowed=" ".join(f"'sha256-{_digest(each)}'" for each in scripts),
            notes=method.NOTES,
            response_note=method.RESPONSE_NOTE,
            differences_note=method.DIFFERENCES_NOTE,
            course_note=method.COURSE_NOTE,
            published_note=method.PUBLISHED_NOTE,
            most_rows=MOST_ROWS,
        )
    )


def html_environment() -> Environment:
    """Templates of HTML, in which every value is escaped."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_foreign,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_block"] = _data_block
    return environment


def own_file(name: str) -> Markup:
    """The package's own style sheet or script, to stand in a page as it is."""
    text = resources.files("reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - the package's own


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


@cache
def _plotly() -> str:
    """plotly's script, packed: unpacked it would be four fifths of what a page may weigh."""
    packed = gzip.compress(get_plotlyjs().encode("utf-8"), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _data_block(json: str) -> Markup:
    """JSON as the content of a script element, which nothing in it can end."""
    return Markup(json.replace("<", r"\u003c"))  # noqa: S704 - no "<" is left


def markdown_environment() -> Environment:
    """Templates of Markdown, in which every value is escaped."""
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
    return environment


def markdown(content: Page) -> str:
    """The page's Markdown twin, every value escaped for Markdown."""
    return (
        markdown_environment()
        .get_template("report.md.j2")
        .render(
            page=content,
            notes=method.NOTES,
            response_note=method.RESPONSE_NOTE,
            differences_note=method.DIFFERENCES_NOTE,
            course_note=method.COURSE_NOTE,
            published_note=method.PUBLISHED_NOTE,
        )
    )
