"""What a study under ``--time`` finds beside the search that the project had before, in the same time.

    python -m tests.benchmarks.timed_search --data FILE [--time 1800] [--seeds 1 2 3] [--searches halving median long]
        [--cores 0 1] --output FOLDER

``halving`` is ``--time``: arms share the time evenly, trials stop at rungs, and the best are continued. ``median`` is
the search of before: all runs of both arms, trials and final runs, see the same number of images, and
:class:`BelowMedianPruner` ends trials for good. It has as many trials an arm, and the images by which it takes the
time; a timeout ends its search so that final runs do. ``long`` is the same search, with the images by which its final
runs have the training time that those of ``halving`` had: the share of final runs is then that of the new search, and
the old one has as many trials as fit into the rest. Both are planned by what runs of ``halving`` took, and may take
longer, as the selected model may be slower: the page shows the seconds of all.

A search that is complete in FOLDER with these settings and this code is not run again. Several of these commands may
share FOLDER, each with other seeds or searches and with ``--at-once`` as many as they are: so many studies then share
the cores, of any search. Run them from a checkout that nobody edits meanwhile. Writes
reports/benchmarks/timed_search.csv and .md from all that is complete in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from bench.core.results import RunState
from bench.runtime.provenance import code_version, processor

TARGET = Path(__file__).resolve().parents[2] / "reports" / "benchmarks" / "timed_search.csv"
SEARCHES = ("halving", "median", "long")
MEASURED = {"seeds": 2, "importance_samples": 4, "evaluation_images": 2000, "reference_model": False}
TRIALS = 8
MOST_TRIALS = 1000
AROUND_SECONDS = 45.0
"""What a study takes before its first trial and after its last run."""
NOT_PRUNED = 0.85
"""Share of the training of all trials that the search of before is expected to do: of eight, three are trained to the
end and half of the others to the half."""
RECORD = "search.json"
FEWEST_OTHERS = 3
EVALUATIONS = 10
"""Of a run that passes over the training images at most so often."""


class BelowMedianPruner(optuna.pruners.BasePruner):
    """Ends a trial that is worse than the median of all that came as far, from half of the training on.

    Each counts by its best evaluation until there, whether it runs still or has ended.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to end the trial."""
        step = trial.last_step
        if step is None or step < EVALUATIONS // 2:
            return False
        others = [
            _best_until(other, step)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and step in other.intermediate_values
            and other.user_attrs.get("state") != RunState.INTERRUPTED
        ]
        return len(others) >= FEWEST_OTHERS and _best_until(trial, step) > median(others)


def _best_until(trial: FrozenTrial, step: int) -> float:
    return min(value for at, value in trial.intermediate_values.items() if at <= step)


@dataclass(frozen=True)
class Search:
    """A search that was run, or is to be."""

    search: str
    seed: int
    data: str
    cores: str
    at_once: int
    time: float

    def folder(self, output: Path) -> Path:
        """Where its study lies."""
        return output / str(self.seed) / self.search


def run(wanted: Search, output: Path) -> None:
    """Run a search to its report in a process of its own, and record it with its seconds; nothing if it is recorded.

    Raises:
        subprocess.CalledProcessError: the study ended with an error.
        ValueError: the time is too short for the final runs.
    """
    folder = wanted.folder(output)
    code = code_version("tensorflow")["code"]
    if (
        (folder / RECORD).exists()
        and (known := _recorded(folder)).get("code") == code
        and known["search"] == asdict(wanted)
    ):
        return
    # What an interrupted study had taken is not known.
    shutil.rmtree(folder, ignore_errors=True)
    if wanted.search == "halving":
        settings: dict[str, Any] = {"time": wanted.time, "trials": TRIALS}
    else:
        planned = _as_many_trials if wanted.search == "median" else _as_long_final_runs
        settings = planned(output / str(wanted.seed) / "halving", wanted.time)
    settings |= {**MEASURED, "seed": wanted.seed, "output": str(folder)}
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.timed_search", "--study", wanted.data, json.dumps(settings)]
    subprocess.run(command, check=True)
    seconds = time.monotonic() - began
    if code_version("tensorflow")["code"] != code:
        raise ValueError(f"the code was edited while {folder} ran: remove that folder, and run it again")
    record = {"search": asdict(wanted), "seconds": round(seconds, 1), "processor": processor(), "code": code}
    (folder / RECORD).write_text(json.dumps(record))


def study(data: str, settings: dict[str, Any]) -> None:
    """Run one study, in the process that is timed."""
    from bench.workflows.run import run_study
    from studies.vae_vs_glow import STUDY

    pruner = BelowMedianPruner() if "timeout" in settings else None
    run_study(STUDY, data, pruner=pruner, **{**settings, "output": Path(settings["output"])})


def _recorded(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RECORD).read_text())
    return found


def _read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The answer of a study, and its runs with what they cost."""
    (report,) = (folder / "reports").glob("vae_vs_glow-*")
    measurements = pd.read_csv(report / "measurements.csv")
    costs = measurements[measurements["split"] == "cost"].pivot_table(index="run_id", columns="metric", values="value")
    histories = pd.read_csv(report / "histories.csv").groupby("run_id")[["images", "seconds"]]
    # From the first evaluation on, before which programs are compiled.
    most = histories.max()
    passed = most - histories.min()
    seconds = (passed["seconds"] / passed["images"]).rename("an_image")
    runs = pd.read_csv(report / "runs.csv").set_index("run_id")
    runs = runs.join([costs, most["images"].rename("images_seen"), seconds])
    return json.loads((report / "answer.json").read_text()), runs


