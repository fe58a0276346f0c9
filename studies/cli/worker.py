"""``reparam-bench worker``: a worker process of a study that another process runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.options import Extensions, Output, Storage, TrackingUri
from studies.cli.terminal import LogFile, Quiet, command_log, open_console, restart


def command(
    study: Annotated[str, typer.Argument(help="The study's identifier, or a unique prefix of it.")],
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    extension: Extensions = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Work on a study that `reparam-bench study` runs elsewhere with the same storage, until it ends."""
    from bench.core.errors import RestartRequiredError

    console = open_console(quiet)
    try:
        with command_log("worker", output, log_file, console):
            _work(study, storage, tracking_uri, output, extension, quiet)
    except RestartRequiredError:
        restart()
    except KeyboardInterrupt:
        typer.secho("stopped: its trial is queued again", err=True)
        raise typer.Exit(130) from None


def _work(
    study_id: str,
    storage: str | None,
    tracking_uri: str | None,
    output: Path,
    extension: list[Path] | None,
    quiet: bool,
) -> None:
    from bench.core.signals import StopRequest
    from bench.execution.session import join_session, open_data

    with StopRequest() as stop:
        study = join_session(study_id, storage, tracking_uri, output, extension or [])

        from bench.execution.progress import StudyProgress
        from bench.execution.worker import Worker
        from bench.tracking.tracker import DRAIN_SECONDS

        with StudyProgress(open_console(quiet), study.bound.runs, unit=study.bound.info.unit) as progress:
            try:
                worker = Worker(study, open_data(study.bound), progress, stop)
                stop.run_interruptible(worker.work_until_over)
            finally:
                if left := study.tracker.drain(DRAIN_SECONDS):
                    progress.say(f"{left} records wait in {study.tracker.outbox}: `reparam-bench upload` uploads them")
                study.tracker.close()
