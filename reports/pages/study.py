"""The page of a study: what it says and shows, in its order."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import reports.figures.study  # noqa: F401 - registers the figures of the report
from bench.core.results import PICTURES, TABLES, RunState
from reports import formatting
from reports.analysis import sequences
from reports.analysis.arm_forecasts import recorded
from reports.analysis.costs import IMAGES, SECONDS
from reports.analysis.findings import Finding
from reports.analysis.frontier import frontiers
from reports.analysis.results import Study
from reports.analysis.rungs import rungs
from reports.analysis.statistics import LEVEL
from reports.analysis.won_images import Win, wins
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
    Passages,
    Section,
    Sounds,
    provenance,
)
from reports.text import comparison_tables, configuration_tables, frontier, method, practical, run_tables, state_tables
from reports.text.contents import Contents
from reports.text.promotion import by_hand
from reports.units import in_unit_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.results import ImageGrid, StudyResults
    from reports.analysis.differences import Difference
    from reports.analysis.frontier import Frontier
    from reports.figures.drawing import DrawnFigure, FailedFigure
    from reports.figures.registry import RegisteredFigure
    from reports.figures.styles import Style
    from reports.text.answer import Answer
    from reports.text.table import Table

IMAGE_BUDGET = 1_200_000
"""Bytes of pictures that the page embeds; further grids are files beside it, as the page must stay under 6 MB."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_FIGURES = 4
"""Figures of one kind that stand open; the further ones are folded."""
OPEN = {"frontier": 2, "trade-off": 2, "learning": 1} | dict.fromkeys(("bound", "latents", "importance", "budget"), 0)
"""Likewise of those kinds that answer less."""
MOST_BESIDE = 4
"""Sentences beside the figure of the answer; further ones stand below the pictures, which they would push away."""
MOST_PAIRS = 3
"""Pairs of arms whose practical size stands open: those of three arms."""
REAL = "data"
FIRST_PICTURES = (REAL, "samples")
"""The kinds of pictures that stand in the answer: real images, and samples beside them."""


def page(results: StudyResults, earlier: pd.DataFrame | None = None) -> Document:
    """Compute the page of a study, in whatever state it is; ``earlier`` are the forecasts of earlier reports."""
    return page_of(Contents(Study(results, earlier)))


def page_of(contents: Contents, *, pdf: bool = False) -> Document:
    """Compute the page of a study, in whatever state it is, its figures as PDF too where that is asked for."""
    study, results = contents.study, contents.study.results
    styles = arm_styles(study.families)
    pictures = _Pictures(study)
    figures: dict[str, list[Block]] = {}
    for entry in registered_figures():
        drawn = draw_registered(entry, study, styles, pdf=pdf)
        if drawn:
            figures.setdefault(entry.section, []).extend(_figures(entry, drawn))
    more = figures.get("more", [])
    notes = method.notes(study.kind)
    sections = [
        Section("answer", "Answer", "Answer", _answer(study, contents.answer, pictures, figures.get("answer", []))),
        *_budgets(study, contents.answer.first, figures.get("budgets", [])),
        Section(
            "comparison",
            "Comparison",
            "Comparison",
            _comparison(contents, styles, pictures, figures.get("comparison", [])),
        ),
        Section(
            "diagnostics", "Diagnostics", "Diagnostics", _diagnostics(contents.findings, figures.get("diagnostics", []))
        ),
        Section("trials", "Trials", "Trials", _trials(study, pictures, figures.get("trials", []))),
        Section("learning", "Learning curves", "Learning curves", _learning(study, figures.get("learning", []))),
        *([Section("more", "More figures", "More figures", more)] if more else []),
        *([Section("pictures", "More pictures", "Pictures", pictures.others)] if pictures.others else []),
        Section(
            "method",
            "Method",
            "Method",
            [Fold("How to read the numbers", [Glossary(notes)])],
        ),
        provenance(results.dataset, results.settings, results.provenance),
    ]
    document = Document(
        name=f"{results.name} on {results.dataset.get('name', 'unknown data')}",
        kicker=results.study_id,
        heading=results.question or results.name,
        sections=sections,
        footer=f"Made by reparam-bench from the logged measurements. The numbers lie beside it: {_files(study)}.",
        styles=list(styles.values()),
        selectable=True,
    )
    return in_unit_of(results.dataset, replace(document, files=_for_papers(document)))