def _as_many_trials(halving: Path, seconds: float) -> dict[str, Any]:
    """The settings of the search of before with as many trials, by what runs of the one with halving took."""
    _, runs = _read(halving)
    fixed, by_image, final_fixed, final_by_image = 0.0, 0.0, 0.0, 0.0
    for _, own in runs.groupby("arm"):
        trials = own[(own["role"] == "search") & (own["attempt"] == 1)]
        finals = own[(own["role"] == "final") & (own["state"] == "complete")]
        fixed += TRIALS * (trials["seconds"] - trials["an_image"] * trials["images_seen"]).mean()
        by_image += TRIALS * NOT_PRUNED * trials["an_image"].mean()
        final_fixed += (finals["seconds"] - finals["an_image"] * finals["images_seen"]).sum()
        final_by_image += finals["an_image"].sum()
    images = (seconds - AROUND_SECONDS - fixed - final_fixed) / (by_image + final_by_image)
    timeout = seconds - AROUND_SECONDS - final_fixed - final_by_image * images
    if not (images > 0 and timeout > 0):
        raise ValueError(f"{halving} leaves {images:.0f} images a run and {timeout:.0f} s of search: give more time")
    return {"images": int(images), "trials": TRIALS, "timeout": round(timeout)}


def _as_long_final_runs(halving: Path, seconds: float) -> dict[str, Any]:
    """The settings of the search of before whose final runs train as long as those of the one with halving."""
    _, runs = _read(halving)
    finals = runs[(runs["role"] == "final") & (runs["state"] == "complete")]
    images = finals["training_seconds"].sum() / (finals["training_seconds"] / finals["images_seen"]).sum()
    left = seconds - AROUND_SECONDS - finals["seconds"].sum()
    if finals.empty or left <= 0:
        raise ValueError(f"{halving} leaves a search {left:.0f} s beside {len(finals)} final runs: give more time")
    return {"images": int(images), "trials": MOST_TRIALS, "timeout": round(left)}


def rows(output: Path) -> Iterator[dict[str, object]]:
    """A row for each arm of each recorded search."""
    for file in sorted(output.glob(f"*/*/{RECORD}")):
        record, (answer, runs) = _recorded(file.parent), _read(file.parent)
        for arm in answer["arms"]:
            level, trials = arm["bits_per_dim"] or {}, runs[(runs["arm"] == arm["name"]) & (runs["role"] == "search")]
            yield {
                **record["search"],
                "data": Path(record["search"]["data"]).stem,
                "arm": arm["name"],
                "bits_per_dim": float(level.get("mean", "nan")),
                "standard_error": float(level.get("standard_error") or "nan"),
                "seconds": record["seconds"],
                "trials": trials["number"].nunique(),
                "to_the_end": trials.loc[trials["state"] == "complete", "number"].nunique(),
                "final_images": max(arm["budget"]["final_images"] or [0]),
                "processor": record["processor"],
                "commit": answer["study"]["code"]["commit"],
            }


