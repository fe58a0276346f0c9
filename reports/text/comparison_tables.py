"""The arms compared: by metric, beside the reference codes, in tested differences, and beside published results."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import METRICS
from reports import formatting
from reports.analysis import levels, literature, statistics
from reports.analysis.extractor import doubtful
from reports.analysis.reference_codes import kinds, reference_codes
from reports.formatting import MISSING, count, plain, quantity
from reports.text.table import SCALED_UNITS, Cell, Row, Table, web_address

if TYPE_CHECKING:
    from reports.analysis.differences import Difference
    from reports.analysis.levels import Level, Measured
    from reports.analysis.results import Study

GROUPS = {
    "test": "Likelihood",
    "out_of_distribution": "Out of distribution",
    "diagnostics": "Diagnostics",
    "quality": "Sample quality",
    "throughput": "Throughput",
    "cost": "Cost",
}


def comparison(study: Study, found: list[Measured] | None = None) -> list[tuple[str, list[Row]]]:
    """The groups of the comparison table: a row for each metric and set of conditions that some final run measured.

    Args:
        study: the study.
        found: what :func:`reports.analysis.levels.measured` finds of it, where that is known.
    """
    groups = []
    for split, of_split in groupby(levels.measured(study) if found is None else found, key=lambda each: each.split):
        title = GROUPS.get(split, split.replace("_", " ").capitalize())
        groups.append((title, _apart([_row(each) for each in of_split])))
        if split == "test" and (codes := _codes(study)):
            groups.append((codes_title(study), codes))
    return groups


def codes_title(study: Study) -> str:
    """The title of the reference codes' group in the comparison table."""
    return f"{kinds(reference_codes(study)).capitalize()}, bits/dim of the same test images: of no arm"


def _codes(study: Study) -> list[Row]:
    """A row for each reference code, the shortest first."""
    arrow, direction = _direction(False)
    return [
        Row(code.label, "", arrow, direction, code.definition, code.notes, [Cell(code.level)], across=True)
        for code in reference_codes(study)
    ]


def codes(study: Study) -> Table:
    """The reference codes of a study, the shortest first."""
    rows = [[Cell(code.label), Cell(code.level), Cell(", ".join(code.notes))] for code in reference_codes(study)]
    caption = f"{kinds(reference_codes(study)).capitalize()}: of no arm, on the same test images"
    return Table(caption, ["Code", "Test bits/dim", "Images"], rows)


def _apart(rows: list[Row]) -> list[Row]:
    """The rows, those of one label with what tells them apart."""
    notes: dict[str, list[list[str]]] = {}
    for row in rows:
        notes.setdefault(row.label, []).append(row.notes)
    shared = {label: set.intersection(*map(set, every)) for label, every in notes.items()}
    return [
        replace(row, distinct=", ".join(note for note in row.notes if note not in shared[row.label])) for row in rows
    ]


def _row(measured: Measured) -> Row:
    about = measured.about
    arrow, direction = _direction(about.higher_is_better)
    bare = about.unit not in SCALED_UNITS and not measured.mixed
    cells = [_cell(level, bare=bare, floor_unit=about.unit) for level in measured.levels]
    shown = "" if measured.mixed or about.unit in SCALED_UNITS or about.unit == about.label.lower() else about.unit
    notes, warning = measured.variant.notes, measured.warning
    return Row(about.label, shown, arrow, direction, about.definition, notes, cells, warning=warning)


def _direction(better: bool | None) -> tuple[str, str]:
    return {True: ("↑", "higher is better"), False: ("↓", "lower is better"), None: ("", "")}[better]


def _cell(level: Level, *, bare: bool, floor_unit: str) -> Cell:
    floor = _floor(level, floor_unit)
    if level.estimate is None:
        return Cell(f"not finite ({count(level.measured, 'run')})" if level.measured else "not measured", floor)
    known = level.estimate
    notes = [] if known.seeds == level.runs else [count(known.seeds, "seed")]
    if known.excluded:
        notes.append(f"{known.excluded} not finite, left out")
    folded = _errors(level)
    if level.sizes and not level.unit.endswith("/s"):
        folded.append(f"n = {', '.join(map(str, level.sizes))}")
    folded += [bound.text for bound in level.bounds]
    return Cell(stated(level, bare=bare), [*notes, *floor], folded=folded)


