"""A folder to carry to a machine with an accelerator, and no network: project, wheels, images and ``run.sh``.

python -m tests.benchmarks.accelerator.bundle FOLDER --data mnist.npz
# there, where Python, jax, numpy and scipy are installed:
bash FOLDER/run.sh RESULTS [--parts flow …]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from bench.runtime.provenance import commit
from tests.benchmarks.accelerator import wheels
from tests.benchmarks.accelerator.wheels import MIB

ROOT = Path(__file__).resolve().parents[3]
RUN = """#!/bin/bash
# Installs the wheels beside the Python that has jax, and measures: bash run.sh RESULTS [options of the benchmark].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
results=$(cd "$1" && pwd)
shift
python=${PYTHON:-python3}
rm -rf "$results/packages" "$results/project"
"$python" -m pip install --quiet --no-index --no-deps --target "$results/packages" "$here"/wheels/*/*.whl
mkdir -p "$results/project"
tar -xzf "$here/project.tar.gz" -C "$results/project"
cd "$results/project"
export PYTHONPATH="$results/project:$results/packages" PYTHONUNBUFFERED=1
exec "$python" -m tests.benchmarks.accelerator --data "$here/mnist.npz" --output "$results" --commit {commit} "$@"
"""


def main() -> None:
    """Collect, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new one")
    parser.add_argument("--data", type=Path, required=True, help="MNIST, an .npz file with x_train and x_test")
    parser.add_argument("--python-version", help="of the machine, such as 3.12 [default: this one's]")
    parser.add_argument("--limit", type=float, default=60.0, help="MiB in all")
    options = parser.parse_args()
    if options.folder.exists():
        raise SystemExit(f"error: {options.folder} exists: name a new folder")
    options.folder.mkdir(parents=True)
    wheels.collect(wheels.MEASUREMENTS, options.folder / "wheels", options.python_version, options.limit)
    shutil.copyfile(options.data, options.folder / "mnist.npz")
    archive = ["git", "archive", "--format=tar.gz", "-o", str(options.folder.resolve() / "project.tar.gz"), "HEAD"]
    subprocess.run(archive, cwd=ROOT, check=True)
    (options.folder / "run.sh").write_text(RUN.replace("{commit}", commit()))
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / MIB
    print(f"{options.folder}: {size:.1f} MiB")
    if size > options.limit:
        raise SystemExit(f"error: {size:.1f} MiB are more than {options.limit:g}")


if __name__ == "__main__":
    main()
