"""The page of a study: what it says and shows, in its order."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import reports.figures.study  # noqa: F401 - registers the project's own figures
from bench.core.results import PICTURES, TABLES
from reports import formatting
from reports.analysis import differences
from reports.analysis.findings import findings
from reports.analysis.results import Study
from reports.figures.drawing import draw_registered
from reports.figures.registry import registered_figures
from reports.figures.styles import arm_styles
from reports.pages.document import (
    Arm,
    Block,
    Comparison,
    Document,
    Figures,
    Findings,
    Fold,
    Glossary,
    Grid,
    Grids,
    Heading,
    Headline,
    Items,
    Paragraph,
    Section,
    provenance,
)
from reports.text import answer, method, tables

if TYPE_CHECKING:
    from bench.core.results import ImageGrid, StudyResults
    from reports.figures.styles import Style
    from reports.text.tables import Table

IMAGE_BUDGET = 1_200_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def page(results: StudyResults) -> Document:
    """Compute the page of a study, in whatever state it is."""
    study = Study(results)
    styles = arm_styles(study.families)
    pictures = _Pictures(study)
    figures: dict[str, list[Block]] = {}
    for entry in registered_figures():
        drawn = draw_registered(entry, study, styles)
        if drawn:
            note = [Paragraph(entry.note)] if entry.note else []
            figures.setdefault(entry.section, []).extend([Heading(entry.title), *note, Figures(drawn)])
    answered = answer.answer(study)
    more = figures.get("more", [])
    sections = [
        Section("answer", "Answer", "Answer", _answer(answered)),
        Section("comparison", "Comparison", "Comparison", _comparison(study, styles, figures.get("comparison", []))),
        Section("diagnostics", "Diagnostics", "Diagnostics", _diagnostics(study, figures.get("diagnostics", []))),
        Section("trials", "Trials", "Trials", _trials(study, pictures, figures.get("trials", []))),
        Section("learning", "Learning curves", "Learning curves", _learning(study, figures.get("learning", []))),
        *([Section("more", "More figures", "More figures", more)] if more else []),
        Section("pictures", "Samples and reconstructions", "Samples", pictures.grids()),
        Section("method", "Method", "Method", [Glossary(method.NOTES)]),
        provenance(results.dataset, results.settings, results.provenance),
    ]
    return Document(
        name=f"{results.name} on {results.dataset.get('name', 'unknown data')}",
        kicker=results.study_id,
        heading=results.question or results.name,
        sections=sections,
        footer=f"Made by reparam-bench from the logged measurements. The numbers lie beside it: {_files(results)}.",
        styles=list(styles.values()),
        selectable=True,
    )


def _files(results: StudyResults) -> str:
    """The files with the page's numbers, as a listing."""
    names = [f"tables/{name}.csv" for name in TABLES if name in results.tables]
    listed = formatting.listing(["measurements.csv", "runs.csv", "histories.csv", *names])
    return f"{listed}, the first three as Parquet too, and those of each figure in figures"


def _shown(table: Table, note: str = "") -> list[Block]:
    """A table with its note, where it has a row."""
    return [table, *([Paragraph(note, "note")] if note else [])] if table.rows else []


def _answer(found: answer.Answer) -> list[Block]:
    outlook = [Heading("What would change it"), Items(found.outlook)] if found.outlook else []
    return [Headline(found.headline), Items(found.details), *outlook]


def _comparison(study: Study, styles: dict[str, Style], figures: list[Block]) -> list[Block]:
    groups = tables.comparison(study)
    arms = [
        Arm(study.title(arm), study.family_title(arm), styles[arm], len(study.finals[arm].runs)) for arm in study.arms
    ]
    defined = {row.label: row.definition for _, rows in groups for row in rows if row.definition}
    measured: list[Block] = [
        Paragraph(
            "Measurements of the final runs: mean ± one standard error over training seeds; with one seed, ± is the "
            "standard error within that run.",
            "note",
        ),
        Comparison(arms, groups),
        Fold("What each metric is", [Glossary(list(defined.items()))]),
    ]
    fixed, final_runs = tables.fixed(study), tables.final_runs(study)
    return [
        *(measured if groups else [Paragraph("No final run has been measured yet.", "empty")]),
        *_shown(tables.unavailable(study)),
        *_shown(tables.differences(study, differences.differences(study)), method.DIFFERENCES_NOTE),
        *figures,
        *_shown(tables.published(study), method.PUBLISHED_NOTE),
        tables.selected(study) if arms else Paragraph("No arm is known yet.", "empty"),
        *([Fold("All parameters of the selected configurations", [fixed])] if fixed.rows else []),
        *([Fold("All final runs, seed by seed", [final_runs])] if final_runs.rows else []),
    ]


