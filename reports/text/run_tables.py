"""The runs one by one: final runs, the course of their training, and trials, also by learning rate."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.core.results import RunState
from reports import formatting
from reports.analysis import convergence
from reports.analysis.results import LIKELIHOOD, records
from reports.formatting import MISSING, count, plain, quantity, state_name
from reports.text.table import Cell, Table, web_address

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from reports.analysis.results import Study

READ_OF_TRIALS = ("run_id", "number", "state", "reason", "value", "value_error", "step", "spent", "name", "url")
"""The columns that the table of trials shows, beside their parameters."""


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
    for run in records(frame, [*READ_OF_TRIALS, *(f"param.{name}" for name in parameters)]):
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


def _reason(run: Mapping[Hashable, Any]) -> list[str]:
    reason = run["reason"]
    return [str(reason)] if not pd.isna(reason) and str(reason).strip() else []


def _seconds(run: Mapping[Hashable, Any]) -> float | None:
    return None if pd.isna(run["spent"]) else float(run["spent"])


def _link(run: Mapping[Hashable, Any]) -> Cell:
    name = MISSING if pd.isna(run["name"]) else str(run["name"])
    return Cell(name, href=web_address(run["url"]))
