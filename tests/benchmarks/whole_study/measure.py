"""How long a whole study takes: against a loop written by hand, against an earlier checkout, and what a worker adds.

Writes reports/benchmarks/whole_study.csv, every round's figures, and whole_study.md.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import os
import platform
import shlex
from collections.abc import Iterator
from pathlib import Path

from bench.runtime.backend import cores, select_backend
from bench.runtime.provenance import processor
from bench.study.definition import StudySettings
from tests.benchmarks.whole_study import commands
from tests.benchmarks.whole_study.page import BEFORE, BY_HAND, NOW, OURS, UNPRUNED, Row, page

OUTPUT = commands.ROOT / "reports" / "benchmarks"
PARTS = ("by-hand", "before", "within")
VERSIONS = ("keras", "tensorflow", "jax", "optuna", "mlflow", "numpy")


def against_by_hand(options: argparse.Namespace) -> Iterator[Row]:
    """Our command and the loop by hand in turns; each round from a seed of its own."""
    backend = [] if options.backend is None else ["--backend", options.backend]
    for number in range(1, options.rounds + 1):
        seed = number - 1
        settings = {"trials": options.trials, "epochs": options.epochs, "seeds": 1, "seed": seed}
        given = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        given += ["--no-reference-model", "--quiet", *backend]
        other = commands.by_hand(options.trials, options.epochs, seed)
        yield from _rows(BY_HAND, BY_HAND, number, other)
        for of, pruner in ((OURS, []), (UNPRUNED, ["--pruner", "none"])):
            ours = commands.study(commands.ROOT, [*given, *pruner])
            for family in commands.FAMILIES:
                ours.figures[f"{family} seconds until as good"] = ours.seconds_until(
                    family, other.figures[f"{family} best bits/dim"]
                )
            yield from _rows(BY_HAND, of, number, ours)


def against_before(options: argparse.Namespace) -> Iterator[Row]:
    """The study with all its defaults, of the earlier checkout and of this one, in turns; the same models in both."""
    checkouts = {BEFORE: options.before.resolve(), NOW: commands.ROOT}
    for checkout in checkouts.values():
        commands.prepare(checkout)
    for number in range(1, options.rounds + 1):
        study_id = ""
        for name, checkout in checkouts.items():
            outcome = commands.study(checkout, shlex.split(options.before_options), study_id)
            study_id = outcome.study_id
            yield from _rows(BEFORE, name, number, outcome)


def within_a_trial(options: argparse.Namespace) -> Iterator[Row]:
    """What a worker adds to the training of a trial, in this process."""
    given = {"trials": options.repeats + 1, "epochs": options.epochs, "backend": options.backend}
    settings = StudySettings.from_options({name: value for name, value in given.items() if value is not None})
    select_backend(settings.backend)
    # Here, for it imports Keras.
    from tests.benchmarks.whole_study.within import measure

    yield from measure(settings, options.repeats)


def _rows(part: str, of: str, number: int, outcome: commands.Outcome) -> list[Row]:
    return [Row(part, of, outcome.backend, number, figure, value) for figure, value in outcome.figures.items()]


def main() -> None:
    """Measure part by part, and write what is measured by then."""
    parser = _parser()
    options = parser.parse_args()
    about = _about(parser, options)
    if options.parts is None:
        options.parts = [part for part in PARTS if part != "before" or options.before]
    if "before" in options.parts and options.before is None:
        parser.error("--parts before needs --before PATH")
    do = {"by-hand": against_by_hand, "before": against_before, "within": within_a_trial}
    commands.prepare(commands.ROOT)
    rows: list[Row] = []
    for part in options.parts:
        for row in do[part](options):
            print(*row, sep=" | ", flush=True)
            rows.append(row)
        _write(rows, about, options.output)
    print(options.output / "whole_study.md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="what is measured and written [default: all, `before` if it is given]"
    )
    parser.add_argument("--before", type=Path, help="a git worktree of an earlier commit")
    parser.add_argument(
        "--before-options", default="", help="of both studies of that part, as in --before-options=--smoke"
    )
    parser.add_argument("--backend", help="of our command [default: its own]; the loop by hand has KERAS_BACKEND")
    parser.add_argument("--rounds", type=int, default=1, help="of whole studies")
    parser.add_argument("--trials", type=int, default=15, help="of each arm, against the loop by hand")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=6, help="pairs of trials, of what a worker adds")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


def _about(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, str]:
    """What the page says of how and where all was measured."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    about = {
        "machine": f"{processor()}, {cores()} processors, {platform.system()}",
        "commit": commands.version(commands.ROOT),
        "versions": f"Python {platform.python_version()}, {versions}",
        "load": f"{os.getloadavg()[2]:.1f}",
        "command": f"python -m tests.benchmarks.whole_study {_command_line(parser, options)}".strip(),
        "budget": f"{options.trials} trials of each arm, {options.epochs} epochs",
        "before options": f" {options.before_options}".rstrip(),
    }
    return about if options.before is None else {**about, "before": commands.version(options.before)}


def _command_line(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The options that were given, without where things lie on this machine."""
    words = []
    for name, value in vars(options).items():
        if value != parser.get_default(name) and name != "output":
            values = ["EARLIER"] if name == "before" else value if isinstance(value, list) else [str(value)]
            words += [f"--{name.replace('_', '-')}", *values]
    return shlex.join(words)


def _write(rows: list[Row], about: dict[str, str], output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with (output / "whole_study.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(Row._fields)
        table.writerows((*row[:-1], f"{row.value:.6g}") for row in rows)
    (output / "whole_study.md").write_text(page(rows, about))
