"""The page of a study: what it says and shows, in its order."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import reports.figures.study  # noqa: F401 - registers the project's own figures
from bench.core.results import PICTURES, TABLES, RunState
from reports import formatting
from reports.analysis import differences
from reports.analysis.findings import Finding, findings
from reports.analysis.results import Study
from reports.analysis.statistics import LEVEL
from reports.figures.drawing import draw_registered
from reports.figures.registry import registered_figures
from reports.figures.styles import arm_styles
from reports.pages.document import (
    Arm,
    Beside,
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
    from reports.figures.drawing import DrawnFigure, FailedFigure
    from reports.figures.registry import RegisteredFigure
    from reports.figures.styles import Style
    from reports.text.tables import Table

IMAGE_BUDGET = 1_200_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_FIGURES = 4
"""Figures of one kind that stand open; the further ones are folded."""
OPEN = {"trade-off": 2, "learning": 1} | dict.fromkeys(("bound", "latents", "importance", "budget"), 0)
"""Likewise of those kinds that answer less."""
MOST_BESIDE = 4
"""Sentences beside the figure of the answer; further ones stand below the pictures, which they would push away."""
REAL = "data"
FIRST_PICTURES = (REAL, "samples")
"""The kinds of pictures that stand in the answer: real images, and samples beside them."""


def page(results: StudyResults) -> Document:
    """Compute the page of a study, in whatever state it is."""
    study = Study(results)
    styles = arm_styles(study.families)
    pictures = _Pictures(study)
    figures: dict[str, list[Block]] = {}
    for entry in registered_figures():
        drawn = draw_registered(entry, study, styles)
        if drawn:
            figures.setdefault(entry.section, []).extend(_figures(entry, drawn))
    answered = answer.answer(study)
    more = figures.get("more", [])
    sections = [
        Section("answer", "Answer", "Answer", _answer(study, answered, pictures, figures.get("answer", []))),
        Section("comparison", "Comparison", "Comparison", _comparison(study, styles, figures.get("comparison", []))),
        Section("diagnostics", "Diagnostics", "Diagnostics", _diagnostics(study, figures.get("diagnostics", []))),
        Section("trials", "Trials", "Trials", _trials(study, pictures, figures.get("trials", []))),
        Section("learning", "Learning curves", "Learning curves", _learning(study, figures.get("learning", []))),
        *([Section("more", "More figures", "More figures", more)] if more else []),
        *([Section("pictures", "More pictures", "Pictures", pictures.others)] if pictures.others else []),
        Section("method", "Method", "Method", [Fold("How to read the numbers", [Glossary(method.NOTES)])]),
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
    names += ["tables/reference_codes.csv"] if results.reference_codes.measured else []
    listed = formatting.listing(["measurements.csv", "runs.csv", "histories.csv", *names])
    return f"{listed}, the first three as Parquet too, and those of each figure in figures"


def _shown(table: Table, note: str = "") -> list[Block]:
    """A table with its note, where it has a row."""
    return [table, *([Paragraph(note, "note")] if note else [])] if table.rows else []


def _folded(summary: str, table: Table, note: str = "") -> list[Block]:
    """A table with its note, folded up, where it has a row."""
    shown = _shown(table, note)
    return [Fold(summary, shown)] if shown else []


def _figures(entry: RegisteredFigure, drawn: list[DrawnFigure | FailedFigure]) -> list[Block]:
    """The figures of one kind under their heading, of which only the first stand open."""
    if entry.section == "answer":
        return [Figures(drawn)]
    note = [Paragraph(entry.note)] if entry.note else []
    shown = OPEN.get(entry.name, MOST_FIGURES)
    if not shown:
        return [Fold(entry.title, [*note, Figures(drawn)])]
    more = [Fold(f"{entry.title}: {len(drawn) - shown} more", [Figures(drawn[shown:])])] if drawn[shown:] else []
    return [Heading(entry.title), *note, Figures(drawn[:shown]), *more]


def _answer(study: Study, found: answer.Answer, pictures: _Pictures, figures: list[Block]) -> list[Block]:
    said = [*(Finding(text, alarm=True) for text in found.alarms), *map(Finding, found.first)]
    beside, below = ([Findings(some)] if some else [] for some in (said[:MOST_BESIDE], said[MOST_BESIDE:]))
    missing = [Paragraph("The final runs have left no pictures yet.", "empty")] if study.arms else []
    return [
        Headline(found.headline),
        Beside([*figures, *beside]),
        *(pictures.first or missing),
        *below,
        *([Fold("What the numbers are and rest on", [Items(found.grounds)])] if found.grounds else []),
        *([Fold("What would change the answer", [Items(found.outlook)])] if found.outlook else []),
    ]


def _comparison(study: Study, styles: dict[str, Style], figures: list[Block]) -> list[Block]:
    groups = tables.comparison(study)
    arms = [
        Arm(study.title(arm), study.family_title(arm), styles[arm], len(study.finals[arm].runs)) for arm in study.arms
    ]
    measured: list[Block] = [
        Paragraph(
            "Measurements of the final runs: mean ± one standard error over training seeds; with one seed, ± is the "
            "standard error within that run. ↓: lower is better, ↑: higher. Each row holds more: what the metric is, "
            "under which conditions it was measured, its intervals and errors.",
            "note",
        ),
        Comparison(arms, groups),
    ]
    known = any(final.trial is not None or len(final.runs) for final in study.finals.values())
    chosen = [each for each in (tables.selected(study), tables.fixed(study)) if known and each.rows]
    return [
        *(measured if groups else [Paragraph("No final run has been measured yet.", "empty")]),
        *_folded("Metrics that could not be measured", tables.unavailable(study)),
        *_differences(study),
        *figures,
        *_folded("Published likelihoods of this data", tables.published(study), method.PUBLISHED_NOTE),
        *([Fold("Selected configurations, all parameters", chosen)] if chosen else []),
        *_folded("All final runs, seed by seed", tables.final_runs(study)),
        *([] if arms else [Paragraph("No arm is known yet.", "empty")]),
    ]


def _differences(study: Study) -> list[Block]:
    found = differences.differences(study)
    clear = sum(each.adjusted < 1 - LEVEL for each in found)
    summary = f"{formatting.count(len(found), 'difference')} tested, {clear} clear of 0 at 5% after Holm's correction"
    return _folded(summary, tables.differences(study, found), method.DIFFERENCES_NOTE)


def _diagnostics(study: Study, figures: list[Block]) -> list[Block]:
    found = findings(study)
    alarms, quiet = ([each for each in found if each.alarm == loud] for loud in (True, False))
    if not found:
        return [Paragraph("The final runs have left no diagnostics yet.", "empty"), *figures]
    return [
        Findings(alarms) if alarms else Paragraph("No alarm.", "note"),
        *([Fold(f"{formatting.count(len(quiet), 'finding')} without an alarm", [Findings(quiet)])] if quiet else []),
        *figures,
    ]


def _trials(study: Study, pictures: _Pictures, figures: list[Block]) -> list[Block]:
    counts, reasons = tables.state_counts(study), tables.failure_reasons(study)
    stability = [tables.learning_rate_stability(study, arm) for arm in study.arms]
    stable = [table for table in stability if table is not None]
    searched = [(study.title(arm), tables.trials(study, arm, pictures.of_trials)) for arm in study.arms]
    return [
        *(_shown(counts, tables.uncounted(study)) or [Paragraph("No run has been logged yet.", "empty")]),
        *(_folded(reasons.caption, reasons) if (study.runs["state"] == RunState.COMPLETE).any() else _shown(reasons)),
        *figures,
        *([Fold("How stable training is, by learning rate", stable)] if stable else []),
        *(block for name, table in searched for block in _folded(f"All trials of {name}", table)),
    ]


def _learning(study: Study, figures: list[Block]) -> list[Block]:
    nothing = Paragraph("No learning curve has been logged yet.", "empty")
    course = _folded("Course of training, seed by seed", tables.training_course(study), method.COURSE_NOTE)
    return [*(figures or [nothing]), *course]


class _Pictures:
    """The pictures of a study, embedded as long as the page has room for them.

    Attributes:
        first: real images beside samples, for the answer.
        others: the final runs' other grids, those of each kind folded up.
        of_trials: samples of the trials that left any, by run.
    """

    def __init__(self, study: Study) -> None:
        self.left = IMAGE_BUDGET
        images = study.results.images
        finals = {run for final in study.finals.values() for run in final.runs["run_id"]}
        kinds = list(dict.fromkeys(image.kind for image in images if image.run_id in finals))
        order = [*dict.fromkeys((*FIRST_PICTURES, *PICTURES))]
        kinds.sort(key=lambda kind: (order.index(kind) if kind in order else len(order), kind))
        found = {kind: self._of_kind(study, kind, number) for number, kind in enumerate(kinds, start=1)}
        first = [grid for kind in FIRST_PICTURES for grid in found.pop(kind, [])]
        self.first: list[Block] = [Grids(first)] if first else []
        self.others: list[Block] = [Fold(PICTURES.get(kind, kind), [Grids(grids)]) for kind, grids in found.items()]
        trials = set(study.trials["run_id"])
        samples = [image for image in images if image.kind == "samples" and image.run_id in trials]
        self.of_trials = {each.run_id: self._embed(each.png) for each in samples if each.png.startswith(PNG_SIGNATURE)}

    def _embed(self, png: bytes) -> str:
        """The data address of a picture; empty where there is no room for it."""
        if len(png) > self.left:
            return ""
        self.left -= len(png)
        return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"

    def _of_kind(self, study: Study, kind: str, number: int) -> list[Grid]:
        """One grid an arm, that of the first reported seed; of real images, which are of no arm, a single one."""
        title = PICTURES.get(kind, kind)
        shown: list[Grid] = []
        for arm, final in study.finals.items():
            image = _first_grid(study.results.images, kind, list(final.runs["run_id"]))
            if image is None or (kind == REAL and shown):
                continue
            name = title if kind == REAL else f"{title} of {study.title(arm)}"
            path = f"images/{number}-{formatting.slug(kind)}-{len(shown) + 1}-{formatting.slug(arm)}.png"
            shown.append(Grid(name, image.caption, path, image.png, self._embed(image.png)))
        return shown


def _first_grid(images: list[ImageGrid], kind: str, runs: list[str]) -> ImageGrid | None:
    of_kind = {image.run_id: image for image in images if image.kind == kind and image.png.startswith(PNG_SIGNATURE)}
    return next((of_kind[run] for run in runs if run in of_kind), None)
