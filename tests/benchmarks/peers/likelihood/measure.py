"""Our Glow and VAE beside normflows and PyTorch on real data: reports/benchmarks/peers_likelihood.csv and .md.

Every side is trained from the same images and the same budget at each learning rate, one run at a time, each in a
process of its own. A run's rows are written once it ends; ``--continue`` keeps the runs that have ended.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil

from bench.core.errors import DataError
from bench.data.preparation import Preparation
from bench.data.registry import load
from bench.runtime.backend import BACKENDS
from bench.runtime.provenance import commit, processor
from tests.benchmarks.peers.likelihood import recipe
from tests.benchmarks.peers.likelihood.page import write_page
from tests.benchmarks.peers.likelihood.rows import Row
from tests.benchmarks.peers.likelihood.works import OURS, SIDES, WORKS, LikelihoodWork, Run
from tests.benchmarks.peers.processes import ENVIRONMENT, ROOT, seconds_of_others
from tests.benchmarks.recipes import table
from tests.benchmarks.recipes.configuration import configuration

OUTPUT = ROOT / "reports" / "benchmarks"
TABLE = "peers_likelihood.csv"
VALIDATION_IMAGES = 5000
POLL_SECONDS = 0.5


def main() -> None:
    """Measure, and write what was measured."""
    options = _options()
    path = options.output / TABLE
    works = {key: _work(key, options) for key in options.works}
    earlier = table.read(path, Row)
    table.write(path, Row, [row for row in earlier if _stays(row, works, options)])
    with tempfile.TemporaryDirectory() as folder:
        for key, work in works.items():
            images = _prepare(Path(folder), work, options)
            if images is not None:
                _measure(key, work, images, path, options)
    about = {
        "command": _command(options),
        "machine": f"{processor()}, {os.cpu_count()} processors, {platform.system()}",
        "backend": options.backend,
    }
    # Works that were measured before stay on the page.
    rows = table.read(path, Row)
    shown = {key: works.get(key) or WORKS[key] for key in WORKS if key in works or any(row.work == key for row in rows)}
    print(write_page(options.output, rows, shown, about))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", default="mnist", help="an .npz file of MNIST; else the harness's own")
    parser.add_argument("--binarized", default="binarized_mnist", help="an .npz of binarised MNIST; else likewise")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rates", nargs="+", type=float, help="learning rates, in place of each work's own")
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets, for a quick trial")
    parser.add_argument("--most", type=float, default=float("inf"), help="images: budgets above are left out")
    parser.add_argument("--validation", type=int, default=VALIDATION_IMAGES, help="images, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=BACKENDS, default="jax", help="of our side")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has PyTorch and the peers")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--continue", dest="keep", action="store_true", help="keep the runs that the table has under this configuration"
    )
    return parser.parse_args()


def _stays(row: Row, works: Mapping[str, LikelihoodWork], options: argparse.Namespace) -> bool:
    """Whether a row stays: it is not selected, or ``--continue`` was given and our recipe is still the same."""
    if row.work not in works or row.side not in options.sides:
        return True
    if row.side != OURS or not options.keep:
        return bool(options.keep)
    work = works[row.work]
    if row.run_images not in recipe.budgets_of_runs(work):
        return False
    training = recipe.recipe(work, row.learning_rate, row.run_images)
    return row.configuration == configuration(recipe.model(work), training)


def _work(key: str, options: argparse.Namespace) -> LikelihoodWork:
    work = WORKS[key].scaled(options.scale, options.most)
    if not work.budgets:
        raise SystemExit(f"error: --most {options.most:g} leaves {key} without a budget")
    return replace(work, rates=tuple(options.rates)) if options.rates else work


def _prepare(folder: Path, work: LikelihoodWork, options: argparse.Namespace) -> Path | None:
    """A file of the training and validation images; None, and a message, where the data cannot be had."""
    path = folder / f"{work.data}.npz"
    if not path.exists():
        name = {"mnist": options.mnist, "binarized_mnist": options.binarized}.get(work.data, work.data)
        try:
            # A binary image file does not say that its pixels have two levels only.
            own = work.architecture.grey_levels if name != work.data else None
            data = load(name, Preparation(own)).tuning
        except DataError as error:
            print(f"left out: {work.title}: {error}", file=sys.stderr)
            return None
        validation = data.validation.some(options.validation).images
        np.savez(path, train=data.train.images, validation=validation)
    return path


def _measure(key: str, work: LikelihoodWork, images: Path, path: Path, options: argparse.Namespace) -> None:
    """All runs of one work that are not in the table yet."""
    with np.load(images) as arrays:
        validation_images = len(arrays["validation"])
    done = {_identity(row) for row in table.read(path, Row)}
    for rate in work.rates:
        for side in (side for side in work.sides if side in options.sides):
            _, variant = SIDES[side]
            for budget in recipe.budgets_of_runs(work) if side == OURS else (max(work.budgets),):
                run = Run(key, variant, options.scale, rate, budget, options.seed, str(images))
                row = _template(run, side, work, validation_images, options)
                if _identity(row) in done:
                    continue
                print(f"{work.title}: {side}, {rate:g}, {budget:,} images", flush=True)
                rows = _rows(run, row, options)
                table.append(path, rows)
                print(f"  {rows[-1].seconds:.1f} s, {work.metric} {rows[-1].value} {rows[-1].note}", flush=True)


def _template(run: Run, side: str, work: LikelihoodWork, validation_images: int, options: argparse.Namespace) -> Row:
    """The row of a run before its first evaluation."""
    changed = ""
    if side == OURS:
        changed = configuration(recipe.model(work), recipe.recipe(work, run.learning_rate, run.images))
    return Row(
        work=run.work,
        side=side,
        learning_rate=run.learning_rate,
        run_images=run.images,
        images=0,
        seconds=0.0,
        metric=work.metric,
        value=None,
        standard_error=None,
        validation_images=validation_images,
        others=0.0,
        seed=run.seed,
        configuration=changed,
        backend=options.backend if side == OURS else "torch",
        versions="",
        commit=commit(),
        note="",
    )


def _identity(row: Row) -> tuple[object, ...]:
    """What two runs share only if they need not be measured twice."""
    numbers = (row.learning_rate, row.run_images, row.validation_images, row.seed)
    return row.work, row.side, *numbers, row.configuration, row.backend


def _rows(run: Run, template: Row, options: argparse.Namespace) -> list[Row]:
    """Train in a process of its own: the rows of its evaluations, and a closing one if it ended early."""
    module, _ = SIDES[template.side]
    python = sys.executable if template.side == OURS else options.peer_python
    command = [python, "-m", "tests.benchmarks.peers.likelihood.serve", module, json.dumps(asdict(run))]
    command += ["--backend", options.backend] if template.side == OURS else []
    folder = Path(run.file).parent
    # Compilation is part of a run's seconds: no run finds the programs of an earlier one.
    environment = {**os.environ, **ENVIRONMENT, "JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(dir=folder)}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        others_before = others = seconds_of_others(process.pid)
        # The process's own times can be read only while it lives.
        while process.poll() is None:
            try:
                others = seconds_of_others(process.pid)
            except psutil.NoSuchProcess:
                break
            time.sleep(POLL_SECONDS)
        text, _ = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        raise SystemExit(f"error: {template.side} ended with exit status {process.returncode}, as it says above")
    answer = json.loads(text)
    there_were = (time.perf_counter() - began) * (os.cpu_count() or 1)
    template = replace(
        template,
        others=max(0.0, (others - others_before) / there_were),
        versions=", ".join(f"{name} {version}" for name, version in answer["versions"].items()),
    )
    rows = [
        replace(template, images=images, seconds=seconds, value=value, standard_error=error)
        for images, seconds, value, error in answer["evaluations"]
    ]
    if answer["note"]:
        last = rows[-1] if rows else template
        rows.append(replace(last, value=None, standard_error=None, note=answer["note"]))
    return rows


def _command(options: argparse.Namespace) -> str:
    """The command that measures the same, wherever the peers are installed and the page is written."""
    parts = ["python -m tests.benchmarks.peers.likelihood"]
    given: Sequence[tuple[str, object]] = (
        ("--works", " ".join(options.works) if options.works != list(WORKS) else None),
        ("--sides", " ".join(f"'{side}'" for side in options.sides) if options.sides != list(SIDES) else None),
        ("--rates", " ".join(f"{rate:g}" for rate in options.rates or ()) or None),
        ("--scale", options.scale if options.scale != 1 else None),
        ("--most", f"{options.most:g}" if options.most != float("inf") else None),
        ("--validation", options.validation),
        ("--seed", options.seed),
        ("--backend", options.backend),
    )
    return " ".join([*parts, *(f"{name} {value}" for name, value in given if value is not None)])


if __name__ == "__main__":
    main()
