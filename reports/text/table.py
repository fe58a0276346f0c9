"""The grammar of tables: cells, rows and a plain table."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

SCALED_UNITS = {"s", "bytes", "images/s", "log-weights/s"}
"""Units that a value scales (min, MB, k images/s), and which therefore stand in the cell and not in the row's head."""


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: what it says.
        notes: small ones beside the text.
        folded: further ones, which show where the row is unfolded.
        href: a web address, where there is one.
        order: by what to sort, where not by the text.
        picture: the data address of a small picture.
    """

    text: str
    notes: list[str] = field(default_factory=list)
    href: str = ""
    order: float | None = None
    picture: str = ""
    folded: list[str] = field(default_factory=list)

    @property
    def all_notes(self) -> list[str]:
        """Its notes, folded ones included."""
        return [*self.notes, *self.folded]


@dataclass(frozen=True)
class Row:
    """One metric under one set of conditions: what it is, the conditions as notes, and one cell an arm.

    ``distinct`` are the conditions where several rows have one label; ``warning`` says why the values are not to be
    relied on, and is empty where nothing speaks against them. A row ``across`` all arms is of none: it has one cell.
    """

    label: str
    unit: str
    arrow: str
    direction: str
    definition: str
    notes: list[str]
    cells: list[Cell]
    distinct: str = ""
    warning: str = ""
    across: bool = False

    @property
    def more(self) -> bool:
        """Whether there is more to say of it than fits into its line."""
        return bool(self.definition or self.notes or any(cell.folded for cell in self.cells))


@dataclass(frozen=True)
class Table:
    """A plain table.

    Attributes:
        caption: what it shows.
        columns: its column heads.
        rows: cells, the first of each being the row's head.
        runs: where each row is a run, their identifiers, by which it can be selected.
        sortable: whether the values of a column can be compared, so that the page may sort by it.
    """

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    runs: list[str] = field(default_factory=list)
    sortable: bool = False


def web_address(url: object) -> str:
    """``url`` if it is an http(s) address, else nothing: no other scheme becomes a link."""
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.netloc else ""
