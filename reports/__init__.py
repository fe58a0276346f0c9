"""Measurements in, pages out: frames -> statistics -> sentences, tables and figures -> HTML, Markdown and CSV.

Nothing here imports an array framework or a tracker: the one thing known of the rest of the project is `bench.core`,
the result schema and the metrics. Of Optuna only the importances are used, as a library of statistics.

A figure of your own is one file: see :func:`reports.figures.registry.register_figure`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.figures.grammar import Axis as Axis
    from reports.figures.grammar import Band as Band
    from reports.figures.grammar import Bars as Bars
    from reports.figures.grammar import Figure as Figure
    from reports.figures.grammar import Line as Line
    from reports.figures.grammar import Panel as Panel
    from reports.figures.grammar import Points as Points
    from reports.figures.grammar import Rule as Rule
    from reports.figures.grammar import Step as Step
    from reports.figures.registry import register_figure as register_figure
    from reports.pages.write import ReportPaths as ReportPaths
    from reports.pages.write import write_report as write_report

_PLACES = {
    **dict.fromkeys(
        ("Axis", "Band", "Bars", "Figure", "Line", "Panel", "Points", "Rule", "Step"), "reports.figures.grammar"
    ),
    "register_figure": "reports.figures.registry",
    "ReportPaths": "reports.pages.write",
    "write_report": "reports.pages.write",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> object:
    """What the package offers, imported when it is asked for: the import of `reports` itself costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
