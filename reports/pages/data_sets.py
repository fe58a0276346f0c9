"""A comparison over data sets as a page of HTML, its Markdown twin with figures beside it, and its numbers as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.core.files import write_file
from bench.core.sequences import unit_of
from reports.exports.bibtex import references
from reports.figures import data_sets as figures
from reports.figures.drawing import draw_each
from reports.figures.styles import arm_styles
from reports.formatting import listing, unescaped
from reports.pages.document import Block, Document, Figures, Glossary, Headline, Items, Section
from reports.pages.files import remove_others, write_csv
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text import data_sets as text
from reports.units import in_unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from reports.analysis.data_sets import OverDataSets
    from reports.analysis.results import Study
    from reports.figures.grammar import Figure


def page(data_sets: OverDataSets) -> Document:
    """Compute the page; figures and tests stand where there are enough data sets for them."""
    styles = arm_styles(data_sets.families)

    def drawn(name: str, title: str, *make: Callable[[OverDataSets], Figure | None]) -> list[Block]:
        found = draw_each(name, title, lambda: [each for one in make if (each := one(data_sets)) is not None], styles)
        return [Figures(found)] if found else []

    answer: list[Block] = [
        Headline(text.headline(data_sets)),
        Items(text.details(data_sets)),
        text.likelihoods(data_sets),
    ]
    sections = [Section("answer", "Answer", "Answer", answer)]
    if (test := data_sets.test) is not None:
        found, pairs = Items([text.found_by_test(test)]), text.pairs(data_sets, test)
        blocks = [found, *drawn("ranks", "Ranks over data sets", figures.ranks), pairs]
        sections.append(Section("ranks", "Ranks", "Ranks", blocks))
    if data_sets.are_several:
        profiles = [
            Items(text.profile_sentences(data_sets)),
            *drawn("profiles", "Performance profiles", figures.likelihood_profiles, figures.time_profiles),
            text.profile_table(data_sets),
        ]
        sections.append(Section("profiles", "Performance profiles", "Profiles", profiles))
    notes = [*text.RANKS, *(text.TESTS if data_sets.are_several else [])]
    method: list[Block] = [Glossary(notes), text.sources(data_sets)]
    sections.append(Section("method", "Method", "Method", method))
    names = listing(list(data_sets.studies))
    return Document(
        name=f"Arms over {names}",
        kicker=f"A comparison over data sets: {names}",
        heading="Which arm is better over all data sets?",
        sections=sections,
        footer="Made by reparam-bench. Every number lies beside this page as CSV, and in references.bib what it cites.",
        styles=list(styles.values()),
    )


def write_data_sets(data_sets: OverDataSets, folder: Path) -> Path:
    """Write ``compare.html`` and ``.md``, ``references.bib``, ``results.csv`` and, where tested, ``pairs.csv``.

    The same studies give the same bytes.

    Returns:
        The path of the HTML page.
    """
    frames = {"results": _results(data_sets), "pairs": _pairs(data_sets)}
    return write_several(page(data_sets), frames, data_sets.studies.values(), folder)


def write_several(
    content: Document, frames: Mapping[str, pd.DataFrame | None], studies: Iterable[Study], folder: Path
) -> Path:
    """Write the page of several studies, its twin, its figures, what it cites, and frames as CSV; None removes one.

    Returns:
        The path of the HTML page.
    """
    studies = list(studies)
    kinds = {unit_of(str(study.results.dataset.get("encoding", ""))): study.results.dataset for study in studies}
    if len(kinds) == 1:
        content = in_unit_of(next(iter(kinds.values())), content)
    for name, frame in frames.items():
        if frame is None:
            (folder / f"{name}.csv").unlink(missing_ok=True)
        else:
            write_csv(folder / f"{name}.csv", frame)
    written = {write_file(folder / each.path, each.standalone) for each in content.figures}
    written |= {write_file(folder / each.pdf_path, each.pdf) for each in content.figures if each.pdf}
    numbers = {folder / each.numbers_path: each.numbers for each in content.figures if each.numbers is not None}
    written |= {write_csv(path, frame) for path, frame in numbers.items()}
    remove_others(folder, written)
    markdown = page_as_markdown(content)
    write_file(folder / "compare.md", markdown)
    write_file(folder / "references.bib", references(studies, unescaped(markdown)))
    return write_file(folder / "compare.html", page_as_html(content))


def _results(data_sets: OverDataSets) -> pd.DataFrame:
    """A row for each data set and arm."""
    rows = []
    for name, study in data_sets.studies.items():
        for arm, estimate in data_sets.estimates[name].items():
            ranked = arm in data_sets.ranked
            rows.append(
                {
                    "data_set": name,
                    "study": study.results.study_id,
                    "arm": arm,
                    "in_study": arm in study.families,
                    "bits_per_dim": None if estimate is None else estimate.mean,
                    "error": None if estimate is None else estimate.error,
                    "seeds": 0 if estimate is None else estimate.seeds,
                    "training_seconds": data_sets.seconds.loc[name, arm],
                    "rank": data_sets.ranks.loc[name, arm] if ranked else None,
                }
            )
    return pd.DataFrame(rows)


def _pairs(data_sets: OverDataSets) -> pd.DataFrame | None:
    """A row for each two ranked arms."""
    test, arms = data_sets.test, data_sets.ranked
    if test is None:
        return None
    rows = [
        {"first": arms[i], "second": arms[j], "difference": test.average[i] - test.average[j], "p": p}
        for (i, j), p in test.pairs.items()
    ]
    return pd.DataFrame(rows).assign(friedman_chi_squared=test.statistic, friedman_p=test.p, critical=test.critical)
