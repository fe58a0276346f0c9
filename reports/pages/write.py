"""Write a study's report: an HTML page, its Markdown twin with figures beside it, the frames as CSV and Parquet."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pandas.api.types import is_object_dtype
from pyarrow import Table
from pyarrow.csv import WriteOptions
from pyarrow.csv import write_csv as write_rows

from bench.core.files import replacing, write_file
from bench.core.results import HISTORY_COLUMNS, MEASUREMENT_COLUMNS, RUN_COLUMNS, TABLES
from reports.analysis import arm_forecasts
from reports.analysis.reference_codes import code_table
from reports.analysis.results import Study, with_schema
from reports.exports.answer import answer_json
from reports.exports.bibtex import references
from reports.exports.latex import latex_tables
from reports.formatting import unescaped
from reports.pages.files import remove_others, write_csv
from reports.pages.study import page_of
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text.contents import Contents
from reports.units import in_unit_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.results import StudyResults

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 2**17
"""Rows that a Parquet file holds together: all of them are in memory until they are written."""
FORECASTS = "forecasts.csv"
"""The file in which reports keep score of their forecasts."""


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of a report lie.

    Attributes:
        html: the self-contained page, all that a reader needs.
        markdown: its twin for code hosts, which shows the files in ``figures`` and ``images``.
        measurements: every measurement, CSV, the schema's columns; ``measurements.parquet`` beside it holds the same.
        runs: every run, likewise.
        histories: every point of a learning curve, likewise.
        answer: the answer for programs, JSON by the schema of :mod:`reports.exports.schema`.
        latex: its tables for LaTeX.
        references: what it cites, BibTeX.
        figures: the SVG files of the Markdown twin.
        pdf_figures: the same as PDF.
        figure_numbers: the numbers of the figures, CSV, of those whose numbers no other file holds.
        images: its sample and reconstruction grids.
        tables: what final runs left beyond single numbers, CSV, one file for each of the schema's `TABLES` they left,
            and the reference codes.
        forecasts: what this report and earlier ones forecast of more training, CSV; None where nothing was.
    """

    html: Path
    markdown: Path
    measurements: Path
    runs: Path
    histories: Path
    answer: Path
    latex: Path
    references: Path
    figures: tuple[Path, ...]
    figure_numbers: tuple[Path, ...]
    images: tuple[Path, ...]
    pdf_figures: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    forecasts: Path | None = None


def write_report(results: StudyResults, folder: Path, *, pdf: bool = True) -> ReportPaths:
    """Write the report of a study, whether finished, partial or without a single run, into ``folder``.

    The same results give the same bytes. Each file is replaced whole, so that a reader never meets half of one, and
    the pages are written after what they show.

    Args:
        results: what the study left behind.
        folder: made if it does not exist; files of an earlier report in it are replaced.
        pdf: whether to write the figures as PDF too.

    Returns:
        The paths of all files written.
    """
    return write_contents(contents_of(results, folder), folder, pdf=pdf)


def contents_of(results: StudyResults, folder: Path) -> Contents:
    """What the report of a study says in ``folder``, where earlier ones may have left forecasts."""
    return Contents(Study(results, _earlier_forecasts(folder / FORECASTS)))


def write_contents(contents: Contents, folder: Path, *, pdf: bool = True) -> ReportPaths:
    """:func:`write_report` for whoever needs what the report says too.

    Args:
        contents: what :func:`contents_of` gives of the same folder.
        folder: made if it does not exist; files of an earlier report in it are replaced.
        pdf: whether to write the figures as PDF too.

    Returns:
        The paths of all files written.
    """
    study = contents.study
    results = study.results
    content = page_of(contents, pdf=pdf)
    text = page_as_markdown(content)
    frames = {
        "measurements": with_schema(results.measurements, MEASUREMENT_COLUMNS),
        "runs": with_schema(results.runs, RUN_COLUMNS),
        "histories": with_schema(results.histories, HISTORY_COLUMNS),
    }
    images = tuple(write_file(folder / grid.path, grid.png) for grid in content.grids)
    figures = tuple(write_file(folder / each.path, each.standalone) for each in content.figures)
    pdf_figures = tuple(write_file(folder / each.pdf_path, each.pdf) for each in content.figures if each.pdf)
    numbers = tuple(
        write_csv(folder / each.numbers_path, each.numbers) for each in content.figures if each.numbers is not None
    )
    for name, frame in frames.items():
        _write_parquet(folder / f"{name}.parquet", frame)
    tables = tuple(
        write_csv(folder / "tables" / f"{name}.csv", with_schema(results.tables[name], ["run_id", *columns]))
        for name, columns in TABLES.items()
        if name in results.tables
    )
    if results.reference_codes.measured:
        tables += (write_csv(folder / "tables" / "reference_codes.csv", code_table(study)),)
    remove_others(folder, {*figures, *pdf_figures, *numbers, *images, *tables})
    return ReportPaths(
        figures=figures,
        figure_numbers=numbers,
        pdf_figures=pdf_figures,
        answer=write_file(folder / "answer.json", in_unit_of(results.dataset, answer_json(contents))),
        latex=write_file(folder / "tables.tex", in_unit_of(results.dataset, latex_tables(contents))),
        references=write_file(folder / "references.bib", references([contents.study], unescaped(text))),
        images=images,
        measurements=write_csv(folder / "measurements.csv", frames["measurements"]),
        runs=write_csv(folder / "runs.csv", frames["runs"]),
        histories=_write_histories(folder / "histories.csv", frames["histories"]),
        tables=tables,
        forecasts=_write_forecasts(folder / FORECASTS, study),
        markdown=write_file(folder / "report.md", text),
        html=write_file(folder / "report.html", page_as_html(content)),
    )


def _earlier_forecasts(path: Path) -> pd.DataFrame | None:
    """The forecasts of earlier reports; a file that holds none is moved aside, with a warning."""
    try:
        return arm_forecasts.read(path)
    except ValueError as error:
        aside = path.replace(path.with_name(f"{path.stem}.damaged{path.suffix}"))
        log.warning("%s held no forecasts of earlier reports and was moved to %s: %s", path.name, aside, error)
        return None


def _write_forecasts(path: Path, study: Study) -> Path | None:
    """What earlier reports forecast, and what this one does."""
    frame = arm_forecasts.recorded(study)
    return None if frame.empty else write_csv(path, frame)


def _write_histories(path: Path, frame: pd.DataFrame) -> Path:
    """The learning curves, by Arrow: pandas takes ten times as long, which counts for millions of points."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write((",".join(HISTORY_COLUMNS) + "\n").encode())
        table = Table.from_pandas(_of_one_type(frame[HISTORY_COLUMNS]), preserve_index=False)
        write_rows(table, file, WriteOptions(include_header=False))
    return path


def _write_parquet(path: Path, frame: pd.DataFrame) -> Path:
    with replacing(path) as temporary:
        _of_one_type(frame).to_parquet(temporary, index=False, row_group_size=ROWS_AT_ONCE)
    return path


def _of_one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for Arrow, whose columns have one type: text where a parameter is a number in some runs only."""
    objects = [name for name in frame if is_object_dtype(frame[name])]
    mixed = [name for name in objects if frame[name].dropna().map(type).nunique() > 1]
    return frame.assign(**{str(name): frame[name].map(str, na_action="ignore") for name in mixed})
