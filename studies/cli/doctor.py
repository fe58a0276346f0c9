"""``reparam-bench doctor``: what this machine has and lacks, with the command that fixes it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.options import Output, Storage, TrackingUri
from studies.cli.terminal import open_console

if TYPE_CHECKING:
    from bench.checks.doctor import Finding


def command(
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    output: Output = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show what this machine has: packages, backends, devices, energy counters, data sets, memory, disk, servers.

    The exit status is 1 if something is missing that the default study needs.
    """
    from bench.checks.doctor import Status, Stores, examine

    findings = examine(Stores(output, tracking_uri, storage))
    broken = [finding for finding in findings if finding.status == Status.BROKEN]
    if as_json:
        typer.echo(json.dumps({"ready": not broken, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(findings)
    if broken:
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from bench.checks.doctor import Status

    marks = {Status.GOOD: "green", Status.MISSING: "yellow", Status.BROKEN: "bold red"}
    table = Table("", "", "", "", box=None, pad_edge=False, show_header=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    group = ""
    for each in findings:
        shown = each.group if each.group != group else ""
        group = each.group
        table.add_row(shown, Text(each.name), Text(each.status, style=marks[each.status]), Text(each.detail))
    console = open_console()
    console.print(table)
    lines = [f"{each.name}: {each.remedy}" for each in findings if each.status != Status.GOOD]
    broken = sum(each.status == Status.BROKEN for each in findings)
    ready = "ready for the default study" if not broken else f"not ready for the default study: {broken} checks failed"
    for line in ("", *lines, "", ready):
        console.print(line, highlight=False, markup=False)
