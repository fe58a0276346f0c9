"""What is measured, row by row: a table on disk that holds each figure as soon as there is one."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FAILED = "failed"
"""The figure of what could not be measured; its note says why."""
WHOLE = "whole part"
"""The subject of the row that says how a part went."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        part: of the benchmark.
        subject: of what.
        figure: which, with its unit; ``failed`` where there is none, and the note says why.
        value: the number.
        error: its standard error, where it has one.
        images: training images seen by then, in a learning curve.
        seconds: training seconds by then, in a learning curve.
        note: what else is to be known, in words.
    """

    part: str
    subject: str
    figure: str
    value: float | None = None
    error: float | None = None
    images: int | None = None
    seconds: float | None = None
    note: str = ""


NUMBERS = {"value": float, "error": float, "images": int, "seconds": float}


class Table:
    """The rows in a CSV file, to which several processes add, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: Row) -> None:
        """Append a row, and print it."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            if is_new:
                writer.writeheader()
            writer.writerow({name: _shown(value) for name, value in asdict(row).items()})
        cells = (f"{name} {_shown(value)}" for name, value in list(asdict(row).items())[3:] if value not in (None, ""))
        print(row.part, row.subject, row.figure, *cells, sep=" | ", flush=True)

    def rows(self) -> list[Row]:
        """All of them, in order."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return [Row(**{name: _read(name, text) for name, text in row.items()}) for row in csv.DictReader(file)]


def _read(name: str, text: str) -> Any:
    """A column's value from its text; an empty number is None."""
    return text if name not in NUMBERS else NUMBERS[name](text) if text else None


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