def _for_papers(document: Document) -> list[tuple[str, str]]:
    """What lies beside the page for papers and programs."""
    drawn = [("figures/", "each figure as PDF")] if any(each.pdf for each in document.figures) else []
    return [
        ("answer.json", "this answer for programs"),
        ("tables.tex", "its tables for LaTeX"),
        ("references.bib", "what it cites"),
        *drawn,
    ]


def _files(study: Study) -> str:
    """The files with the page's numbers, as a listing."""
    results = study.results
    names = [f"tables/{name}.csv" for name in TABLES if name in results.tables]
    names += ["tables/reference_codes.csv"] if results.reference_codes.measured else []
    names += ["forecasts.csv"] if len(recorded(study)) else []
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


def _answer(study: Study, found: Answer, pictures: _Pictures, figures: list[Block]) -> list[Block]:
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


def _budgets(study: Study, answer: list[str], figures: list[Block]) -> list[Section]:
    """Which arm is better for how much; nothing where no final run has a learning curve or was measured."""
    found = frontiers(study)
    if not found and not figures:
        return []
    parts: dict[bool, list[Frontier]] = {True: [], False: []}
    for each in found:
        parts[each.cost in (IMAGES, SECONDS) and not each.with_tuning].append(each)
    said = [*frontier.sentences(study, found, answer), *frontier.schedules(study, found)]
    targets, on_test = frontier.time_to_target(study, found), frontier.on_test(study, rungs(study))
    on_validation = frontier.budgets(study, parts[True])
    blocks = [
        *([Items(said)] if said else []),
        *figures,
        *_shown(on_test),
        *(_folded("The same on validation", on_validation) if on_test.rows else _shown(on_validation)),
        *_folded("Validation with tuning, and by operations and energy", frontier.budgets(study, parts[False])),
        *_folded("Which arm is the lowest, range by range", frontier.ranges(study, found)),
        *_folded("Where two arms cross", frontier.crossing_table(study, found)),
        *_folded("Time to a target: reference codes and published results", targets, method.TARGETS_NOTE),
    ]
    return [Section("budgets", "For how much", "For how much", blocks)]


def _comparison(contents: Contents, styles: dict[str, Style], pictures: _Pictures, figures: list[Block]) -> list[Block]:
    study = contents.study
    groups = comparison_tables.comparison(study, contents.measured)
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
    chosen = [
        each
        for each in (configuration_tables.selected(study), configuration_tables.fixed(study))
        if known and each.rows
    ]
    return [
        *(measured if groups else [Paragraph("No final run has been measured yet.", "empty")]),
        *_folded("Metrics that could not be measured", state_tables.unavailable(study)),
        *_practical_size(study),
        *_differences(study, contents.differences),
        *pictures.won,
        *figures,
        *_folded("Published likelihoods of this data", comparison_tables.published(study), method.PUBLISHED_NOTE),
        *([Fold("Selected configurations, all parameters", chosen)] if chosen else []),
        *_folded("All final runs, seed by seed", run_tables.final_runs(study)),
        *([] if arms else [Paragraph("No arm is known yet.", "empty")]),
    ]


def _practical_size(study: Study) -> list[Block]:
    """The probabilities of every pair of arms; many pairs are folded up."""
    table = practical.table(study)
    if len(table.rows) > MOST_PAIRS:
        return _folded(table.caption, table, method.PRACTICAL_NOTE)
    return _shown(table, method.PRACTICAL_NOTE)


def _differences(study: Study, found: list[Difference]) -> list[Block]:
    clear = sum(each.adjusted < 1 - LEVEL for each in found)
    summary = f"{formatting.count(len(found), 'difference')} tested, {clear} clear of 0 at 5% after Holm's correction"
    return _folded(summary, comparison_tables.differences(study, found), method.DIFFERENCES_NOTE)


def _diagnostics(found: list[Finding], figures: list[Block]) -> list[Block]:
    alarms, quiet = ([each for each in found if each.alarm == loud] for loud in (True, False))
    if not found:
        return [Paragraph("The final runs have left no diagnostics yet.", "empty"), *figures]
    return [
        Findings(alarms) if alarms else Paragraph("No alarm.", "note"),
        *([Fold(f"{formatting.count(len(quiet), 'finding')} without an alarm", [Findings(quiet)])] if quiet else []),
        *figures,
    ]


