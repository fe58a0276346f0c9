"""Rows of measurements as a CSV file that an interrupted benchmark continues."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")

_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda text: float(text) if text else None,
}
"""By the annotation of a dataclass's field."""


def read(path: Path, kind: type[Row]) -> list[Row]:
    """All rows of a file; none where there is no file.

    Args:
        path: the file.
        kind: a dataclass whose fields are the columns.

    Raises:
        SystemExit: the file has other columns.
    """
    if not path.exists():
        return []
    columns = fields(kind)  # type: ignore[arg-type]
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        names = [column.name for column in columns]
        if table.fieldnames != names:
            raise SystemExit(f"error: {path} has the columns {table.fieldnames}, not {names}: move it away")
        return [kind(**{each.name: _READERS[str(each.type)](row[each.name]) for each in columns}) for row in table]


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Replace a file by these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    head = ",".join(column.name for column in fields(kind))  # type: ignore[arg-type]
    temporary.write_text(f"{head}\n{_as_text(rows)}")
    temporary.replace(path)


def append(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to a file that :func:`write` has made: all of them at once."""
    with path.open("a") as file:
        file.write(_as_text(rows))


def _as_text(rows: Iterable[Any]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    for row in rows:
        table.writerow(f"{value:.7g}" if isinstance(value, float) else value for value in astuple(row))
    return text.getvalue()
