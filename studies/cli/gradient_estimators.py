"""``reparam-bench gradients``: compares gradient estimators on closed forms, in the VAE, and by training.

Pathwise (the reparameterisation trick), score-function with and without a baseline, sticking-the-landing and doubly
reparameterised gradients: their variance and signal-to-noise beside theory, and the learning curves of a VAE that is
trained with each.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.cli import completion
from studies.cli.options import (
    Grey,
    GreyLevels,
    Output,
    Resize,
    SampleRate,
    SoundEncoding,
    Speakers,
    Storage,
    TextUnit,
    TrackingUri,
    Window,
)
from studies.cli.terminal import LogFile, Quiet, command_log, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from bench.workflows.gradients.settings import GradientSettings

log = logging.getLogger(__name__)


def command(
    dataset: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion_mnist, cifar10, binarized_mnist, a .npz or .npy file, a folder of images, or "
            "text or sound as `study` takes it.",
            autocompletion=completion.datasets,
        ),
    ] = "digits",
    grey_levels: GreyLevels = None,
    resize: Resize = None,
    grey: Grey = False,
    window: Window = None,
    text_unit: TextUnit = None,
    sample_rate: SampleRate = None,
    sound_encoding: SoundEncoding = None,
    speakers: Speakers = False,
    images: Annotated[int, typer.Option(help="Training images that each VAE sees.")] = 30_000,
    batch_size: Annotated[int, typer.Option(help="Images per training step.")] = 64,
    seeds: Annotated[int, typer.Option(help="Training runs per estimator.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed from which all others derive.")] = 0,
    draws: Annotated[int, typer.Option(help="Draws of each closed form.")] = 65_536,
    gradient_draws: Annotated[int, typer.Option(help="Gradients of the trained VAE per estimator.")] = 256,
    backend: Annotated[str, typer.Option(help="tensorflow or jax.", autocompletion=completion.backends)] = "tensorflow",
    workers: Annotated[
        int | None, typer.Option(help="Processes that train at once [default: 1].", show_default=False)
    ] = None,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Do every step quickly, to test the set-up.")] = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Compare gradient estimators: variance, signal-to-noise and training, beside theory."""
    options = {key: value for key, value in locals().items() if key not in ("quiet", "log_file")}
    try:
        page = run(options, quiet, log_file)
    except KeyboardInterrupt:
        # Typer would end the command on Ctrl-C without a message.
        typer.secho("stopped: finished runs are kept; the same command continues", err=True)
        raise typer.Exit(130) from None
    typer.echo(page if quiet else f"report: {page}")


def run(options: dict[str, Any], quiet: bool = False, log_file: Path | None = None) -> Path:
    """Run the study with these option values, and write its report.

    Args:
        options: option values by name.
        quiet: whether to print nothing.
        log_file: where to log; None for a new file in the output folder.

    Returns:
        The path of the report's page.

    Raises:
        SettingsError: an option is out of range.
        DataError: the data cannot be read.
        TrackingError: a store cannot be reached.
    """
    from bench.checks.preflight import check_output, check_stores
    from bench.data.registry import describe
    from bench.runtime.backend import check_backend
    from bench.workflows.gradients.settings import GradientSettings

    settings = GradientSettings.from_options(options)
    describe(settings.dataset, settings.preparation)
    check_backend(settings.backend)
    check_output(settings.output)
    check_stores(settings.tracking, settings.storage_url, settings.output)
    console = open_console(quiet)
    with command_log("gradients", settings.output, log_file, console):
        return _run(settings, console)


def _run(settings: GradientSettings, console: Console) -> Path:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from bench.runtime.backend import select_backend

    select_backend(settings.backend)

    from bench.execution.removal import REPORT_FOLDERS, check_folder
    from bench.workflows.gradients.study import count_steps, run_gradient_study
    from bench.workflows.run import keep_report
    from reports.pages.gradients import write_report

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    live = console.is_terminal and not console.quiet
    # The speed over all steps so far, as a step may take minutes.
    progress = Progress(*columns, console=console, disable=not live, speed_estimate_period=math.inf)
    task = progress.add_task("starting", total=count_steps(settings), completed=-1)

    def on_step(step: str) -> None:
        # Until the first step begins, training shows its own bars.
        progress.start()
        log.info("%s", step)
        progress.update(task, advance=1, description=step)
        if not live:
            console.print(step, highlight=False, markup=False)

    try:
        results = run_gradient_study(settings, console, on_step)
        progress.update(task, advance=1, description="done")
    finally:
        progress.stop()
    folder = settings.output / "reports" / f"{results.study_id}-gradients"
    check_folder(folder, *REPORT_FOLDERS)
    page = write_report(results, folder)
    keep_report(settings.tracking, results.study_id, page.parent, "gradients")
    return page
