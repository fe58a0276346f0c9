"""What a study under ``--time`` finds beside the earlier way to search, in the same time on the same core.

    python -m tests.benchmarks.timed_search --data mnist.npz [--time 1800] [--seeds 1 2 3] [--core 0] --output FOLDER

``halving`` is the default: arms share the time evenly, trials stop at rungs, and the best are continued. ``median`` is
how a study searched before: all runs of both arms see the same number of images, trials are pruned for good by the
median (Optuna's ``MedianPruner``), and the search ends by ``--timeout``. Its final runs have the time that those of
``halving`` took, which gives the images of every run, and its search has the rest. A study that is complete in FOLDER
is not run again. Several of these commands may write into one FOLDER, each on a core of its own.
Writes reports/benchmarks/timed_search.csv and .md from all studies in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.runtime.provenance import code_version, processor

TARGET = Path(__file__).resolve().parents[2] / "reports" / "benchmarks" / "timed_search.csv"
FINAL_RUNS = 2
MEASURED = ("--importance-samples", "16", "--evaluation-images", "2000", "--no-reference-model")
TRIALS = 8
START_SECONDS = 45.0
"""What a study takes before its first trial and after its last run."""
SPENT = "seconds.txt"


def run(arguments: list[str], seed: int, data: Path, folder: Path) -> None:
    """Run a study to its report, and note its seconds; nothing where that was done before."""
    if (folder / SPENT).exists():
        return
    program = Path(sys.executable).with_name("reparam-bench")
    command = [str(program), "study", "vae_vs_glow", "--dataset", str(data)]
    command += ["--seed", str(seed), "--seeds", str(FINAL_RUNS), *MEASURED, *arguments, "--output", str(folder)]
    began = time.monotonic()
    subprocess.run(command, check=True)
    (folder / SPENT).write_text(f"{time.monotonic() - began:.1f}\n")


def read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The answer of a study, and its runs with what they cost."""
    (report,) = (folder / "reports").glob("vae_vs_glow-*")
    measurements = pd.read_csv(report / "measurements.csv")
    costs = measurements[measurements["split"] == "cost"].pivot_table(index="run_id", columns="metric", values="value")
    images = pd.read_csv(report / "histories.csv").groupby("run_id")["images"].max().rename("images_seen")
    runs = pd.read_csv(report / "runs.csv").set_index("run_id").join([costs, images])
    return json.loads((report / "answer.json").read_text()), runs


def earlier_search(folder: Path, seconds: float) -> list[str]:
    """The options of the earlier search, by what the study in a folder did in as many seconds."""
    _, runs = read(folder)
    finals = runs[(runs["role"] == "final") & (runs["state"] == "complete")]
    images = int(finals["training_seconds"].sum() / (finals["training_seconds"] / finals["images_seen"]).sum())
    left = seconds - START_SECONDS - finals["seconds"].sum()
    return ["--images", str(images), "--pruner", "MedianPruner", "--trials", "1000", "--timeout", f"{left:.0f}"]


def rows(output: Path) -> Iterator[dict[str, object]]:
    """A row for each arm of each complete study."""
    for spent in sorted(output.glob(f"*/*/{SPENT}")):
        answer, runs = read(spent.parent)
        for arm in answer["arms"]:
            level = arm["bits_per_dim"]
            trials = runs[(runs["arm"] == arm["name"]) & (runs["role"] == "search")]
            yield {
                "seed": int(spent.parents[1].name),
                "search": spent.parent.name,
                "arm": arm["name"],
                "bits_per_dim": None if level is None else level["mean"],
                "standard_error": None if level is None else level["standard_error"],
                "study_seconds": float(spent.read_text()),
                "trials": len(trials),
                "complete": int((trials["state"] == "complete").sum()),
                "final_images": int(max(arm["budget"]["final_images"], default=0)),
            }


def page(table: pd.DataFrame, seconds: float, cores: int) -> str:
    """The page that shows both searches side by side."""
    best = table.loc[table.groupby(["seed", "search"])["bits_per_dim"].idxmin()]
    cells = best.pivot(index="seed", columns="search", values="bits_per_dim")
    lines = ["| seed | search | best arm | bits/dim | trials, complete | images of a final run | seconds |"]
    lines.append("| --: | --- | --- | --: | --: | --: | --: |")
    lines += [
        f"| {row.seed} | {row.search} | {row.arm} | {row.bits_per_dim:.4f} ± {row.standard_error:.4f} | "
        f"{row.trials}, {row.complete} | {row.final_images:,} | {row.study_seconds:,.0f} |"
        for row in best.sort_values(["seed", "search"]).itertuples()
    ]
    difference = (cells["halving"] - cells["median"]).dropna() if {"halving", "median"} <= {*cells} else pd.Series()
    said = f"Halving less median, of {len(difference)} seeds: " if len(difference) else "No seed has both yet."
    said += ", ".join(f"{value:+.4f}" for value in difference)
    if len(difference) > 1:
        said += f"; mean {difference.mean():+.4f} ± {difference.sem():.4f}"
    return f"""# The earlier search in the same time

`python -m tests.benchmarks.timed_search --time {seconds:g}` on {processor()}, one core of {cores} a study, commit
{code_version("tensorflow")["code"][:12]}: `vae_vs_glow` on MNIST, {FINAL_RUNS} final runs an arm, test bits/dim of
2,000 images by the bound of 16 importance samples; ± is the standard error over final runs.

{chr(10).join(lines)}

{said} bits/dim.

`halving` is `--time {seconds:g} --trials {TRIALS}`: arms share the time evenly, trials stop at rungs, and the best are
continued. `median` is how studies searched before: all runs of both arms see the same number of images, trials are
pruned for good by the median, and a timeout ends the search. Its final runs have the time that those by halving took.
"""


def main() -> None:
    """Run what is missing, and write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--time", type=float, default=1800.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    for seed in options.seeds:
        folder = options.output / str(seed)
        halving = ["--time", f"{options.time:g}", "--trials", str(TRIALS)]
        run(halving, seed, options.data, folder / "halving")
        run(earlier_search(folder / "halving", options.time), seed, options.data, folder / "median")
    table = pd.DataFrame(rows(options.output))
    table.to_csv(TARGET, index=False)
    TARGET.with_suffix(".md").write_text(page(table, options.time, cores))


if __name__ == "__main__":
    main()
