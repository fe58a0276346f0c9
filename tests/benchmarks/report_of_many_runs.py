"""How long a report of thousands of runs takes, and how much memory: ``make benchmark-report``.

Builds stores of synthetic studies, whose runs have learning curves of 100 steps, and makes the report of each in a
process of its own, as ``reparam-bench report`` does, which looks for garbage less often than Python does by default.
Writes ``report_of_many_runs.csv`` and ``.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

OUTPUT = ROOT / "reports" / "benchmarks"
SIZES = (1_000, 3_000, 10_000)
STEPS = 100
PACKAGES = ("mlflow", "pandas", "numpy", "sqlalchemy", "matplotlib", "optuna")
COLUMNS = {
    "store": "store",
    "runs": "runs",
    "points": "points of curves",
    "import_seconds": "imports, s",
    "load_seconds": "load, s",
    "report_seconds": "report, s",
    "seconds": "all, s",
    "processor_seconds": "all, processor s",
    "peak_gib": "peak memory, GiB",
    "page_megabytes": "page, MB",
}


def measure(uri: str, folder: Path) -> dict[str, float]:
    """Make a report in this process, as the command does."""
    started = time.perf_counter()
    from studies.cli.terminal import OBJECTS_UNTIL_COLLECTION

    gc.set_threshold(OBJECTS_UNTIL_COLLECTION, 20, 20)  # as `run_program` has it, before anything else is imported
    from bench.tracking.reading.reader import load_results
    from bench.tracking.reading.studies import list_studies
    from reports import write_report

    imported = time.perf_counter()
    results = load_results(uri, list_studies(uri)[0])
    loaded = time.perf_counter()
    page = write_report(results, folder).html
    written = time.perf_counter()
    # Linux tells it in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "runs": len(results.runs),
        "points": len(results.histories),
        "import_seconds": imported - started,
        "load_seconds": loaded - imported,
        "report_seconds": written - loaded,
        "seconds": written - started,
        "processor_seconds": time.process_time(),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30,
        "page_megabytes": page.stat().st_size / 1e6,
    }


def run(sizes: list[int], served: bool, output: Path) -> None:
    """Build the stores, measure each, and write the results."""
    import pandas as pd
    from synthetic_store import write_store

    from tests.browser.chromium import mlflow_server

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for trials in sizes:
            folder = Path(temporary, str(trials))
            uri = write_store(folder, trials, STEPS)
            for store in ("sqlite", "server") if served else ("sqlite",):
                opened = mlflow_server(uri, folder / "artifacts") if store == "server" else nullcontext(uri)
                with opened as address:
                    command = [sys.executable, __file__, "--measure", address, str(folder / "report")]
                    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
                if done.returncode:
                    raise SystemExit(done.stderr)
                rows.append({"store": store, **json.loads(done.stdout.splitlines()[-1])})
                print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)[list(COLUMNS)].round(3)
    output.mkdir(parents=True, exist_ok=True)
    provenance = _provenance()
    frame.assign(**provenance).to_csv(output / "report_of_many_runs.csv", index=False)
    (output / "report_of_many_runs.md").write_text(_markdown(frame, provenance), encoding="utf-8")


def _provenance() -> dict[str, str]:
    from bench.runtime.backend import cores
    from bench.runtime.provenance import commit, processor

    return {
        "cores": str(cores()),
        "processor": processor(),
        "load": f"{os.getloadavg()[2]:.1f}",
        "commit": commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _markdown(frame: object, provenance: dict[str, str]) -> str:
    heads = list(COLUMNS.values())
    lines = [
        "# A report of many runs",
        "",
        f"Synthetic studies of two families; every run has learning curves of {STEPS} steps in training and in "
        "validation, with images and seconds. Each report is made in a process of its own, as `reparam-bench report` "
        "makes it. `make benchmark-report` writes this page.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'|'.join('---' for _ in heads)}|",
    ]
    for _, row in frame.iterrows():
        cells = [f"{value:,}" if isinstance(value, int) else str(value) for value in row]
        lines.append(f"| {' | '.join(cells)} |")
    known = ", ".join(f"{name} {value}" for name, value in provenance.items() if name in PACKAGES or name == "python")
    lines += [
        "",
        f"{provenance['cores']} cores of {provenance['processor']}; mean load of the last 15 minutes "
        f"{provenance['load']}: where that is above the number of cores, others shared them, and the processor "
        f"seconds say more than the seconds. Commit {provenance['commit'][:12]}; {known}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, help="sizes of the studies")
    parser.add_argument("--server", action="store_true", help="also through an MLflow server")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results")
    parser.add_argument("--measure", nargs=2, metavar=("URI", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        uri, folder = options.measure
        print(json.dumps(measure(uri, Path(folder))))
    else:
        run(list(options.runs), options.server, options.output)


if __name__ == "__main__":
    main()
