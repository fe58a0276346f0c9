"""``reparam-bench worker``: a process that works on a study which another one runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.options import STORAGE_VARIABLE, TRACKING_VARIABLE, Output, Storage, TrackingUri
from studies.cli.terminal import LogFile, Quiet, command_log, open_console, start_afresh

if TYPE_CHECKING:
    from bench.study.definition import StudySettings


def command(
    study: Annotated[str, typer.Argument(help="The study's identifier, or how it alone begins.")],
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Work on a study that `reparam-bench study` runs elsewhere, against the same storage, until it is over."""
    from bench.core.errors import RestartRequiredError

    console = open_console(quiet)
    try:
        with command_log("worker", output, log_file, console):
            _work(study, storage, tracking_uri, output, quiet)
    except RestartRequiredError:
        start_afresh()
    except KeyboardInterrupt:
        typer.secho("stopped: what it was doing is queued again", err=True)
        raise typer.Exit(130) from None


def _work(study_id: str, storage: str | None, tracking_uri: str | None, output: Path, quiet: bool) -> None:
    from bench.core.signals import StopRequest
    from bench.execution.session import join_study, open_data

    with StopRequest() as stop:
        study = join_study(study_id, storage, tracking_uri, output)

        from bench.execution.progress import StudyProgress
        from bench.execution.worker import Worker
        from bench.tracking.writer import DRAIN_SECONDS

        settings = study.bound.settings
        runs = len(study.searches) * (settings.trials + settings.seeds)
        with StudyProgress(open_console(quiet), runs) as progress:
            try:
                worker = Worker(study, open_data(study.bound), progress, stop)
                stop.run_interruptible(worker.work_until_over)
            finally:
                if left := study.tracker.drain(DRAIN_SECONDS):
                    progress.say(f"{left} entries wait in {study.tracker.outbox}: `reparam-bench upload` uploads them")
                study.tracker.close()


def worker_command(study_id: str, output: Path) -> list[str]:
    """What starts a worker of this study on this machine; its addresses are handed over by the environment."""
    program = "from studies.cli.main import main; main()"
    return [sys.executable, "-c", program, "worker", study_id, "--output", str(output.resolve()), "--quiet"]


def worker_environment(settings: StudySettings) -> dict[str, str]:
    """The addresses of a study, for its workers: they may hold credentials, which command lines would show."""
    addresses = {STORAGE_VARIABLE: settings.storage, TRACKING_VARIABLE: settings.tracking_uri}
    return {name: address for name, address in addresses.items() if address is not None}
