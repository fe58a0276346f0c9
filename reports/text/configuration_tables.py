"""The configurations that were selected, in tables, and settings as pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.results import RunState
from reports.formatting import MISSING, plain, quantity
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from reports.analysis.results import Finals, Study


def selected(study: Study) -> Table:
    """The selected trial of each arm with the values of its swept parameters: one column an arm."""
    runs = chosen(study)
    rows = [
        [Cell("Trial"), *(Cell(plain(None if row is None else row["number"])) for row in runs.values())],
        [Cell("Validation bits/dim"), *(_validation(row) for row in runs.values())],
        [Cell("Final training seeds"), *(_seeds(runs) for runs in study.finals.values())],
    ]
    rows += _values(_swept(study), runs)
    return Table("Selected configurations, chosen on validation alone", ["", *map(study.title, study.finals)], rows)


def fixed(study: Study) -> Table:
    """The selected configurations' parameters that were not swept."""
    named = [str(column).removeprefix("param.") for column in study.runs if str(column).startswith("param.")]
    rows = _values([name for name in named if name not in _swept(study)], chosen(study))
    return Table("What was not swept", ["", *map(study.title, study.finals)], rows)


def chosen(study: Study) -> dict[str, pd.Series | None]:
    """The run that shows each arm's reported configuration: its trial, or else a final run."""
    return {name: runs.trial if runs.trial is not None else _last(runs) for name, runs in study.finals.items()}


def _swept(study: Study) -> list[str]:
    return list(dict.fromkeys(parameter for arm in study.arms for parameter in study.swept(arm)))


def _values(parameters: list[str], runs: Mapping[str, pd.Series | None]) -> list[list[Cell]]:
    """A row for each parameter that any of the runs has."""
    rows = []
    for parameter in parameters:
        cells = [Cell(plain(None if row is None else row.get(f"param.{parameter}"))) for row in runs.values()]
        if any(cell.text != MISSING for cell in cells):
            rows.append([Cell(parameter), *cells])
    return rows


def _last(runs: Finals) -> pd.Series | None:
    return None if runs.runs.empty else runs.runs.iloc[-1]


def _validation(row: pd.Series | None) -> Cell:
    if row is None or "value" not in row:
        return Cell(MISSING)
    notes = [] if row["state"] == RunState.COMPLETE else ["where it stopped, by the one-sample bound"]
    return Cell(quantity(float(row["value"]), float(row["value_error"])), notes)


def _seeds(runs: Finals) -> Cell:
    named = [plain(seed) for seed in runs.runs["seed"]]
    return Cell(str(len(named)), [f"seeds {', '.join(named)}"] if named else [])


def facts(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (name, text) pairs, names joined by a full stop."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += facts(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", plain(value)))
    return pairs
