r"""LaTeX tables that paste: the main result, the differences and the reference codes, with booktabs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports.analysis.results import LIKELIHOOD
from reports.exports.portable import portable
from reports.formatting import MISSING, NO_BREAK, listing, slug
from reports.text import comparison_tables
from reports.text.table import SCALED_UNITS, Cell, Table

if TYPE_CHECKING:
    from reports.analysis.levels import Level, Measured
    from reports.text.contents import Contents

COLUMNS = (
    ("test", LIKELIHOOD),
    ("cost", "parameters"),
    ("cost", "training_seconds"),
    ("throughput", "train_images_per_second"),
    ("throughput", "sample_images_per_second"),
    ("quality", "kid"),
    ("quality", "trigram_divergence"),
)
"""Group and metric of the main table's columns, of those that some arm has."""
HEAD = """% Tables of {study}, as its report states them.
% They need \\usepackage{{booktabs}}; names in other than Latin letters need LuaLaTeX or XeLaTeX with a font for them.
"""
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After the end of a row, LaTeX takes these for its arguments.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    NO_BREAK: "~",
    MISSING: "--",
    "…": r"\ldots{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "→": r"$\to$",
    "‖": r"$\|$",
    "½": r"$\frac{1}{2}$",
    "’": "'",
    "“": "``",
    "”": "''",
}
_ESCAPED = re.compile(rf"[{re.escape(''.join(_SPECIAL))}]|[⁻⁰¹²³⁴-⁹]+")


def escape(text: str) -> str:
    """Foreign text as LaTeX that shows it, on one line."""
    return _ESCAPED.sub(_escaped, re.sub(r"[ \t\n\u2028\u2029]+", " ", portable(text)).strip(" "))


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    return _SPECIAL.get(text) or f"$^{{{text.translate(_SUPERSCRIPTS)}}}$"


def latex_tables(contents: Contents) -> str:
    """All tables that the study has, each a floating ``table`` with its label."""
    study = contents.study
    found = [("results", results(contents))]
    found += [
        ("differences", comparison_tables.differences(study, contents.differences)),
        ("codes", comparison_tables.codes(study)),
    ]
    label = slug(study.results.study_id)
    parts = [_table(table, f"tab:{label}:{name}") for name, table in found if table.rows]
    return "\n".join([HEAD.format(study=" ".join(portable(study.results.study_id).split())), *parts])


def results(contents: Contents) -> Table:
    """The main table: one row an arm that has final runs, the likelihood with its interval first."""
    study = contents.study
    shown = [found for split, name in COLUMNS if (found := _most_measured(contents.measured, split, name)) is not None]
    columns = ["Arm"]
    for each in shown:
        unit = "" if each.mixed or each.about.unit in SCALED_UNITS else each.about.unit
        name = f"Test {unit}" if each.about.name == LIKELIHOOD and unit else each.about.label
        columns.append(f"{name} ({unit})" if unit and unit not in name else name)
        columns += ["95% interval", "Seeds"] if each.about.name == LIKELIHOOD else []
    rows = []
    for place, arm in enumerate(study.arms):
        if study.finals[arm].runs.empty:
            continue
        family = study.family_title(arm)
        row = [Cell(f"{study.title(arm)} ({family})" if family else study.title(arm))]
        for each in shown:
            level = each.levels[place]
            row.append(
                Cell(comparison_tables.stated(level, bare=each.about.unit not in SCALED_UNITS and not each.mixed))
            )
            row += _interval(level) if each.about.name == LIKELIHOOD else []
        rows.append(row)
    return Table(_caption(contents, shown), columns, rows if shown else [])


def _interval(level: Level) -> list[Cell]:
    seeds = 0 if level.estimate is None else level.estimate.seeds
    return [Cell(comparison_tables.over_seeds(level) or MISSING), Cell(str(seeds))]


def _most_measured(measured: list[Measured], split: str, name: str) -> Measured | None:
    """Of a metric's sets of conditions the one that most arms have."""
    found = [each for each in measured if (each.split, each.about.name) == (split, name)]
    return max(found, key=lambda each: sum(level.measured > 0 for level in each.levels), default=None)


def _caption(contents: Contents, shown: list[Measured]) -> str:
    """What the values are: the data, the errors, the bounds, and the conditions of the columns."""
    study = contents.study
    data = study.results.dataset.get("name", "this data")
    said = [f"Final runs on {data}: mean ± one standard error over seeds, with one seed within the run"]
    for each in shown:
        stated: dict[str, list[str]] = {}
        for level in each.levels:
            for bound in level.bounds:
                stated.setdefault(bound.text, []).append(study.title(level.arm))
        if each.about.name == LIKELIHOOD and stated:
            said.append("; ".join(f"{bound} for {listing(arms)}" for bound, arms in stated.items()))
        if each.variant.notes:
            said.append(f"{each.about.label}: {', '.join(each.variant.notes)}")
    return f"{'. '.join(part[:1].upper() + part[1:] for part in said)}."


def _table(table: Table, label: str) -> str:
    head = " & ".join(map(escape, table.columns))
    rows = [" & ".join(map(_cell, row)) for row in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    return escape(f"{cell.text} ({'; '.join(cell.notes)})" if cell.notes else cell.text)