def page(table: pd.DataFrame) -> str:
    """The page that shows the searches side by side."""
    known = table.dropna(subset=["bits_per_dim"])
    best = known.loc[known.groupby(["seed", "search"])["bits_per_dim"].idxmin()].sort_values(["seed", "search"])
    lines = ["| seed | search | best arm | bits/dim | trials, to the end | images of a final run | seconds |"]
    lines.append("| --: | --- | --- | --: | --: | --: | --: |")
    lines += [
        f"| {row.seed} | {row.search} | {row.arm} | {row.bits_per_dim:.4f} ± {row.standard_error:.4f} | "
        f"{row.trials}, {row.to_the_end} | {row.final_images:,} | {row.seconds:,.0f} |"
        for row in best.itertuples()
    ]
    shown = set(best["search"])
    said = " ".join(_compared(best, other) for other in SEARCHES[1:] if {"halving", other} <= shown)
    commits, data, cores = (
        " or ".join(sorted({str(value)[:12] for value in table[name]})) for name in ("commit", "data", "cores")
    )
    most = max(table["at_once"])
    at_once = f"one study at a time on core {cores}" if most == 1 else f"{most} studies at once, on core {cores} each"
    return f"""# The search under a time beside the one before

`python -m tests.benchmarks.timed_search --time {table["time"].iloc[0]:g}` on {table["processor"].iloc[0]}, {at_once},
commit {commits}: `vae_vs_glow` on {data}, {MEASURED["seeds"]} final runs an arm, test bits/dim of
{MEASURED["evaluation_images"]:,} images by the bound of {MEASURED["importance_samples"]} importance samples; ± is the
standard error over final runs.

{chr(10).join(lines)}

{said}

`halving` is `--time`: arms share the time evenly, trials stop at rungs, and the best are continued. `median` is the
search that studies had before: all runs of both arms, trials and final runs, see the same number of images, and a trial
that is worse than the median of all that came as far ends for good, from half of its training on. It has as many trials
an arm, and the images by which it takes the time. `long` is the same search with the images by which its final runs
have the training time that those of `halving` had, and with as many trials as fit into the rest. Both were planned by
what the runs of `halving` took, which a user would have to find out.
"""


def _compared(best: pd.DataFrame, other: str) -> str:
    """A sentence on ``halving`` beside another search."""
    pairs = best.pivot(index="seed", columns="search", values=["bits_per_dim", "seconds"])
    pairs = pairs.loc[:, (slice(None), ["halving", other])].dropna()
    if pairs.empty:
        return f"No seed has halving and {other} yet."
    difference = pairs["bits_per_dim"]["halving"] - pairs["bits_per_dim"][other]
    spread = f" ± {difference.sem():.4f}" if len(pairs) > 1 else ""
    took = " and ".join(f"{pairs['seconds'][name].mean():,.0f} s by {name}" for name in ("halving", other))
    return (
        f"halving less {other}, by seed: {', '.join(f'{value:+.4f}' for value in difference)} bits/dim; mean "
        f"{difference.mean():+.4f}{spread}. They took {took}."
    )


def main() -> None:
    """Run what is missing, and write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--data")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--time", type=float, default=1800.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--searches", choices=SEARCHES, nargs="+", default=SEARCHES)
    parser.add_argument("--cores", type=int, nargs="+", default=[0])
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args()
    if options.study:
        study(options.study[0], json.loads(options.study[1]))
        return
    os.sched_setaffinity(0, set(options.cores))
    cores = " ".join(map(str, sorted(set(options.cores))))
    try:
        for seed in options.seeds:
            for search in options.searches:
                run(Search(search, seed, options.data, cores, options.at_once, options.time), options.output)
    finally:
        if found := list(rows(options.output)):
            table = pd.DataFrame(found)
            table.to_csv(TARGET, index=False)
            TARGET.with_suffix(".md").write_text(page(table))


if __name__ == "__main__":
    main()
