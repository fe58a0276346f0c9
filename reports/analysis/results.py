"""The study's frames made ready for reporting: complete in columns, one row for each thing counted, computed once."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.core.metrics import METRICS, Metric
from bench.core.results import HISTORY_COLUMNS, MEASUREMENT_COLUMNS, RUN_COLUMNS, TABLES, Bound, BoundKind, RunState
from bench.core.sequences import Kind
from reports.analysis.points import are_in_order, largest, spread
from reports.formatting import display, plain, state_name, visible

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from bench.core.results import StudyResults

LIKELIHOOD = "bits_per_dim"
UNKNOWN = "unknown"
SAME_BUDGET = 0.05
"""Numbers of training images that differ by so small a share, as where batches are whole, are the same budget."""
AS_STORED = {sys.float_info.max: math.inf, -sys.float_info.max: -math.inf}
"""What the databases of MLflow hold in the place of infinity."""
UNENDED = (RunState.RUNNING, RunState.INTERRUPTED)
SPLITS = ("train", "validation", "test", "out_of_distribution", "diagnostics", "quality", "throughput", "cost")
"""Splits and groups without a split that the project measures; a user's metric may have another."""


def with_schema(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A frame with at least the schema's columns, as a study without any run may lack them."""
    absent = [column for column in columns if column not in frame.columns]
    return frame.reindex(columns=[*frame.columns, *absent]).reset_index(drop=True)


def records(frame: pd.DataFrame, columns: Iterable[str]) -> list[dict[Hashable, Any]]:
    """The rows of a frame as dictionaries of some columns, as far as it has them: of all, thousands take seconds."""
    read = [column for column in dict.fromkeys(columns) if column in frame.columns]
    return frame[read].to_dict("records")


def select(frame: pd.DataFrame, split: str, metric: str) -> pd.DataFrame:
    """The rows of one metric on one split."""
    return frame[(frame["split"] == split) & (frame["metric"] == metric)]


def metric_of(name: str, rows: pd.DataFrame) -> Metric:
    """What a metric is: as it is defined, or else as its measurements say, where the user's file is not loaded."""
    if name in METRICS:
        return METRICS[name]
    units, directions = (rows[column].dropna() for column in ("unit", "higher_is_better"))
    unit = "" if units.empty else str(units.iloc[0])
    return Metric(name, name, unit, None if directions.empty else bool(directions.iloc[0]), "")


def in_order(*studies: Study) -> list[str]:
    """The splits and groups in which any of the studies measured something, those of the project first."""
    found = {str(split) for study in studies for split in study.measurements["split"].dropna().unique()}
    return [each for each in SPLITS if each in found] + sorted(found - set(SPLITS))


def bound_name(row: pd.Series) -> str:
    """The bound that a likelihood is, in words; empty where it is no bound."""
    kind, samples, dequantisation = row["bound"], row["importance_samples"], row["dequantisation"]
    if pd.isna(kind) or not str(kind):
        return ""
    if kind in set(BoundKind) and not pd.isna(samples):
        return str(Bound(BoundKind(kind), int(samples), "none" if pd.isna(dequantisation) else dequantisation))
    return str(kind)


def bounds(frame: pd.DataFrame) -> list[str]:
    """The different bounds among some measurements."""
    return list(dict.fromkeys(filter(None, (bound_name(row) for _, row in frame.iterrows()))))


@dataclass(frozen=True)
class Variant:
    """What numbers of one metric must share to be comparable: conditions and, for sample quality, the sample size.

    ``size`` is None where the sample size only changes a number's error, as it does everywhere but in sample quality.
    """

    conditions: str
    size: int | None

    @property
    def notes(self) -> list[str]:
        """The conditions in words."""
        return [*filter(None, [self.conditions]), *([] if self.size is None else [f"n = {self.size:,}"])]

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``frame`` that were measured so."""
        size = frame["size"].isna() if self.size is None else frame["size"] == self.size
        return frame[(frame["conditions"] == self.conditions) & size]


def variants(frame: pd.DataFrame) -> list[Variant]:
    """The different conditions among measurements, in order of appearance."""
    distinct = frame[["conditions", "size"]].drop_duplicates().itertuples(index=False, name=None)
    return [Variant(str(conditions), None if pd.isna(size) else int(size)) for conditions, size in distinct]


def places_by_metric(frame: pd.DataFrame) -> dict[Hashable, np.ndarray]:
    """The row numbers of each (split, metric), which take less memory than the rows."""
    places = frame.groupby(["split", "metric"], sort=False).indices
    return {key: np.asarray(rows) for key, rows in places.items()}


@dataclass(frozen=True)
class Finals:
    """The final runs of one arm.

    Attributes:
        runs: the complete final runs of one configuration, one a seed.
        measurements: their measurements.
        trial: the trial that the configuration comes from, which a given time may have stopped at a rung; None where
            no trial has it.
        left_out: number of complete final runs of other configurations or budgets, or repeated seeds.
        superseded: whether another trial has reached a lower validation value, since or, in a given time, before.
    """

    runs: pd.DataFrame
    measurements: pd.DataFrame
    trial: pd.Series | None
    left_out: int
    superseded: bool

    def measured(self, split: str, metric: str) -> pd.DataFrame:
        """The measurements of one metric on one split, which nobody changes."""
        return self.measurements.iloc[self._places.get((split, metric), slice(0))]

    @cached_property
    def _places(self) -> dict[Hashable, np.ndarray]:
        return places_by_metric(self.measurements)


@dataclass(frozen=True)
class Study:
    """A study's results with what all parts of the report need of them.

    Attributes:
        results: what the study left behind.
        earlier: the forecasts that earlier reports of it wrote down; None where none has.
    """

    results: StudyResults
    earlier: pd.DataFrame | None = None

    @cached_property
    def kind(self) -> Kind:
        """Whether the data are images, texts or sounds."""
        found = self.results.dataset.get("kind")
        return found if found in ("text", "audio") else "image"

    @cached_property
    def computed(self) -> dict[Hashable, Any]:
        """What functions decorated with :func:`reports.analysis.once.once` have computed, by function and arguments."""
        return {}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """All runs, with no arm, family, state or role missing: a run that lacks one is counted as ``unknown``.

        ``task`` is the number of the trial or final run that it is an attempt at; ``own`` are its seconds, of an
        interrupted one those of its training up to its last evaluation, as its end is that of somebody noticing;
        ``spent`` are these with those of the attempts that it continued.
        """
        frame = with_schema(self.results.runs, RUN_COLUMNS)
        frame["arm"] = frame["arm"].astype(object).where(frame["arm"].notna(), frame["family"])
        for column in ("arm", "family", "state", "role"):
            frame[column] = frame[column].astype(object).where(frame[column].notna(), UNKNOWN).map(str)
        frame["attempt"] = pd.to_numeric(frame["attempt"], errors="coerce").fillna(1)
        frame["continued_from"] = pd.to_numeric(frame["continued_from"], errors="coerce").fillna(0)
        # A trial is known by its number; a final run has none and is known by what it trains, from which seed.
        final = [frame[name].where(frame["number"].isna()) for name in ("config_hash", "seed")]
        by = [frame["arm"], frame["role"], frame["number"], *final]
        frame["task"] = frame.groupby(by, dropna=False, sort=False).ngroup()
        wall = pd.to_numeric(frame["seconds"], errors="coerce")
        trained = frame["run_id"].map(self._trained_seconds(frame)).astype(float).fillna(0.0)
        frame["own"] = own = wall.where(frame["state"] != RunState.INTERRUPTED, trained)
        order = frame["attempt"].sort_values(kind="stable").index
        begun = (frame["continued_from"] == 0)[order].groupby(frame["task"]).cumsum()
        so_far = own.fillna(0.0)[order].groupby([frame["task"], begun]).cumsum()
        frame["spent"] = so_far.where(own.notna())
        return frame

    def _trained_seconds(self, runs: pd.DataFrame) -> pd.Series:
        """Training time of each run up to its last evaluation, less that of the evaluations that it logged again."""
        points = self.histories
        begun = spread(runs.set_index("run_id")["continued_from"], points["run_id"])
        again = points[points["step"] <= begun]
        before, until = (largest(each["seconds"], each["run_id"]) for each in (again, points))
        spent: pd.Series = until - before.reindex(until.index).fillna(0.0)
        return spent

    @cached_property
    def counted(self) -> pd.DataFrame:
        """One run for each trial and each final run: the last attempt that ended by itself, or else the last.

        Of a trial it is the last complete one if there is any, as that may be selected whatever became of a later
        attempt that continued it.
        """
        runs = self.runs
        is_complete = (runs["state"] == RunState.COMPLETE) & (runs["role"] == "search")
        standing = is_complete.astype(int) + ~runs["state"].isin(UNENDED)
        of_task = runs["task"]
        attempt = runs["attempt"].where(standing == standing.groupby(of_task).transform("max"))
        return runs[attempt == attempt.groupby(of_task).transform("max")]

    @cached_property
    def ended(self) -> pd.DataFrame:
        """``arm role state reason`` of the runs in :attr:`counted`, and of what failed before it had a run."""
        known = self.counted[["arm", "role", "state", "reason"]]
        unbegun = [
            (each.arm, each.role, str(RunState.FAILED), each.reason)
            for each in self.results.unbegun
            for _ in range(each.count)
        ]
        return pd.concat([known, pd.DataFrame(unbegun, columns=known.columns)], ignore_index=True) if unbegun else known

    def without_trial(self, arm: str) -> list[tuple[str, str]]:
        """State and reason of the ended trials of an arm of which none is complete or runs; empty for any other arm."""
        frame = self.ended[(self.ended["arm"] == arm) & (self.ended["role"] == "search")]
        if len(self.finals[arm].runs) or frame["state"].isin([RunState.COMPLETE, RunState.RUNNING]).any():
            return []
        frame = frame[frame["state"] != RunState.INTERRUPTED]
        return list(zip(frame["state"], frame["reason"].fillna("").map(str), strict=True))

    @property
    def uncounted(self) -> pd.DataFrame:
        """The other attempts at trials and final runs: ``is_later`` are those that began after the one that counts."""
        left = self.runs.drop(self.counted.index)
        last = self.counted.groupby("task")["attempt"].max()
        return left.assign(is_later=left["attempt"] > left["task"].map(last))

    @property
    def repeated(self) -> int:
        """The number of interrupted attempts that later ones repeated or continued."""
        left = self.uncounted
        return int((left["state"].isin(UNENDED) & ~left["is_later"].astype(bool)).sum())

    @cached_property
    def families(self) -> dict[str, str]:
        """The family of each arm, in the study's order; an arm that only runs name comes last."""
        of_runs = self.runs.drop_duplicates("arm").set_index("arm")["family"]
        known = self.results.arms
        names = dict.fromkeys([*map(str, known), *map(str, self.results.swept), *of_runs.index])
        return {arm: str(known.get(arm, of_runs.get(arm, UNKNOWN))) for arm in names}

    @property
    def arms(self) -> list[str]:
        """The names of the arms, in the study's order."""
        return list(self.families)

    def display(self, family: str) -> str:
        """A family's name as people write it."""
        return self.results.titles.get(family) or display(family)

    def title(self, arm: str) -> str:
        """An arm's name as people write it: that of its family where it is named so, else its own."""
        return self.display(arm) if self.families.get(arm) == arm else arm

    def family_title(self, arm: str) -> str:
        """The family of an arm, as people write it; empty where the arm's name says it."""
        family = self.families.get(arm, UNKNOWN)
        return "" if family == UNKNOWN or family.lower() in arm.lower() else self.display(family)

    def swept(self, arm: str) -> list[str]:
        """The names of an arm's swept parameters."""
        return self.results.swept.get(arm, [])

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """One measurement for each run, split, metric and `Variant`: the one with the most importance samples.

        ``size`` is the ``n`` of sample quality and missing elsewhere.
        """
        frame = with_schema(self.results.measurements, MEASUREMENT_COLUMNS)
        for column in ("value", "standard_error", "n", "importance_samples", "monte_carlo_error"):
            frame[column] = pd.to_numeric(frame[column], errors="coerce").replace(AS_STORED)
        frame["conditions"] = frame["conditions"].astype(object).where(frame["conditions"].notna(), "").map(str)
        frame["size"] = frame["n"].where((frame["split"] == "quality") & np.isfinite(frame["n"]))
        frame = frame.sort_values("importance_samples", kind="stable", na_position="first")
        return frame.drop_duplicates(["run_id", "split", "metric", "conditions", "size"], keep="last").sort_index()

    def measured(self, split: str, metric: str) -> pd.DataFrame:
        """The measurements of one metric on one split, which nobody changes."""
        return self.measurements.iloc[self._places.get((split, metric), slice(0))]

    @cached_property
    def _places(self) -> dict[Hashable, np.ndarray]:
        return places_by_metric(self.measurements)

    def table(self, name: str, arm: str) -> pd.DataFrame:
        """What an arm's reported final runs left of one of the schema's `TABLES`, its columns numeric."""
        columns = ["run_id", *TABLES[name]]
        frame = with_schema(self.results.tables.get(name, pd.DataFrame()), columns)
        frame = frame.loc[frame["run_id"].isin(self.finals[arm].runs["run_id"]), columns].copy()
        for column in TABLES[name]:
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
        return frame

    @property
    def dimensions(self) -> int:
        """D, the number of dimensions of an image; 0 where the study does not know its size."""
        shape = self.results.dataset.get("image_shape")
        return math.prod(int(side) for side in shape) if isinstance(shape, list | tuple) else 0

    @cached_property
    def bits_by_image(self) -> dict[str, pd.DataFrame | None]:
        """Of each arm the test bits/dim of each image under each seed: one row a run, one column an image.

        The columns are the images that every seed measured. None where the study has no such table, where it does not
        know the size of an image, or where the means over images are not the reported bits/dim: the table is then of
        another likelihood, and pairing by it would answer another question.
        """
        return {arm: self._bits_by_image(arm) for arm in self.arms}

    def _bits_by_image(self, arm: str) -> pd.DataFrame | None:
        table = self.table("likelihood_by_image", arm).dropna(subset=["image", "bound_nats"])
        if table.empty or not self.dimensions:
            return None
        nats = table.pivot_table(index="run_id", columns="image", values="bound_nats", sort=True)
        bits = nats / (-self.dimensions * math.log(2))
        rows = self.finals[arm].measured("test", LIKELIHOOD)
        reported = rows[np.isfinite(rows["value"])].set_index("run_id")["value"]
        means = bits.mean(axis=1).reindex(reported.index)
        if reported.empty or not np.allclose(means, reported, rtol=1e-3, atol=0):
            return None
        every_seed: pd.DataFrame = bits.loc[reported.index].dropna(axis=1)
        return every_seed

    @cached_property
    def histories(self) -> pd.DataFrame:
        """The points of the validation learning curves, in order of evaluation; a value that is not finite is NaN."""
        frame = with_schema(self.results.histories, HISTORY_COLUMNS)
        frame = frame[frame["metric"] == f"validation/{LIKELIHOOD}"].copy()
        for column in ("step", "images", "value"):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
        frame["value"] = frame["value"].where(np.isfinite(frame["value"]))
        # Sorting would find this out too, but only by sorting.
        return frame if are_in_order(frame) else frame.sort_values(["run_id", "step"], kind="stable")

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials, one row each, with the columns of :attr:`attempts`."""
        return self.attempts[self.attempts.index.isin(self.counted.index)]

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """The search runs with ``value`` (validation bits/dim, NaN where none is finite), its ``step`` and ``best``.

        A complete trial's value is the one it logged; any other trial's is the last finite one on its learning curve.
        ``best`` marks, in each arm, the complete trial with the lowest value.
        """
        frame = self.runs[self.runs["role"] == "search"].copy()
        measured = self.measured("validation", LIKELIHOOD).set_index("run_id")
        last = (
            self.histories[["run_id", "step", "value"]]
            .dropna(subset=["value"])
            .groupby("run_id", sort=False, observed=True)
            .tail(1)
            .set_index("run_id")
        )
        logged = frame["run_id"].isin(measured.index) & (frame["state"] == RunState.COMPLETE)
        value = frame["run_id"].map(measured["value"]).where(logged, frame["run_id"].map(last["value"]))
        value = pd.to_numeric(value, errors="coerce")
        frame["value"] = value.where(np.isfinite(value))
        frame["value_error"] = frame["run_id"].map(measured["standard_error"]).where(logged)
        frame["step"] = frame["run_id"].map(last["step"])
        counts = frame.index.isin(self.counted.index)
        complete = frame[(frame["state"] == RunState.COMPLETE) & frame["value"].notna() & counts]
        best = complete.sort_values(["value", "number"], kind="stable").drop_duplicates("arm").index
        frame["best"] = frame.index.isin(best)
        return frame

    @cached_property
    def described(self) -> pd.Series:
        """Each run in words, by its identifier: its number or seed, its swept values, and how it ended."""
        runs = self.runs
        swept = [f"param.{name}" for names in self.results.swept.values() for name in names]
        read = records(runs, ["arm", "role", "number", "seed", "state", *swept])
        words = [self._words(run) for run in read]
        return pd.Series(words, index=runs["run_id"], dtype=object)

    def _words(self, run: dict[Hashable, Any]) -> str:
        name = f"seed {plain(run['seed'])}" if run["role"] == "final" else f"trial {plain(run['number'])}"
        swept = {parameter: run.get(f"param.{parameter}") for parameter in self.swept(run["arm"])}
        values = [f"{parameter} = {plain(value)}" for parameter, value in swept.items() if not pd.isna(value)]
        return visible(", ".join([f"{self.title(run['arm'])} {name}", *values, state_name(run["state"])]))

    @cached_property
    def finals(self) -> dict[str, Finals]:
        """Of each arm the final runs to be reported."""
        return {arm: self._finals(arm) for arm in self.arms}

    def _finals(self, arm: str) -> Finals:
        """Those of the best trial's configuration, or else of the latest configuration that has any, of one budget."""
        searched, final = self._searched(arm), self._complete_finals(arm)
        best = None if searched.empty else searched.iloc[0]
        if final.empty:
            return Finals(final, self.measurements.iloc[:0], best, 0, superseded=False)
        hashes, wanted = list(searched["config_hash"]), self._retrained(arm)
        current = self._of_one_budget(final[final["config_hash"] == wanted])
        repeated = current["seed"].notna() & current.duplicated("seed", keep="last")
        current = current[~repeated].sort_values("seed", kind="stable")
        return Finals(
            runs=current,
            measurements=self.measurements[self.measurements["run_id"].isin(current["run_id"])],
            trial=searched.iloc[hashes.index(wanted)] if wanted in hashes else self._stopped(arm, wanted),
            left_out=int(final.index.isin(self.counted.index.difference(current.index)).sum()),
            superseded=bool(hashes) and hashes[0] != wanted,
        )

    def _searched(self, arm: str) -> pd.DataFrame:
        """The complete trials of an arm, the best first."""
        found = self.trials[(self.trials["arm"] == arm) & (self.trials["state"] == RunState.COMPLETE)]
        return found.dropna(subset=["value"]).sort_values(["value", "number"], kind="stable")

    def _stopped(self, arm: str, config_hash: Any) -> pd.Series | None:
        """The trial of a configuration that was stopped at a rung, and retrained all the same."""
        found = self.trials[(self.trials["arm"] == arm) & (self.trials["config_hash"] == config_hash)]
        found = found[(found["state"] == RunState.PRUNED) & found["value"].notna()]
        return None if found.empty else found.iloc[0]

    def _complete_finals(self, arm: str) -> pd.DataFrame:
        """The complete final runs of an arm, as they began."""
        final = self.runs[(self.runs["arm"] == arm) & (self.runs["role"] == "final")]
        return final[final["state"] == RunState.COMPLETE].sort_values("started", kind="stable")

    def _retrained(self, arm: str) -> Any:
        """The configuration whose final runs are reported, of an arm that has any."""
        searched, chosen = self._searched(arm), list(self._complete_finals(arm)["config_hash"])
        best = None if searched.empty else searched["config_hash"].iloc[0]
        return best if best in chosen else chosen[-1]

    def _seeds_by_budget(self, runs: pd.DataFrame) -> pd.Series:
        """How many of the seeds that are wanted some final runs have, by their budget; empty where it is not known."""
        if "param.images" not in runs or runs["param.images"].isna().all():
            return pd.Series(dtype=float)
        wanted = self.results.settings.get("seeds")
        seeds = runs.groupby(pd.to_numeric(runs["param.images"], errors="coerce"))["seed"].nunique()
        return seeds.clip(upper=wanted) if isinstance(wanted, int) else seeds

    @property
    def _asks_one_budget(self) -> bool:
        """Whether all arms were to see as many training images."""
        asked = self.results.settings.get("training_images")
        images = [each for each in asked.values() if isinstance(each, int | float)] if isinstance(asked, dict) else []
        return not (self.results.settings.get("time") or (images and max(images) > (1 + SAME_BUDGET) * min(images)))

    def at_other_budgets(self, arms: Sequence[str]) -> bool:
        """Whether arms are reported at budgets that differ, though all were to see as many training images."""
        runs = [self.finals[arm].runs for arm in arms]
        if not self._asks_one_budget or any("param.images" not in each for each in runs):
            return False
        images = [float(pd.to_numeric(each["param.images"], errors="coerce").max()) for each in runs]
        return bool(max(images) > (1 + SAME_BUDGET) * min(images))

    @cached_property
    def _common_budget(self) -> float | None:
        """The budget of which every arm with final runs has most seeds, or else the largest; None if they share none.

        In a study that is being extended each arm has final runs of several, and one of them may have failed. Where the
        budget is a time, or another cost, that of each arm is its own.
        """
        if not self._asks_one_budget:
            return None
        finals = [(self._complete_finals(arm), arm) for arm in self.arms]
        current = [each[each["config_hash"] == self._retrained(arm)] for each, arm in finals if len(each)]
        seeds = [self._seeds_by_budget(each) for each in current]
        shared = set[float]().union(*(each.index for each in seeds[:1])).intersection(*(each.index for each in seeds))
        return max(shared, key=lambda images: (min(each[images] for each in seeds), images), default=None)

    def _of_one_budget(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Those of the common budget, or else of that with most seeds, or of the largest: a mean is of one budget."""
        seeds = self._seeds_by_budget(runs)
        if seeds.empty:
            return runs
        budget = self._common_budget if self._common_budget in seeds.index else seeds[seeds == seeds.max()].index.max()
        reported: pd.DataFrame = runs[pd.to_numeric(runs["param.images"], errors="coerce") == budget]
        return reported

    @cached_property
    def selected(self) -> set[str]:
        """The run of each arm's selected trial."""
        return {str(final.trial["run_id"]) for final in self.finals.values() if final.trial is not None}
