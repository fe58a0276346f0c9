"""Which recipe is best on which data: reports/benchmarks/recipes.csv and .md.

Each case of ``cases.py`` is trained by the harness's own ``train``, one after the other in this process, on the data
sets that are given. Every evaluation is written at once; ``--continue`` keeps the cases that have come to their end.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from bench.core.errors import DataError, DivergedError
from bench.data.dataset import TuningData
from bench.data.preparation import Preparation
from bench.data.registry import load
from bench.runtime.backend import BACKENDS, select_backend
from bench.runtime.provenance import commit, processor
from tests.benchmarks.recipes import table
from tests.benchmarks.recipes.cases import CASES, DATA, Case
from tests.benchmarks.recipes.configuration import configuration
from tests.benchmarks.recipes.page import page
from tests.benchmarks.recipes.rows import DIVERGED, FINISHED, Row

ROOT = Path(__file__).resolve().parents[3]
OUTPUT = ROOT / "reports" / "benchmarks"
VALIDATION_IMAGES = 2000
GREY_LEVELS = {"binarized_mnist": 2}
"""Of a data set whose file does not say it."""


def main() -> None:
    """Measure, and write what was measured."""
    options = _options()
    if options.only:
        selected = [case for case in CASES if any(fnmatch(str(case), f"*{each}*") for each in options.only)]
    else:
        selected = list(CASES)
    given = {"digits": "digits"} | dict(_named(text) for text in options.data)
    cases = [_scaled(case, options.scale) for case in selected if case.data in given]
    if options.list:
        print(*(f"{case}: {case.training.images:,} images" for case in cases), sep="\n")
        return
    # Loading may import Keras.
    select_backend(options.backend)
    images = {
        name: _tuning_data(name, source, options.validation)
        for name, source in given.items()
        if any(case.data == name for case in cases)
    }
    path = options.output / "recipes.csv"
    rows = [] if not (options.only or options.keep) else table.read(path, Row)
    templates = [_template(case, images[case.data], options.backend) for case in cases]
    rows = _kept(rows, templates, options.keep)
    table.write(path, Row, rows)
    finished = {row.identity for row in rows}
    for number, (case, row) in enumerate(zip(cases, templates, strict=True), 1):
        if row.identity in finished:
            continue
        print(f"{number} of {len(cases)}: {case}, {case.training.images:,} images", flush=True)
        _measure(case, images[case.data], row, path)
    about = {
        "command": _command(options),
        "machine": f"{processor()}, {os.cpu_count()} processors, {platform.system()}",
    }
    written = options.output / "recipes.md"
    written.write_text(page(table.read(path, Row), [_scaled(case, options.scale) for case in CASES], about))
    print(written)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME[=PATH]",
        help=f"data sets beside the digits, from a file or the harness's own: {', '.join(DATA)}",
    )
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="cases whose 'group / name / data' holds one")
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets, for a quick trial")
    parser.add_argument("--validation", type=int, default=VALIDATION_IMAGES, help="images, at most")
    parser.add_argument("--backend", choices=BACKENDS, default="jax")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--list", action="store_true", help="list the cases, and measure none")
    parser.add_argument(
        "--continue",
        dest="keep",
        action="store_true",
        help="keep the cases that the table has under this configuration",
    )
    return parser.parse_args()


def _named(text: str) -> tuple[str, str]:
    """A data set's name, and what the harness loads: NAME=PATH or NAME."""
    name, _, path = text.partition("=")
    if name not in DATA:
        raise SystemExit(f"error: no case is of data {name!r}: one of {', '.join(DATA)}")
    return name, path or name


def _scaled(case: Case, scale: float) -> Case:
    """The same with about as many images times ``scale``, and as many evaluations."""
    if scale == 1:
        return case
    old = case.training
    # At least a step between two evaluations.
    images = max(old.batch_size * old.evaluations, round(old.images * scale))
    return replace(case, training=old.model_copy(update={"images": images}))


def _tuning_data(name: str, source: str, validation_images: int) -> TuningData:
    """Training images, and the first validation images; the test split stays closed."""
    try:
        data = load(source, Preparation(GREY_LEVELS.get(name) if source != name else None)).tuning
    except DataError as error:
        raise SystemExit(f"error: {name}: {error}") from error
    return replace(data, validation=data.validation.some(validation_images))


def _kept(rows: Sequence[Row], templates: Sequence[Row], keep: bool) -> list[Row]:
    """The rows that stay: of cases that are not selected, and with ``keep`` those that ended as they are today."""
    selected = {row.case_and_data for row in templates}
    today = {row.identity for row in templates}
    ended = {row.identity for row in rows if row.closes}
    return [
        row
        for row in rows
        if row.identity in ended and (row.case_and_data not in selected or (keep and row.identity in today))
    ]


def _template(case: Case, data: TuningData, backend: str) -> Row:
    """The closing row of a case that ended at once."""
    return Row(
        group=case.group,
        case=case.name,
        side="ours",
        data=case.data,
        images_seen=0,
        seconds=0.0,
        metric=FINISHED,
        value=None,
        standard_error=None,
        validation_images=len(data.validation),
        seed=case.seed,
        commit=commit(),
        backend=backend,
        configuration=configuration(case.model, case.training),
    )


def _measure(case: Case, data: TuningData, closing: Row, path: Path) -> None:
    """Train one case, and write its rows."""
    # Keras can be imported only once its backend is selected.
    from tests.benchmarks.recipes.curve import Evaluation, learning_curve

    metric = DATA[case.data]
    last = closing

    def write(evaluation: Evaluation) -> None:
        nonlocal last
        last = replace(
            closing,
            images_seen=evaluation.images,
            seconds=evaluation.seconds,
            metric=metric,
            value=evaluation.value,
            standard_error=evaluation.standard_error,
        )
        table.append(path, [last])

    end = FINISHED
    try:
        learning_curve(data, case.model, case.training, case.seed, metric, write)
    except DivergedError as error:
        print(f"  {error}", flush=True)
        end = DIVERGED
    table.append(path, [replace(last, metric=end, value=None, standard_error=None)])
    print(f"  {last.seconds:.1f} s, {metric} {last.value}", flush=True)


def _command(options: argparse.Namespace) -> str:
    """The command that measures the same, wherever the data lies and the page is written."""
    data = " ".join(name.partition("=")[0] for name in options.data)
    parts = ["python -m tests.benchmarks.recipes"]
    parts += [f"--data {data}"] if data else []
    parts += [f"--only {' '.join(map(repr, options.only))}"] if options.only else []
    parts += [f"--scale {options.scale:g}"] if options.scale != 1 else []
    return " ".join([*parts, f"--validation {options.validation} --backend {options.backend}"])