def _diagnostics(study: Study, figures: list[Block]) -> list[Block]:
    found = findings(study)
    nothing = Paragraph("The final runs have left no diagnostics yet.", "empty")
    return [Findings(found) if found else nothing, *figures]


def _trials(study: Study, pictures: _Pictures, figures: list[Block]) -> list[Block]:
    counts = tables.state_counts(study)
    stability = [tables.learning_rate_stability(study, arm) for arm in study.arms]
    shown = pictures.of_trials()
    searched = [(study.title(arm), tables.trials(study, arm, shown)) for arm in study.arms]
    return [
        counts if counts.rows else Paragraph("No run has been logged yet.", "empty"),
        *_shown(tables.failure_reasons(study)),
        *figures,
        *(table for table in stability if table is not None),
        *(Fold(f"All trials of {name}", [table]) for name, table in searched if table.rows),
    ]


def _learning(study: Study, figures: list[Block]) -> list[Block]:
    nothing = Paragraph("No learning curve has been logged yet.", "empty")
    return [*_shown(tables.training_course(study), method.COURSE_NOTE), *(figures or [nothing])]


class _Pictures:
    """The pictures of a study, embedded as long as the page has room for them, the final runs' grids first."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.left = IMAGE_BUDGET
        self.blocks = self._grids()

    def _embed(self, png: bytes) -> str:
        """The data address of a picture; empty where there is no room for it."""
        if len(png) > self.left:
            return ""
        self.left -= len(png)
        return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"

    def of_trials(self) -> dict[str, str]:
        """Samples of the trials that left any, by run."""
        trials = set(self.study.trials["run_id"])
        samples = [image for image in self.study.results.images if image.kind == "samples" and image.run_id in trials]
        return {image.run_id: self._embed(image.png) for image in samples if image.png.startswith(PNG_SIGNATURE)}

    def grids(self) -> list[Block]:
        """The grids of the final runs, or that there are none."""
        return self.blocks or [Paragraph("The final runs have left no pictures yet.", "empty")]

    def _grids(self) -> list[Block]:
        """One grid of each kind and arm, that of the first reported seed, side by side by kind."""
        blocks: list[Block] = []
        study, images = self.study, self.study.results.images
        finals = {run for final in study.finals.values() for run in final.runs["run_id"]}
        kinds = list(dict.fromkeys(image.kind for image in images if image.run_id in finals))
        kinds.sort(key=lambda kind: (list(PICTURES).index(kind) if kind in PICTURES else len(PICTURES), kind))
        for kind_number, kind in enumerate(kinds, start=1):
            title = PICTURES.get(kind, kind)
            shown: list[Grid] = []
            for arm, final in study.finals.items():
                image = _first_grid(images, kind, list(final.runs["run_id"]))
                if image is None:
                    continue
                stem = f"{kind_number}-{formatting.slug(kind)}-{len(shown) + 1}-{formatting.slug(arm)}"
                name, path = study.title(arm), f"images/{stem}.png"
                shown.append(Grid(title, name, image.caption, path, image.png, self._embed(image.png)))
            if shown:
                blocks += [Heading(title), Grids(shown)]
        return blocks


def _first_grid(images: list[ImageGrid], kind: str, runs: list[str]) -> ImageGrid | None:
    of_kind = {image.run_id: image for image in images if image.kind == kind and image.png.startswith(PNG_SIGNATURE)}
    return next((of_kind[run] for run in runs if run in of_kind), None)
