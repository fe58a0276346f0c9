"""The flagship study on MNIST, by the command that users give, to its report."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.accelerator.measure import ROOT
from tests.benchmarks.accelerator.part import Part
from tests.benchmarks.accelerator.rows import FAILED

COMMAND = "from studies.cli.main import main; main()"
"""What the installed ``reparam-bench`` runs: here from the source tree, installed or not."""


def measure(part: Part) -> None:
    """Run the study, and keep its report as FOLDER/report."""
    command = [sys.executable, "-c", COMMAND, "study", "vae_vs_glow", "--backend", "jax", "--dataset", str(part.data)]
    command += [*part.sizes.study, "--output", str(part.output / "runs")]
    began = time.perf_counter()
    with (part.output / "study_progress.log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False)
    if done.returncode:
        said = (part.output / "study_progress.log").read_text().strip().rpartition("\n")[2]
        part.tell("vae_vs_glow", FAILED, note=f"exit status {done.returncode}: {said}")
        return
    part.tell("vae_vs_glow", "seconds to the report", time.perf_counter() - began, note=" ".join(part.sizes.study))
    newest = max((part.output / "runs" / "reports").iterdir(), key=lambda folder: folder.stat().st_mtime)
    shutil.copytree(newest, part.output / "report", dirs_exist_ok=True)
    _tell_finals(part, newest / "measurements.csv")
    _tell_failures(part, newest / "runs.csv")


def _tell_finals(part: Part, measurements: Path) -> None:
    """Test bits/dim of each final run."""
    with measurements.open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["role"], row["split"], row["metric"]) == ("final", "test", "bits_per_dim"):
                subject = f"vae_vs_glow: {row['family']}, final run of seed {row['seed']}"
                part.tell(subject, "test bits/dim", float(row["value"]), error=float(row["standard_error"]))


def _tell_failures(part: Part, runs: Path) -> None:
    """The runs that came to nothing, which the command itself survives."""
    with runs.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["state"] not in ("complete", "pruned"):
                part.tell(f"vae_vs_glow: {row['name']}", FAILED, note=f"{row['state']}: {row['reason']}")
