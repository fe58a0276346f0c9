"""``reparam-bench compare``: two studies, one at two commits, or several of other data sets or training images."""

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
    from reports.analysis.results import Study


MOST_OF_NAME = 240
"""Characters of two studies' identifiers up to which they name the folder of their page."""


def command(
    before: Annotated[
        str, typer.Argument(help="A study's identifier, or a prefix of it.", autocompletion=completion.study_ids)
    ],
    after: Annotated[str, typer.Argument(help="Another study's, likewise.", autocompletion=completion.study_ids)],
    more: Annotated[
        list[str] | None,
        typer.Argument(
            help="Further studies, each of another data set, or of another number of training images.",
            show_default=False,
            autocompletion=completion.study_ids,
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    tracking_uri_after: TrackingUriAfter = None,
    output_after: Annotated[
        Path | None, typer.Option(help="Output folder of the second study [default: the same].", show_default=False)
    ] = None,
    equivalence: Equivalence = None,
) -> None:
    """Compare two studies of the same data: did an arm get better, and is the change within noise?

    Studies of two data sets or more, one each, are compared over them: which arm, by its name, is the better one on
    all? Their ranks on each data set are tested where there are three or more. Studies of one data set that differ in
    the number of their training images are compared over it.

    A study with the same settings at another commit has the same identifier: run it with another output folder, and
    give that by --output-after. The exit status is 3 if the studies have nothing that can be compared.
    """
    from bench.checks.preflight import check_output
    from bench.core.errors import SettingsError
    from bench.tracking.reading.reader import load_results
    from bench.workflows.run import check_equivalence, with_equivalence
    from reports.analysis.results import Study

    check_equivalence(equivalence)
    first = find_tracking_store(tracking_uri, output)
    check_output(output)
    same = tracking_uri_after is None and output_after is None
    if more and not same:
        raise SettingsError(
            f"--output-after and --tracking-uri-after say where the second of two studies is, and {2 + len(more)} are "
            "given: give two"
        )
    second = (
        first if same else find_tracking_store(tracking_uri_after, output if output_after is None else output_after)
    )
    names = [before, after, *(more or [])]
    places = [
        (uri, find_study_id(uri, name)) for uri, name in zip([first, *[second] * (len(names) - 1)], names, strict=True)
    ]
    for number, place in enumerate(places):
        if (earlier := places.index(place)) < number:
            raise SettingsError(
                f"{names[earlier]!r} and {names[number]!r} are the same study, {place[1]}: give two, or --output-after"
            )
    studies = [Study(with_equivalence(load_results(*place), equivalence)) for place in places]
    digests = {study.results.dataset.get("digest") for study in studies}
    if more or (len(digests) == 2 and None not in digests):
        _compare_several(studies, output)
    else:
        _compare_two(studies[0], studies[1], output)


def _compare_several(studies: list[Study], output: Path) -> None:
    from studies.cli.data_sets import compare_several

    reason, page = compare_several(studies, output, open_console())
    typer.echo(page)
    if reason:
        typer.echo(f"warning: nothing can be compared: {reason}", err=True)
        raise typer.Exit(INCOMPLETE)


def _compare_two(before: Study, after: Study, output: Path) -> None:
    from bench.core.digests import json_digest
    from bench.execution.removal import REPORT_FOLDERS, check_folder
    from reports.analysis.comparison import compare
    from reports.pages.comparison import write_comparison

    name = f"{before.results.study_id}-{after.results.study_id}"
    # File systems take names of 255 bytes.
    folder = output / "reports" / f"compare-{name if len(name) < MOST_OF_NAME else json_digest(name)[:16]}"
    check_folder(folder, *REPORT_FOLDERS)
    comparison = compare(before, after)
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
    from reports.units import in_unit_of

    console, dataset = open_console(), comparison.before.results.dataset
    for sentence in in_unit_of(dataset, comparison.headlines):
        console.print(Text(sentence, style="bold"))
    if comparison.changes:
        for sentence in comparison.refused:
            console.print(Text(sentence))
    data = in_unit_of(dataset, changes(comparison))
    by_arm: dict[str, list[list[str]]] = {}
    for change, cells in zip(comparison.changes, data.rows, strict=True):
        label, unit = change.about.label, in_unit_of(dataset, change.about.unit)
        values = [cell.text.removesuffix(f"{NO_BREAK}{unit}") for cell in cells[1:6]]
        notes = [note for note in cells[0].notes if note.lower() != label.lower()]
        by_arm.setdefault(change.arm, []).append([", ".join([label, *notes]), *values])
    for arm, rows in by_arm.items():
        console.print("")
        console.print(Text(arm, style="bold"))
        print_table(console, ["metric", *(column.lower() for column in data.columns[1:6])], rows)
