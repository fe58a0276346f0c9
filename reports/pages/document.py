"""A page as data: sections of blocks, which one HTML template and one Markdown template set.

A block is a text, a table, figures or one of the classes here; the templates know each by the name of its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports import formatting
from reports.figures.drawing import DrawnFigure
from reports.text.configuration_tables import facts
from reports.units import VERBATIM

if TYPE_CHECKING:
    from reports.analysis.findings import Finding
    from reports.figures.drawing import FailedFigure
    from reports.figures.styles import Style
    from reports.text.table import Row

Block = Any
"""One of the classes below, or a :class:`reports.text.table.Table`."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``kind`` is ``note``, ``empty`` (where there is nothing to show) or none."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Headline:
    """The answer in a sentence."""

    text: str


@dataclass(frozen=True)
class Items:
    """Sentences, one below the other."""

    items: list[str]


@dataclass(frozen=True)
class Findings:
    """Sentences, of which some are alarms."""

    items: list[Finding]


@dataclass(frozen=True)
class Arm:
    """The head of an arm's column: title, family where the title does not say it, look, number of final runs."""

    title: str
    family: str
    style: Style
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """The comparison table: groups of rows under a title, one column an arm."""

    arms: list[Arm]
    groups: list[tuple[str, list[Row]]]

    @property
    def definitions(self) -> list[tuple[str, str]]:
        """What each metric is, once a metric."""
        defined = {row.label: row.definition for _, rows in self.groups for row in rows if row.definition}
        return list(defined.items())


@dataclass(frozen=True)
class Figures:
    """Figures side by side."""

    figures: list[DrawnFigure | FailedFigure]


@dataclass(frozen=True)
class Grid:
    """A picture grid: its name, its caption, its file, and its data address where the page has room for it.

    A grid of one row has ``labels``, where something is to be said of each of its images.
    """

    name: str
    caption: str
    path: str
    png: bytes
    data_uri: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grids:
    """Picture grids side by side."""

    grids: list[Grid]


@dataclass(frozen=True)
class Passages:
    """Passages of text under a name, as they are."""

    name: str
    caption: str
    texts: list[str] = field(metadata={VERBATIM: True})


@dataclass(frozen=True)
class Sounds:
    """Sounds under a name: the data addresses of WAV files."""

    name: str
    caption: str
    addresses: list[str] = field(metadata={VERBATIM: True})


@dataclass(frozen=True)
class Beside:
    """Blocks side by side where there is room, else one below the other."""

    blocks: list[Block]


@dataclass(frozen=True)
class Fold:
    """Blocks that are folded up under a summary."""

    summary: str
    blocks: list[Block]


@dataclass(frozen=True)
class Glossary:
    """Terms and what they mean."""

    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """A command line."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values, in groups."""

    groups: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class Section:
    """A section: its anchor, its title, its name in the list of contents, and its blocks."""

    anchor: str
    title: str
    contents: str
    blocks: list[Block]


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        name: its title in the browser.
        kicker: a line above the heading.
        heading: the question.
        sections: in their order.
        footer: a sentence at the end.
        styles: those whose colours the page needs.
        selectable: whether runs can be selected.
        files: what lies beside the page for papers and programs: the place of each and what it is.
    """

    name: str
    kicker: str
    heading: str
    sections: list[Section]
    footer: str
    styles: list[Style] = field(default_factory=list)
    selectable: bool = False
    files: list[tuple[str, str]] = field(default_factory=list)

    def all_blocks(self) -> Iterator[Block]:
        """Every block in its order, those within others included."""
        stack = [block for section in reversed(self.sections) for block in reversed(section.blocks)]
        while stack:
            block = stack.pop()
            yield block
            stack += reversed(block.blocks if isinstance(block, Fold | Beside) else [])

    @property
    def figures(self) -> list[DrawnFigure]:
        """All figures that could be drawn."""
        found = [each for block in self.all_blocks() if isinstance(block, Figures) for each in block.figures]
        return [each for each in found if isinstance(each, DrawnFigure)]

    @property
    def tables_of_runs(self) -> int:
        """The number of folded tables whose rows are runs."""
        folds = [block for block in self.all_blocks() if isinstance(block, Fold)]
        return sum(bool(getattr(each, "runs", ())) for fold in folds for each in fold.blocks)

    @property
    def grids(self) -> list[Grid]:
        """All picture grids."""
        return [grid for block in self.all_blocks() if isinstance(block, Grids) for grid in block.grids]


def provenance(dataset: Mapping[str, object], settings: Mapping[str, object], known: Mapping[str, object]) -> Section:
    """The last section: the command, the data, the settings, and where it ran."""
    known = dict(known)
    command = known.pop("command", "")
    groups = [("Data", facts(dataset)), ("Settings", facts(settings)), ("Code, versions and device", facts(known))]
    blocks: list[Block] = [Heading("Run it again"), Command(formatting.plain(command))] if command else []
    blocks.append(
        Fold("Data, settings, code and device", [Facts([(title, pairs) for title, pairs in groups if pairs])])
    )
    return Section("provenance", "Provenance", "Provenance", blocks)
