"""The figures of a study's report, by name: ours, and those that users register in a file of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bench.core.errors import SettingsError
from reports.figures.grammar import Figure

if TYPE_CHECKING:
    from reports.analysis.results import Study

SECTIONS = ("answer", "budgets", "comparison", "diagnostics", "trials", "learning", "more")
"""The sections of a report that hold figures: ``answer`` is its first screen, ``more`` has what belongs in no other."""
OWN = __name__.partition(".")[0]
FigureFunction = Callable[["Study"], "Figure | Iterable[Figure] | None"]
F = TypeVar("F", bound=FigureFunction)


@dataclass(frozen=True)
class RegisteredFigure:
    """A figure of every report.

    Attributes:
        name: its short name, which its files begin with.
        title: the heading above it.
        section: one of :data:`SECTIONS`.
        make: from the study to the figure, to several, or to None where the study has nothing to show.
        note: a paragraph under the heading.
    """

    name: str
    title: str
    section: str
    make: FigureFunction
    note: str = ""

    @property
    def source(self) -> tuple[str, str]:
        """Where its function stands: the module and the name within it."""
        return self.make.__module__, self.make.__qualname__


_FIGURES: dict[str, RegisteredFigure] = {}


def register_figure(name: str, title: str, section: str = "more", note: str = "") -> Callable[[F], F]:
    """Add a figure to the HTML and Markdown report of every study, with its numbers as CSV.

    The decorated function takes the prepared study (:class:`reports.analysis.results.Study`) and returns a
    :class:`reports.figures.grammar.Figure`, several, or None:

    >>> @register_figure("sizes", "Size against likelihood", section="trials")
    ... def sizes(study):
    ...     layers = [
    ...         Points(of_arm["param.latent_size"], of_arm["value"], label=study.title(arm), colour=arm)
    ...         for arm, of_arm in study.trials.groupby("arm")
    ...     ]
    ...     return Figure("Size", [Panel(Axis("latent size"), Axis("validation", "bits/dim"), layers)], legend=True)

    Defining the function again, as a notebook does, replaces the figure.

    Raises:
        SettingsError: the name is no name, another figure has it, or there is no such section.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name):
        raise SettingsError(f"figure {name!r}: a name has lower-case letters, digits, - and _, 40 at most")
    if section not in SECTIONS:
        raise SettingsError(f"figure {name!r}: section {section!r} is none of {', '.join(SECTIONS)}")

    def register(make: F) -> F:
        entry = RegisteredFigure(name, title, section, make, note)
        known = _FIGURES.get(name)
        if known is not None and known.source != entry.source:
            raise SettingsError(
                f"figure {name!r} is registered already, by {'.'.join(known.source)}: choose another name"
            )
        _FIGURES[name] = entry
        return make

    return register


def registered_figures() -> list[RegisteredFigure]:
    """All figures, ours before those of users, each in the order of registration."""
    return sorted(_FIGURES.values(), key=lambda each: each.source[0].partition(".")[0] != OWN)
