"""Figures drawn for the page: in both forms, with the file that holds their numbers, or with what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.figures import matplotlib as static
from reports.figures import plotly as interactive
from reports.figures import svg
from reports.figures.grammar import Figure
from reports.formatting import shortened, slug, visible
from reports.units import in_unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from markupsafe import Markup

    from reports.analysis.results import Study
    from reports.figures.registry import RegisteredFigure
    from reports.figures.styles import Style

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrawnFigure:
    """A figure in all its forms.

    Attributes:
        title: its heading, and its name for screen readers.
        caption: what is to be seen.
        inline: as SVG for the page.
        standalone: as an SVG file.
        path: that file's place beside the page.
        pdf: as a PDF file; empty where it was not asked for.
        plot: as JSON for plotly.
        numbers: its numbers; None where another file of the report holds them.
        numbers_path: the file's place beside the page.
    """

    title: str
    caption: str
    inline: Markup
    standalone: str
    path: str
    plot: str
    numbers: pd.DataFrame | None
    numbers_path: str
    pdf: bytes = field(default=b"", repr=False)

    @property
    def pdf_path(self) -> str:
        """The PDF file's place beside the page; empty where there is none."""
        return f"{self.path.removesuffix('.svg')}.pdf" if self.pdf else ""


@dataclass(frozen=True)
class FailedFigure:
    """The place of a figure that could not be drawn, with the reason."""

    title: str
    reason: str


def draw(figure: Figure, styles: Mapping[str, Style], stem: str, *, pdf: bool = False) -> DrawnFigure:
    """Draw a figure by both renderers.

    Args:
        figure: what to draw.
        styles: the look of each arm, or of what else the colour roles name.
        stem: the name of its files, without an ending.
        pdf: whether to draw it as PDF too.
    """
    title, caption = visible(figure.title), visible(figure.caption)
    raw, as_pdf = static.draw_with_pdf(figure, styles) if pdf else (static.draw(figure, styles), b"")
    return DrawnFigure(
        title,
        caption,
        svg.inline(raw, title, f"{stem}-", svg.themed(styles)),
        svg.standalone(raw, title),
        f"figures/{stem}.svg",
        interactive.draw(figure, styles),
        None if figure.numbers else figure.frame(),
        figure.numbers or f"figures/{stem}.csv",
        as_pdf,
    )


def draw_registered(
    entry: RegisteredFigure, study: Study, styles: Mapping[str, Style], *, pdf: bool = False
) -> list[DrawnFigure | FailedFigure]:
    """Draw a registered figure for a study; one that raises leaves its place, the reason, and a line in the log."""

    def made() -> Iterable[Figure]:
        found = entry.make(study)
        several = [] if found is None else [found] if isinstance(found, Figure) else found
        return (in_unit_of(study.results.dataset, each) for each in several)

    return draw_each(entry.name, entry.title, made, styles, pdf=pdf)


def draw_each(
    name: str, title: str, make: Callable[[], Iterable[Figure]], styles: Mapping[str, Style], *, pdf: bool = False
) -> list[DrawnFigure | FailedFigure]:
    """Draw all that a function makes, up to the first that fails."""
    found: list[DrawnFigure | FailedFigure] = []
    try:
        for number, figure in enumerate(make(), start=1):
            if not isinstance(figure, Figure):
                raise TypeError(f"it returned a {type(figure).__name__}, not a Figure, several, or None")
            stem = "-".join(filter(None, [slug(name), str(number), slug(figure.stem) if figure.stem else ""]))
            found.append(draw(figure, styles, stem, pdf=pdf))
    except Exception as error:
        # A user's figure may raise anything, and the report must be written.
        log.warning("figure %s could not be drawn: %s: %s", name, type(error).__name__, error, exc_info=True)
        reason = shortened(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
        found.append(FailedFigure(visible(title), reason))
    return found
