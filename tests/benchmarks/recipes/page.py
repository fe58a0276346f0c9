"""The page of what was measured: a table for each group, cases by data sets and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.benchmarks.recipes.cases import DATA, GROUPS, Case
from tests.benchmarks.recipes.rows import DIVERGED, Row

UNITS = {"bits_per_dim": "bits/dim", "nll_nats": "nats"}
DIGITS = {"bits_per_dim": 3, "nll_nats": 2}
LAST = "last"


class Column(NamedTuple):
    """A column of a table: the best within so many images of a data set, or the last evaluation."""

    data: str
    budget: int | str

    def __str__(self) -> str:
        unit = UNITS[DATA[self.data]]
        budget = f"best by {self.budget:,}" if isinstance(self.budget, int) else "last"
        return f"{self.data}, {unit}, {budget}"


def page(rows: Sequence[Row], cases: Sequence[Case], about: Mapping[str, str]) -> str:
    """The page, Markdown.

    Args:
        rows: all that was measured.
        cases: all that there are, in the order of the page.
        about: command and machine.
    """
    commits = ", ".join(dict.fromkeys(row.commit[:12] for row in rows))
    backends = ", ".join(dict.fromkeys(row.backend for row in rows))
    sizes = "; ".join(f"{row.data} {row.validation_images:,}" for row in {row.data: row for row in rows}.values())
    parts = [
        "# Recipes: preprocessing, input, optimisation, long budgets\n",
        f"`{about['command']}` on {about['machine']}, commit {commits}, Keras on {backends}. All evaluations are in "
        "[recipes.csv](recipes.csv), whose seconds include evaluations, and compilation where no cache spared it.\n",
        "Validation likelihood by the one-sample bound ± standard error over the first images of the validation split "
        f"({sizes}); a cell is the lowest evaluation so far, `last` that of the end of training. The lowest of each "
        "column is bold: differences within about two standard errors may be noise, and one seed says nothing of "
        "the spread over seeds.\n",
    ]
    for key, group in GROUPS.items():
        own = [row for row in rows if row.group == key]
        if own:
            parts += [f"## {group.title}\n", f"{group.text}\n", _table(key, own, cases), _ended_early(own)]
    left = [case for case in cases if not any(_is_of(row, case) for row in rows)]
    if left:
        by_data = ", ".join(f"{data} ({sum(case.data == data for case in left)})" for data in _data_of(left))
        parts.append(f"Not measured, cases by data: {by_data}.\n")
    return "\n".join(part for part in parts if part)


def _table(key: str, rows: Sequence[Row], cases: Sequence[Case]) -> str:
    listed = [case.name for case in cases if case.group == key]
    names = [name for name in dict.fromkeys([*listed, *(row.case for row in rows)]) if _measured(rows, name)]
    columns = _columns(key, rows)
    cells = {(name, column): _best(rows, name, column) for name in names for column in columns}
    lowest = {}
    for column in columns:
        values = [row.value for name in names if (row := cells[name, column]) is not None and row.value is not None]
        lowest[column] = min(values, default=None)
    head = ["", *map(str, columns)]
    lines = [[name, *(_cell(cells[name, column], lowest[column]) for column in columns)] for name in names]
    shown = [head, ["---", *["--:"] * len(columns)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown) + "\n"


def _columns(key: str, rows: Sequence[Row]) -> list[Column]:
    """For each data set its budgets, the end of the longest run if it is none of them, and the last evaluation."""
    columns = []
    for data in (name for name in DATA if any(row.data == name for row in rows)):
        longest = max(row.images_seen for row in rows if row.data == data)
        budgets = [budget for budget in GROUPS[key].budgets.get(data, ()) if budget < longest]
        columns += [*(Column(data, budget) for budget in (*budgets, longest)), Column(data, LAST)]
    return columns


def _measured(rows: Sequence[Row], name: str) -> bool:
    return any(row.case == name and row.value is not None for row in rows)


def _best(rows: Sequence[Row], name: str, column: Column) -> Row | None:
    """The evaluation that a cell shows."""
    own = [row for row in rows if (row.case, row.data) == (name, column.data) and row.value is not None]
    if column.budget == LAST:
        return max(own, key=lambda row: row.images_seen, default=None)
    within = [row for row in own if row.images_seen <= int(column.budget)]
    return min(within, key=lambda row: row.value or 0.0, default=None)


def _cell(row: Row | None, lowest: float | None) -> str:
    if row is None or row.value is None:
        return ""
    digits = DIGITS[row.metric]
    error = "" if row.standard_error is None else f" ± {row.standard_error:.{digits}f}"
    value = f"{row.value:.{digits}f}"
    return f"**{value}**{error}" if row.value == lowest else f"{value}{error}"


def _ended_early(rows: Sequence[Row]) -> str:
    return "".join(
        f"- {row.case} on {row.data} diverged after {row.images_seen:,} images.\n"
        for row in rows
        if row.metric == DIVERGED
    )


def _is_of(row: Row, case: Case) -> bool:
    return row.case_and_data == (case.group, case.name, case.data, case.seed)


def _data_of(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.data for case in cases))
