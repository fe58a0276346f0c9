"""``reparam-bench compare``: compares two studies, or one study at two commits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli import completion
from studies.cli.options import Output, TrackingUri, TrackingUriAfter
from studies.cli.stores import find_study_id, find_tracking_store
from studies.cli.terminal import open_console

if TYPE_CHECKING:
    from reports.analysis.comparison import Comparison


def command(
    before: Annotated[
        str, typer.Argument(help="A study's identifier, or a prefix of it.", autocompletion=completion.study_ids)
    ],
    after: Annotated[str, typer.Argument(help="Another study's, likewise.", autocompletion=completion.study_ids)],
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    tracking_uri_after: TrackingUriAfter = None,
    output_after: Annotated[
        Path | None, typer.Option(help="Output folder of the second study [default: the same].", show_default=False)
    ] = None,
) -> None:
    """Compare two studies of the same data: did an arm get better, and is the change within noise?

    A study with the same settings at another commit has the same identifier: run it with another output folder, and
    give that by --output-after.
    """
    from bench.checks.preflight import check_output
    from bench.core.errors import SettingsError
    from bench.tracking.reading.reader import load_results
    from reports.analysis.comparison import compare
    from reports.analysis.results import Study
    from reports.pages.comparison import write_comparison

    first = find_tracking_store(tracking_uri, output)
    check_output(output)
    same = tracking_uri_after is None and output_after is None
    second = (
        first if same else find_tracking_store(tracking_uri_after, output if output_after is None else output_after)
    )
    ids = find_study_id(first, before), find_study_id(second, after)
    if first == second and ids[0] == ids[1]:
        raise SettingsError(f"{before!r} and {after!r} are the same study, {ids[0]}: give two, or --output-after")
    studies = [Study(load_results(uri, each)) for uri, each in zip((first, second), ids, strict=True)]
    comparison = compare(*studies)
    _print(comparison)
    typer.echo(write_comparison(comparison, output / "reports" / f"compare-{ids[0]}-{ids[1]}"))


def _print(comparison: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from reports.pages.comparison import changes

    console = open_console()
    for sentence in comparison.headlines:
        console.print(Text(sentence, style="bold"))
    for sentence in comparison.refused:
        console.print(Text(sentence))
    data = changes(comparison)
    table = Table(box=None, pad_edge=False)
    for column in data.columns[:6]:
        table.add_column(Text(column), overflow="fold")
    for row in data.rows:
        table.add_row(*(Text(cell.text) for cell in row[:6]))
    if data.rows:
        console.print(table)
