"""What one accelerator does, part by part: FOLDER/accelerator.csv, a row as soon as it is measured, and accelerator.md.

Every part has a process and a time budget of its own. One that fails, or whose time is over, is recorded with the
reason, and the next one goes on; ``--parts`` measures some of them, and adds to what the folder already holds.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.runtime.provenance import commit, processor
from tests.benchmarks.accelerator.page import page
from tests.benchmarks.accelerator.part import TABLE
from tests.benchmarks.accelerator.rows import FAILED, WHOLE, Row, Table
from tests.benchmarks.accelerator.sizes import FULL, PARTS, SMALL

ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="MNIST, an .npz file with x_train and x_test")
    parser.add_argument("--binarized", type=Path, help="binarised MNIST, an .npz file, for the VAE's learning curve")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has PyTorch and normflows")
    parser.add_argument("--commit", default=commit(), help="of the code, where it lies outside a repository")
    parser.add_argument("--small", action="store_true", help="all of it tiny, to try it on a processor")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    table = Table(options.output / TABLE)
    for name in options.parts:
        table.add(_run(name, options))
        # Anew after each part: what there is can be read while the rest is measured.
        (options.output / "accelerator.md").write_text(page(table.rows(), _about(options)))
    print(options.output / "accelerator.md")


def _run(name: str, options: argparse.Namespace) -> Row:
    """Run one part to its end, or to the end of its time; how that went."""
    seconds = (SMALL if options.small else FULL).budgets[name]
    command = [sys.executable, "-m", "tests.benchmarks.accelerator.part", name, str(options.output.resolve())]
    command += ["--data", str(options.data.resolve()), "--peer-python", options.peer_python]
    command += ["--binarized", str(options.binarized.resolve())] if options.binarized else []
    command += ["--small"] if options.small else []
    errors = options.output / f"{name}.log"
    began = time.perf_counter()
    with errors.open("w") as log:
        # A session of its own, so that what the part has started can be stopped with it.
        process = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return Row(name, WHOLE, FAILED, note=f"stopped, for its {seconds:g} s were over; what it had is kept")
        finally:
            _stop(process)
    if status:
        return Row(name, WHOLE, FAILED, note=f"exit status {status}: {last_line(errors)}")
    return Row(name, WHOLE, "seconds", time.perf_counter() - began, note=f"of {seconds:g}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the part's process if it still runs, with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_line(file: Path) -> str:
    """What a process said last, which is where Python names the error that ended it."""
    lines = file.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _about(options: argparse.Namespace) -> dict[str, str]:
    return {
        "command": "python -m tests.benchmarks.accelerator" + " --small" * options.small,
        "machine": f"{processor()}, {os.cpu_count()} processors",
        "commit": options.commit,
        "caution": "All of it tiny, to see whether it runs: **no figure here measures anything.**" * options.small,
    }
