"""``reparam-bench upload``: uploads what earlier commands logged without their tracking server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from studies.cli.options import Output, TrackingUri
from studies.cli.output import INCOMPLETE
from studies.cli.terminal import LogFile, command_log, open_console

if TYPE_CHECKING:
    from bench.tracking.tracker import Tracker


def command(
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    log_file: LogFile = None,
) -> None:
    """Upload what earlier commands logged while the tracking server could not be reached.

    A study that is continued does so itself. Where the output folder was moved, the addresses in MLflow's database
    become those of its new place, for MLflow's own commands. The exit status is 2 if the server cannot be reached, and
    3 if something is not uploaded since it is damaged, or rejected by the server.
    """
    from bench.checks.preflight import check_output
    from bench.tracking.location import is_moved
    from bench.tracking.tracker import Tracker

    # On a full disk too: what is uploaded makes room.
    check_output(output, least_free=0)
    outbox = output / "outbox"
    uri = tracking_uri or f"sqlite:///{output.resolve() / 'mlflow.db'}"
    with Tracker(uri, output / "artifacts", outbox) as tracker:
        if is_moved(uri):
            with command_log("upload", output, log_file, open_console()):
                tracker.open()
            typer.echo(f"{output} was moved: MLflow's addresses are those of its new place")
        waiting = tracker.waiting()
        for store, runs in tracker.waiting_elsewhere().items():
            typer.echo(f"{runs} runs wait for {store}: give it with --tracking-uri")
        if not waiting.runs and not tracker.refused:
            typer.echo(f"nothing waits in {outbox}")
            return
        with command_log("upload", output, log_file, open_console()):
            uploaded = tracker.upload_orphans()
        typer.echo(f"uploaded {uploaded} of {waiting.runs} runs, {waiting.records} records{_refused(tracker)}")
        if tracker.problems():
            raise typer.Exit(INCOMPLETE)


def _refused(tracker: Tracker) -> str:
    return f"; {len(tracker.refused)} refused" if tracker.refused else ""
