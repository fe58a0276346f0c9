"""``reparam-bench compare``: compares two studies, or one study at two commits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli import completion
from studies.cli.options import Equivalence, Output, TrackingUri, TrackingUriAfter
from studies.cli.output import INCOMPLETE
from studies.cli.stores import find_study_id, find_tracking_store
from studies.cli.terminal import open_console, print_table

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
    equivalence: Equivalence = None,
) -> None:
    """Compare two studies of the same data: did an arm get better, and is the change within noise?

    A study with the same settings at another commit has the same identifier: run it with another output folder, and
    give that by --output-after. The exit status is 3 if the studies have nothing that can be compared.
    """
    from bench.checks.preflight import check_output
    from bench.core.errors import SettingsError
    from bench.execution.removal import REPORT_FOLDERS, check_folder
    from bench.tracking.reading.reader import load_results
    from bench.workflows.run import check_equivalence, with_equivalence
    from reports.analysis.comparison import compare
    from reports.analysis.results import Study
    from reports.pages.comparison import write_comparison

    check_equivalence(equivalence)
    first = find_tracking_store(tracking_uri, output)
    check_output(output)
    same = tracking_uri_after is None and output_after is None
    second = (
        first if same else find_tracking_store(tracking_uri_after, output if output_after is None else output_after)
    )
    ids = find_study_id(first, before), find_study_id(second, after)
    if first == second and ids[0] == ids[1]:
        raise SettingsError(f"{before!r} and {after!r} are the same study, {ids[0]}: give two, or --output-after")
    folder = output / "reports" / f"compare-{ids[0]}-{ids[1]}"
    check_folder(folder, *REPORT_FOLDERS)
    loaded = [load_results(uri, each) for uri, each in zip((first, second), ids, strict=True)]
    studies = [Study(with_equivalence(each, equivalence)) for each in loaded]
    comparison = compare(*studies)
    _print(comparison)
    typer.echo(write_comparison(comparison, folder))
    if not comparison.changes:
        typer.echo(f"warning: nothing can be compared: {' '.join(comparison.refused)}", err=True)
        raise typer.Exit(INCOMPLETE)


def _print(comparison: Comparison) -> None:
    """Print what changed, by arm, each number with the unit that stands behind the metric's name."""
    from rich.text import Text

    from reports.formatting import NO_BREAK
    from reports.pages.comparison import changes

    console = open_console()
    for sentence in comparison.headlines:
        console.print(Text(sentence, style="bold"))
    if comparison.changes:
        for sentence in comparison.refused:
            console.print(Text(sentence))
    data = changes(comparison)
    by_arm: dict[str, list[list[str]]] = {}
    for change, cells in zip(comparison.changes, data.rows, strict=True):
        label, unit = change.about.label, change.about.unit
        values = [cell.text.removesuffix(f"{NO_BREAK}{unit}") for cell in cells[1:6]]
        notes = [note for note in cells[0].notes if note.lower() != label.lower()]
        by_arm.setdefault(change.arm, []).append([", ".join([label, *notes]), *values])
    for arm, rows in by_arm.items():
        console.print("")
        console.print(Text(arm, style="bold"))
        print_table(console, ["metric", *(column.lower() for column in data.columns[1:6])], rows)