def _trials(study: Study, pictures: _Pictures, figures: list[Block]) -> list[Block]:
    counts, reasons = state_tables.state_counts(study), state_tables.failure_reasons(study)
    promoted = by_hand(study, study.arms)
    stability = [run_tables.learning_rate_stability(study, arm) for arm in study.arms]
    stable = [table for table in stability if table is not None]
    searched = [(study.title(arm), run_tables.trials(study, arm, pictures.of_trials)) for arm in study.arms]
    return [
        *(_shown(counts, state_tables.uncounted(study)) or [Paragraph("No run has been logged yet.", "empty")]),
        *([Paragraph(promoted, "note")] if promoted else []),
        *(_folded(reasons.caption, reasons) if (study.runs["state"] == RunState.COMPLETE).any() else _shown(reasons)),
        *figures,
        *([Fold("How stable training is, by learning rate", stable)] if stable else []),
        *(block for name, table in searched for block in _folded(f"All trials of {name}", table)),
    ]


def _learning(study: Study, figures: list[Block]) -> list[Block]:
    nothing = Paragraph("No learning curve has been logged yet.", "empty")
    course = _folded("Course of training, seed by seed", run_tables.training_course(study), method.COURSE_NOTE)
    return [*(figures or [nothing]), *course]


class _Pictures:
    """The pictures of a study, embedded as long as the page has room for them.

    Attributes:
        first: real images beside samples, for the answer.
        won: the test images that each arm wins, those of the second pair of arms and further ones folded up.
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
        self.first = [*_sequences(study), *self.first]
        self.won = self._won(study)
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

    def _won(self, study: Study) -> list[Block]:
        """What the best arm wins against each of the others, and loses: two grids a pair, or a sentence without one."""
        found = wins(study)
        pairs = [found[i : i + 2] for i in range(0, len(found), 2)]
        blocks = [self._won_by_pair(study, pair, 2 * number + 1) for number, pair in enumerate(pairs)]
        if not blocks:
            return []
        names = [f"{study.title(pair[0].winner)} and {study.title(pair[0].loser)}" for pair in pairs]
        folds = [Fold(f"Test images that separate {name}", each) for name, each in zip(names, blocks, strict=True)][1:]
        return [Heading(f"Test images that separate {names[0]}"), *blocks[0], *folds]

    def _won_by_pair(self, study: Study, pair: list[Win], number: int) -> list[Block]:
        grids: list[Grid] = []
        missing: list[Block] = []
        for place, win in enumerate(pair, start=number):
            png = next((each.png for each in study.results.won_images if win.shows(each)), b"")
            said = practical.won(study, win)
            if not png.startswith(PNG_SIGNATURE):
                missing.append(Paragraph(f"{said}."))
                continue
            path = f"images/won-{place}-{formatting.slug(win.winner)}.png"
            caption = f"{said}. Shown: the largest differences, in bits/dim"
            name = f"Better under {study.title(win.winner)}"
            grids.append(Grid(name, caption, path, png, self._embed(png), practical.won_labels(win)))
        return [*([Grids(grids)] if grids else []), *missing]

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


def _sequences(study: Study) -> list[Block]:
    """Real text or sound, and samples of each arm; nothing of images."""
    kind = study.kind
    held_out = sequences.held_out(study)
    length, of = len(held_out[0]) if held_out else 0, "samples" if kind == "audio" else "symbols"
    named = f"Not selected. Such a window of {length:,} {of} is what this page calls an image"
    sets = [("Held-out data", named, held_out)]
    for arm in study.arms:
        name = f"Samples of {study.title(arm)}"
        sets.append((name, "At temperature 1, not selected", sequences.samples(study, arm)))
    if kind == "text":
        return [
            Passages(name, caption, [sequences.as_text(study, each) for each in found])
            for name, caption, found in sets
            if found
        ]
    if kind == "audio":
        return [
            Sounds(name, caption, [_wav_address(sequences.as_wav(study, each)) for each in found])
            for name, caption, found in sets
            if found
        ]
    return []


def _wav_address(wav: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(wav).decode('ascii')}"


def _first_grid(images: list[ImageGrid], kind: str, runs: list[str]) -> ImageGrid | None:
    of_kind = {image.run_id: image for image in images if image.kind == kind and image.png.startswith(PNG_SIGNATURE)}
    return next((of_kind[run] for run in runs if run in of_kind), None)
