"""How runs ended: counts by state, reasons of failures, metrics not measured, and attempts that do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.metrics import METRICS
from reports.analysis import statistics
from reports.analysis.results import UNENDED
from reports.formatting import MISSING, count, state_name
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from reports.analysis.results import Study

ROLES = {"search": "trials", "final": "final runs", "superseded": "superseded final runs"}


def state_counts(study: Study) -> Table:
    """Search trials and final runs by arm and state."""
    known = statistics.states_by_role(study.ended)
    rows = [
        [
            Cell(f"{study.title(arm)} {ROLES.get(role, role)}"),
            *(Cell(str(n)) for n in counts.values()),
            Cell(str(sum(counts.values()))),
        ]
        for role, arm, counts in known
    ]
    states = list(known[0][2]) if known else []
    return Table("Runs by how they ended", ["", *map(state_name, states), "all"], rows)


def failure_reasons(study: Study) -> Table:
    """Runs that did not complete, by arm, state and reason."""
    rows = [
        [
            Cell(f"{study.title(row['arm'])} {ROLES.get(row['role'], row['role'])}"),
            Cell(state_name(row["state"])),
            Cell(row["reason"] or "no reason given"),
            Cell(str(row["count"])),
        ]
        for _, row in statistics.reasons(study.ended).iterrows()
    ]
    return Table("Reasons of the runs that did not complete", ["", "State", "Reason", "Runs"], rows)


def reasons_of_unavailable(study: Study) -> dict[tuple[str, str, str], int]:
    """How many final runs could not measure a metric, by arm, metric and reason."""
    reasons: dict[tuple[str, str, str], int] = {}
    for arm, final in study.finals.items():
        for run_id in final.runs["run_id"]:
            for metric, reason in study.results.unavailable.get(str(run_id), {}).items():
                reasons[arm, metric, reason] = reasons.get((arm, metric, reason), 0) + 1
    return reasons


def unavailable(study: Study) -> Table:
    """The metrics of final runs that could not be measured, and why; reasons that several runs share stand once."""
    rows = [
        [
            Cell(study.title(arm)),
            Cell(_label(metric)),
            Cell(reason),
            Cell(str(n)),
        ]
        for (arm, metric, reason), n in reasons_of_unavailable(study).items()
    ]
    rows += [
        [Cell("Reference code"), Cell(_label(metric)), Cell(reason), Cell(MISSING)]
        for metric, reason in study.results.reference_codes.unavailable.items()
    ]
    return Table("Metrics that could not be measured", ["Arm", "Metric", "Reason", "Runs"], rows)


def _label(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


def uncounted(study: Study) -> str:
    """What became of the attempts that do not count, in a sentence; empty if all do."""
    left = study.uncounted
    is_unended = left["state"].isin(UNENDED)
    kinds = (
        (is_unended & ~left["is_later"], "interrupted attempt", "repeated or continued by the runs counted here"),
        (
            ~is_unended & ~left["is_later"],
            "attempt",
            "stopped after fewer images and continued by the runs counted here",
        ),
        (left["is_later"], "attempt", "begun to continue runs counted here, and not complete"),
    )
    parts = [f"{count(int(which.sum()), noun)}, {what}" for which, noun, what in kinds if which.any()]
    return f"Not counted: {'; '.join(parts)}." if parts else ""
