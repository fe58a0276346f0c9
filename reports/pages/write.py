"""Write a study's report: an HTML page, its Markdown twin with figures beside it, the frames as CSV and Parquet."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow import Table
from pyarrow.csv import WriteOptions, write_csv

from bench.core.results import HISTORY_COLUMNS, MEASUREMENT_COLUMNS, RUN_COLUMNS, TABLES
from reports.analysis.results import with_schema
from reports.pages import study as pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from bench.core.results import StudyResults

ROWS_AT_ONCE = 100_000
"""Points of learning curves that are put into words at a time."""


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of a report lie.

    Attributes:
        html: the self-contained page, all that a reader needs.
        markdown: its twin for code hosts, which shows the files in ``figures`` and ``images``.
        measurements: every measurement, CSV, the schema's columns; ``measurements.parquet`` beside it holds the same.
        runs: every run, likewise.
        histories: every point of a learning curve, likewise.
        figures: the SVG files of the Markdown twin.
        images: its sample and reconstruction grids.
        tables: what final runs left beyond single numbers, CSV, one file for each of the schema's `TABLES` they left.
    """

    html: Path
    markdown: Path
    measurements: Path
    runs: Path
    histories: Path
    figures: tuple[Path, ...]
    images: tuple[Path, ...]
    tables: tuple[Path, ...] = ()


def write_report(results: StudyResults, folder: Path) -> ReportPaths:
    """Write the report of a study, whether finished, partial or without a single run, into ``folder``.

    The same results give the same bytes. Each file is replaced whole, so that a reader never meets half of one, and
    the pages are written after what they show.

    Args:
        results: what the study left behind.
        folder: made if it does not exist; files of an earlier report in it are replaced.

    Returns:
        The paths of all files written.
    """
    content = pages.page(results)
    frames = {
        "measurements": with_schema(results.measurements, MEASUREMENT_COLUMNS),
        "runs": with_schema(results.runs, RUN_COLUMNS),
        "histories": with_schema(results.histories, HISTORY_COLUMNS),
    }
    images = tuple(write_file(folder / view.path, view.png) for _, views in content.grids for view in views)
    figures = tuple(write_file(folder / view.path, view.standalone) for view in content.figures)
    for name, frame in frames.items():
        _write_parquet(folder / f"{name}.parquet", frame)
    tables = tuple(
        _write_csv(folder / "tables" / f"{name}.csv", with_schema(results.tables[name], ["run_id", *columns]))
        for name, columns in TABLES.items()
        if name in results.tables
    )
    _remove_others(folder, {*figures, *images, *tables})
    return ReportPaths(
        figures=figures,
        images=images,
        measurements=_write_csv(folder / "measurements.csv", frames["measurements"]),
        runs=_write_csv(folder / "runs.csv", frames["runs"]),
        histories=_write_histories(folder / "histories.csv", frames["histories"]),
        tables=tables,
        markdown=write_file(folder / "report.md", pages.markdown(content)),
        html=write_file(folder / "report.html", pages.html(content)),
    )


def _write_csv(path: Path, frame: pd.DataFrame) -> Path:
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    return path


def _write_histories(path: Path, frame: pd.DataFrame) -> Path:
    """The learning curves, by Arrow: pandas takes ten times as long, which counts for millions of points."""
    frame = frame[HISTORY_COLUMNS]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write((",".join(HISTORY_COLUMNS) + "\n").encode())
        for start in range(0, len(frame), ROWS_AT_ONCE):
            rows = frame.iloc[start : start + ROWS_AT_ONCE].astype({"run_id": str, "metric": str})
            write_csv(Table.from_pandas(rows, preserve_index=False), file, WriteOptions(include_header=False))
    return path


def _write_parquet(path: Path, frame: pd.DataFrame) -> Path:
    """The frame as Parquet, in which a column has one type: text where a parameter is a number in some runs only."""
    mixed = [name for name in frame.select_dtypes(object) if frame[name].dropna().map(type).nunique() > 1]
    texts = {str(name): frame[name].map(str, na_action="ignore") for name in mixed}
    with replacing(path) as temporary:
        frame.assign(**texts).to_parquet(temporary, index=False)
    return path


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove what an earlier report has left in the folders that this one fills."""
    for name in ("figures", "images", "tables"):
        for path in (folder / name).glob("*.*"):
            if path not in kept:
                path.unlink()


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, its folder made if need be; returns ``path``."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file, to be written, that becomes ``path`` if all goes well; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