def stated(level: Level, *, bare: bool) -> str:
    """A level as a number with its error; nothing where no value is finite."""
    known = level.estimate
    if known is None:
        return MISSING
    return quantity(known.mean, known.error if known.seeds < 2 or known.error else None, level.unit, bare=bare)


def _errors(level: Level) -> list[str]:
    """The three errors of a test value, each named: over training seeds, over test images, and Monte Carlo."""
    notes = []
    if level.on_test and level.estimate is not None and level.estimate.seeds < 2:
        notes.append("seeds: not repeated; ± is over images")
    elif interval := over_seeds(level):
        notes.append(f"seeds: 95% interval {interval}")
    for source, error in (
        ("images: standard error", level.images_error),
        ("bound: Monte Carlo error", level.monte_carlo_error),
    ):
        if error is not None:
            notes.append(f"{source} {formatting.error(error)}")
    return notes


def over_seeds(level: Level) -> str:
    """The 95% interval of a test value over seeds; empty where there is none."""
    if level.over_seeds is None or level.estimate is None:
        return ""
    _, low, high = formatting.difference(level.estimate.mean, *level.over_seeds)
    return f"{low} to {high}"


def _floor(level: Level, unit: str) -> list[str]:
    """What real data scores under the same conditions."""
    floor = level.floor
    return [] if floor is None else [f"real data: {quantity(floor.mean, floor.error, unit, bare=True)}"]


def differences(study: Study, found: list[Difference]) -> Table:
    """Every tested difference between two arms: its interval, effect size and p-values."""
    rows = []
    weak = doubtful(study)
    for difference in found:
        metric, interval = difference.about, difference.interval
        value, low, high = formatting.difference(interval.value, interval.low, interval.high)
        pair = f"{study.title(difference.first)} less {study.title(difference.second)}"
        _, direction = _direction(metric.higher_is_better)
        head = ", ".join(filter(None, [pair, metric.unit, direction]))
        warning = levels.warning(difference.metric, difference.variant, weak)
        covers = "seeds and images" if interval.over_images else "seeds"
        rows.append(
            [
                Cell(metric.label, [*filter(None, [warning]), head, *difference.variant.notes]),
                Cell(value, order=interval.value),
                Cell(f"{low} to {high}", [f"over {covers}"], order=interval.low),
                Cell(formatting.number(difference.effect, 2), order=difference.effect),
                Cell(formatting.probability(interval.p), order=interval.p),
                Cell(formatting.probability(difference.adjusted), order=difference.adjusted),
            ]
        )
    caption = f"Differences: Welch's t over training seeds, p adjusted by Holm over {count(len(rows), 'difference')}"
    return Table(caption, ["Metric", "Difference", "95% interval", "Hedges' g", "p", "Holm's p"], rows, sortable=True)


def published(study: Study) -> Table:
    """What was published of the study's data set, and what its arms obtained in the same metric."""
    known = literature.published(study.results.dataset)
    rows = [
        [
            Cell(each.model),
            Cell(f"{each.value:g}", order=each.value),
            _whole(each.weights),
            _whole(each.images),
            Cell(each.hardware or MISSING),
            Cell(each.source, href=web_address(each.url)),
        ]
        for each in known
    ]
    unit = METRICS[known[0].metric].unit if known else ""
    for arm, final in study.finals.items():
        level = statistics.estimate(final.measured("test", known[0].metric)) if known else None
        if level is not None:
            weights = statistics.estimate(final.measured("cost", "parameters"))
            seen = study.histories.loc[study.histories["run_id"].isin(final.runs["run_id"]), "images"].max()
            rows.append(
                [
                    Cell(f"{study.title(arm)}, this study"),
                    Cell(quantity(level.mean, level.error), order=level.mean),
                    _whole(None if weights is None else weights.mean),
                    _whole(seen),
                    Cell(plain(study.results.provenance.get("device"))),
                    Cell(MISSING),
                ]
            )
    columns = ["Model", f"Test {unit}", "Weights", "Training images", "Hardware", "Source"]
    return Table("Obtained beside published", columns, rows, sortable=True)


def _whole(number: float | None) -> Cell:
    if number is None or not np.isfinite(number):
        return Cell(MISSING)
    return Cell(f"{number:,.0f}", order=float(number))
