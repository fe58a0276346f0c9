"""A comparison of two studies as a page of Markdown and a table of CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.core.files import write_file
from reports import formatting
from reports.formatting import plain, quantity
from reports.pages.templates import markdown
from reports.text import comparison_tables, configuration_tables, state_tables
from reports.text.frontier import SINGLE
from reports.text.table import SCALED_UNITS, Cell, Table
from reports.units import in_unit_of

if TYPE_CHECKING:
    from pathlib import Path

    from reports.analysis.comparison import Change, Comparison


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write ``compare.md`` and ``changes.csv`` into a folder; the path of the former."""
    dataset = comparison.before.results.dataset
    numbers = _frame(comparison).to_csv(index=False, lineterminator="\n")
    write_file(folder / "changes.csv", in_unit_of(dataset, numbers))
    shown = [table for table in (changes(comparison), codes(comparison), *configurations(comparison)) if table.rows]
    page = markdown("compare.md.j2", comparison=comparison, tables=shown)
    return write_file(folder / "compare.md", in_unit_of(dataset, page))


def changes(comparison: Comparison) -> Table:
    """Every tested change: before, after, interval, verdict and p-values."""
    columns = ["Metric", "Before", "After", "Change", "95% interval", "Verdict", "Hedges' g", "p", "Holm's p"]
    rows = [_row(change) for change in comparison.changes]
    return Table("Changes, after less before: final runs, mean over seeds", columns, rows)


def _row(change: Change) -> list[Cell]:
    metric = change.about
    bare = metric.unit not in SCALED_UNITS
    value, low, high = formatting.difference(change.interval.value, change.interval.low, change.interval.high)
    ratio = formatting.ratio(change.after / change.before) if change.before > 0 and change.after > 0 else ""
    return [
        Cell(f"{change.arm}: {metric.label}", [*filter(None, [metric.unit]), *change.variant.notes]),
        Cell(quantity(change.before, None, metric.unit, bare=bare)),
        Cell(quantity(change.after, None, metric.unit, bare=bare)),
        Cell(value, [ratio] if ratio and change.metric not in ("bits_per_dim", "nll_nats") else []),
        Cell(f"{low} to {high}", [] if change.interval.over_seeds else [SINGLE]),
        Cell(change.verdict),
        Cell(formatting.number(change.effect, 2) if change.effect == change.effect else formatting.MISSING),
        Cell(formatting.probability(change.interval.p)),
        Cell(formatting.probability(change.adjusted)),
    ]


def codes(comparison: Comparison) -> Table:
    """The reference codes, of the later study that logged any: both are of the same data."""
    after = comparison_tables.codes(comparison.after)
    return after if after.rows else comparison_tables.codes(comparison.before)


def configurations(comparison: Comparison) -> list[Table]:
    """How both studies' runs ended, and what they selected."""
    found = []
    for study in (comparison.before, comparison.after):
        for table in (configuration_tables.selected(study), state_tables.state_counts(study)):
            caption = f"{plain(study.results.study_id)}: {table.caption[0].lower()}{table.caption[1:]}"
            found.append(Table(caption, table.columns, table.rows))
    return found


def _in_practice(change: Change) -> dict[str, float | None]:
    """How probable each size of the change is in practice."""
    found = change.in_practice
    names = ("better", "equal", "worse")
    return {f"p_practically_{name}": None if found is None else getattr(found, name) for name in names}


def _frame(comparison: Comparison) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "arm": change.arm,
                "metric": change.metric,
                "conditions": change.variant.conditions,
                "before": change.before,
                "after": change.after,
                "change": change.interval.value,
                "low": change.interval.low,
                "high": change.interval.high,
                "over_seeds": change.interval.over_seeds,
                "paired": change.interval.paired,
                "hedges_g": change.effect,
                "p": change.interval.p,
                "holm_p": change.adjusted,
                "verdict": change.verdict,
                **_in_practice(change),
            }
            for change in comparison.changes
        ]
    )
