"""The page's tables: frames in, rows of text out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from bench.core.metrics import METRICS
from bench.core.results import RunState
from reports import formatting
from reports.analysis import convergence, levels, literature, statistics
from reports.analysis.extractor import doubtful
from reports.analysis.reference_codes import kinds, reference_codes
from reports.analysis.results import LIKELIHOOD, UNENDED
from reports.formatting import MISSING, count, plain, quantity, state_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from reports.analysis.differences import Difference
    from reports.analysis.levels import Level, Measured
    from reports.analysis.results import Finals, Study

GROUPS = {
    "test": "Likelihood",
    "out_of_distribution": "Out of distribution",
    "diagnostics": "Diagnostics",
    "quality": "Sample quality",
    "throughput": "Throughput",
    "cost": "Cost",
}
ROLES = {"search": "trials", "final": "final runs", "superseded": "superseded final runs"}
SCALED_UNITS = {"s", "bytes", "images/s", "log-weights/s"}
"""Units that a value scales (min, MB, k images/s), and which therefore stand in the cell and not in the row's head."""


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: what it says.
        notes: small ones beside the text.
        folded: further ones, which show where the row is unfolded.
        href: a web address, where there is one.
        order: by what to sort, where not by the text.
        picture: the data address of a small picture.
    """

    text: str
    notes: list[str] = field(default_factory=list)
    href: str = ""
    order: float | None = None
    picture: str = ""
    folded: list[str] = field(default_factory=list)

    @property
    def all_notes(self) -> list[str]:
        """Its notes, folded ones included."""
        return [*self.notes, *self.folded]


@dataclass(frozen=True)
class Row:
    """One metric under one set of conditions: what it is, the conditions as notes, and one cell an arm.

    ``distinct`` are the conditions where several rows have one label; ``warning`` says why the values are not to be
    relied on, and is empty where nothing speaks against them. A row ``across`` all arms is of none: it has one cell.
    """

    label: str
    unit: str
    arrow: str
    direction: str
    definition: str
    notes: list[str]
    cells: list[Cell]
    distinct: str = ""
    warning: str = ""
    across: bool = False

    @property
    def more(self) -> bool:
        """Whether there is more to say of it than fits into its line."""
        return bool(self.definition or self.notes or any(cell.folded for cell in self.cells))


@dataclass(frozen=True)
class Table:
    """A plain table.

    Attributes:
        caption: what it shows.
        columns: its column heads.
        rows: cells, the first of each being the row's head.
        runs: where each row is a run, their identifiers, by which it can be selected.
        sortable: whether the values of a column can be compared, so that the page may sort by it.
    """

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    runs: list[str] = field(default_factory=list)
    sortable: bool = False


def web_address(url: object) -> str:
    """``url`` if it is an http(s) address, else nothing: no other scheme becomes a link."""
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.netloc else ""


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


def final_runs(study: Study) -> Table:
    """Every final run, one row each: what it reached on test, or how it ended."""
    frame = study.counted
    frame = frame[frame["role"] == "final"].sort_values(["arm", "seed", "started"], kind="stable")
    test = study.measured("test", LIKELIHOOD)
    frame = frame.merge(test[["run_id", "value", "standard_error"]], how="left", on="run_id")
    reported = {run for final in study.finals.values() for run in final.runs["run_id"]}
    rows = []
    for run in frame.to_dict("records"):
        used = "yes" if run["run_id"] in reported else "no"
        rows.append(
            [
                Cell(study.title(run["arm"])),
                Cell(plain(run["seed"])),
                Cell(state_name(run["state"]), _reason(run)),
                Cell(quantity(float(run["value"]), float(run["standard_error"])), order=float(run["value"])),
                Cell(used),
                Cell(quantity(_seconds(run), None, "s"), order=_seconds(run)),
                _link(run),
            ]
        )
    columns = ["Arm", "Seed", "State", "Test bits/dim", "In the answer", "Time", "Run"]
    caption = "Final runs: ± is one standard error over test images"
    return Table(caption, columns, rows, list(map(str, frame["run_id"])), sortable=True)


def training_course(study: Study) -> Table:
    """Of each reported final run when it was best and how far it had come when it stopped."""
    noted = {
        "Clipped steps": study.measured("cost", "clipped_share"),
        "Rescues": study.measured("cost", "rescues"),
        "Owed to lucky noise": study.measured("validation", "selection_optimism"),
    }
    finals = pd.concat([final.runs for final in study.finals.values()]) if study.finals else study.runs.iloc[:0]
    noted = {name: frame.drop_duplicates("run_id").set_index("run_id") for name, frame in noted.items()}
    noted = {name: frame for name, frame in noted.items() if frame.index.isin(finals["run_id"]).any()}
    rows, runs = [], []
    for arm, final in study.finals.items():
        courses = convergence.courses(study, arm)
        for run in final.runs[final.runs["run_id"].isin(courses)].to_dict("records"):
            course = courses[run["run_id"]]
            share = formatting.number(100 * course.best_share, 0)
            rows.append(
                [
                    Cell(study.title(arm)),
                    Cell(plain(run["seed"])),
                    Cell(course.state),
                    Cell(quantity(course.best), order=course.best),
                    Cell(f"{course.best_images:,.0f}", [f"{share}% of training"], order=course.best_images),
                    Cell(quantity(course.fall), order=course.fall),
                    Cell(quantity(course.rise), order=course.rise),
                    *(_noted(frame, str(run["run_id"])) for frame in noted.values()),
                ]
            )
            runs.append(str(run["run_id"]))
    columns = ["Arm", "Seed", "When stopped", "Best validation bits/dim", "Training images until then"]
    columns += ["Fall over the last quarter", "End above the best", *noted]
    caption = "Course of training of the final runs: validation is the one-sample bound"
    return Table(caption, columns, rows, runs, sortable=True)


def _noted(frame: pd.DataFrame, run_id: str) -> Cell:
    value, error = (float(frame[column].get(run_id, np.nan)) for column in ("value", "monte_carlo_error"))
    return Cell(quantity(value, error), order=value)


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


def trials(study: Study, arm: str, pictures: Mapping[str, str]) -> Table:
    """Every trial of an arm: complete ones by value, then those that ended early by the value they had reached.

    Args:
        study: the study.
        arm: the arm.
        pictures: data addresses of samples, by run, for those runs that have any to show.
    """
    frame = study.trials
    frame = frame[frame["arm"] == arm].copy()
    frame["rank"] = np.where(frame["state"] == RunState.COMPLETE, 0, 1)
    frame = frame.sort_values(["rank", "value", "number"], kind="stable", na_position="last")
    parameters = study.swept(arm)
    rows = []
    for run in frame.to_dict("records"):
        early = run["state"] != RunState.COMPLETE and not pd.isna(run["value"])
        notes = ["selected"] if run["run_id"] in study.selected else []
        if early:
            notes = [*notes, f"at evaluation {plain(run['step'])}"]
        by_hand = ["promoted by hand"] if run["number"] in study.results.promoted.get(arm, []) else []
        rows.append(
            [
                Cell(plain(run["number"]), by_hand, picture=pictures.get(str(run["run_id"]), "")),
                Cell(quantity(float(run["value"]), float(run["value_error"])), notes, order=float(run["value"])),
                *(_parameter(run.get(f"param.{name}")) for name in parameters),
                Cell(state_name(run["state"]), _reason(run)),
                Cell(quantity(_seconds(run), None, "s"), order=_seconds(run)),
                _link(run),
            ]
        )
    columns = ["Trial", "Validation bits/dim", *parameters, "State", "Time", "Run"]
    caption = f"{study.title(arm)}: {count(len(rows), 'trial')}, lowest validation bits/dim first"
    return Table(caption, columns, rows, list(map(str, frame["run_id"])), sortable=True)


def _parameter(value: object) -> Cell:
    numeric = isinstance(value, Real) and not isinstance(value, bool)
    return Cell(plain(value), order=float(value) if numeric else None)  # type: ignore[arg-type]


def learning_rate_stability(study: Study, arm: str) -> Table | None:
    """How an arm's trials ended in each half decade of the learning rate; None where it is not swept.

    Where trials may be rescued from divergence, the last column has the number of those that were, and were then
    evaluated, however they ended.
    """
    swept = next((name for name in study.swept(arm) if name.rpartition(".")[2] == "learning_rate"), "")
    column = f"param.{swept}"
    if column not in study.trials:
        return None
    frame = study.trials[study.trials["arm"] == arm]
    rate = pd.to_numeric(frame[column], errors="coerce")
    frame = frame.assign(bin=np.floor(2 * np.log10(rate.where(rate > 0))))[rate > 0]
    if frame.empty:
        return None
    best = frame.loc[frame["state"] == RunState.COMPLETE, "value"].min()
    known = study.measured("cost", "rescues")
    known = known[known["run_id"].isin(frame["run_id"])]
    rescued = known.loc[known["value"] > 0, "run_id"]
    rows = []
    for number in sorted(frame["bin"].unique()):
        trials_in = frame[frame["bin"] == number]
        low, high = 10 ** (float(number) / 2), 10 ** (float(number + 1) / 2)
        counts = trials_in["state"].value_counts()
        complete = trials_in.loc[trials_in["state"] == RunState.COMPLETE, "value"].dropna()
        lost = sum(int(counts.get(state, 0)) for state in (RunState.DIVERGED, RunState.FAILED, RunState.OUT_OF_MEMORY))
        rows.append(
            [
                Cell(f"{low:.1e} to {high:.1e}", order=low),
                Cell(str(len(trials_in))),
                Cell(str(counts.get(RunState.COMPLETE, 0))),
                Cell(str(counts.get(RunState.PRUNED, 0))),
                Cell(str(lost)),
                Cell(quantity(None if complete.empty else float(complete.min() - best))),
                Cell(quantity(None if complete.empty else float(complete.median() - best))),
                *([] if known.empty else [Cell(str(int(trials_in["run_id"].isin(rescued).sum())))]),
            ]
        )
    columns = ["Learning rate", "Trials", "Complete", "Pruned", "Diverged or failed", "Best, above the best of all"]
    columns += ["Median, likewise", *([] if known.empty else ["Rescued"])]
    name = study.title(arm)
    caption = f"{name}: how stable training is, by learning rate; validation bits/dim above the best trial's"
    return Table(caption, columns, rows, sortable=True)


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


def _reason(run: Mapping[Hashable, Any]) -> list[str]:
    reason = run["reason"]
    return [str(reason)] if not pd.isna(reason) and str(reason).strip() else []


def _seconds(run: Mapping[Hashable, Any]) -> float | None:
    return None if pd.isna(run["spent"]) else float(run["spent"])


def _link(run: Mapping[Hashable, Any]) -> Cell:
    name = MISSING if pd.isna(run["name"]) else str(run["name"])
    return Cell(name, href=web_address(run["url"]))


def facts(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (name, text) pairs, names joined by a full stop."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += facts(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", plain(value)))
    return pairs
