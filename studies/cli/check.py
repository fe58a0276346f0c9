"""Whether a user's model does what every family must, on each backend that is installed."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.cli import completion
from studies.cli.terminal import open_console

if TYPE_CHECKING:
    from bench.checks.conformance import CheckResult


def _settings(value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{value!r} is not JSON ({error}): an object such as '{{\"width\": 8}}'") from error
    if not isinstance(parsed, dict):
        raise typer.BadParameter(f"{value!r} is not a JSON object such as '{{\"width\": 8}}'")
    return parsed


def command(
    file: Annotated[Path, typer.Argument(help="Python file that registers a model family.", show_default=False)],
    backend: Annotated[
        str | None,
        typer.Option(
            help="tensorflow or jax [default: each that is installed].",
            show_default=False,
            autocompletion=completion.backends,
        ),
    ] = None,
    settings: Annotated[
        str, typer.Option(help="Settings that differ from the configuration's defaults, a JSON object.")
    ] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Check a model of your own: probabilities, samples, gradients, training, saving, on every backend.

    The exit status is 1 if a check fails.
    """
    from dataclasses import asdict

    from bench.checks.conformance import Outcome, check_file
    from bench.runtime.backend import check_backend, installed_backends

    changes = _settings(settings)
    if backend is not None:
        check_backend(backend)
    results = [
        result
        for name in ([backend] if backend else installed_backends())
        for result in check_file(file, name, changes)
    ]
    failed = [result for result in results if result.outcome == Outcome.FAILED]
    if as_json:
        typer.echo(json.dumps({"passed": not failed, "checks": [asdict(result) for result in results]}, indent=2))
    else:
        _print(results)
    if failed:
        raise typer.Exit(1)


def _print(results: list[CheckResult]) -> None:
    from rich.table import Table
    from rich.text import Text

    from bench.checks.conformance import Outcome

    marks = {Outcome.PASSED: "green", Outcome.SKIPPED: "yellow", Outcome.FAILED: "bold red"}
    console = open_console()
    for name, group in groupby(results, key=lambda each: f"{each.family} on {each.backend}"):
        table = Table("", "", "", box=None, pad_edge=False, show_header=False)
        for column in table.columns[:2]:
            column.no_wrap = True
        for each in group:
            table.add_row(Text(each.check), Text(each.outcome, style=marks[each.outcome]), Text(each.detail))
        console.print(Text(name, style="bold"))
        console.print(table)
    counts = {outcome: sum(each.outcome == outcome for each in results) for outcome in Outcome}
    console.print("")
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n), highlight=False)
