"""Why reparameterise? Gradient estimators on closed forms, in the VAE itself, and by what each does to training.

Pathwise (the reparameterisation trick), score-function with and without a baseline, sticking-the-landing and doubly
reparameterised gradients: their variance and signal-to-noise beside what theory says of them, and the learning curves
of a VAE that is trained with each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    dataset: Annotated[
        str,
        typer.Option(help="digits, mnist, fashion_mnist, cifar10, binarized_mnist, an .npz file, a folder of images."),
    ] = "digits",
    grey_levels: Annotated[
        int | None, typer.Option(help="Values a pixel can take [default: told by the data].", show_default=False)
    ] = None,
    images: Annotated[int, typer.Option(help="Training images that each VAE sees.")] = 30_000,
    batch_size: Annotated[int, typer.Option(help="Images per training step.")] = 64,
    seeds: Annotated[int, typer.Option(help="Training runs per estimator.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed from which all others derive.")] = 0,
    draws: Annotated[int, typer.Option(help="Draws of each closed form.")] = 65_536,
    gradient_draws: Annotated[int, typer.Option(help="Gradients of the trained VAE per estimator.")] = 256,
    backend: Annotated[str, typer.Option(help="tensorflow or jax.")] = "tensorflow",
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow tracking URI [default: SQLite in the output folder].", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for databases, artifacts and reports.")] = Path("runs"),
    smoke: Annotated[bool, typer.Option("--smoke", help="All as small as can be: a test of the set-up.")] = False,
) -> None:
    """Compare gradient estimators: variance, signal-to-noise and training, beside what theory says."""
    try:
        run(dict(locals()))
    except KeyboardInterrupt:
        # Told here, for Typer ends the command on Ctrl-C without a word.
        typer.secho("stopped: what is finished is kept in MLflow", err=True)
        raise typer.Exit(130) from None


def run(options: dict[str, Any]) -> Path:
    """Run the study with these option values, and write its report.

    Returns:
        The path of the report's page.

    Raises:
        SettingsError: an option is out of range.
        DataError: the data cannot be read.
        TrackingError: the tracking store cannot be reached.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.backend import select_backend
    from bench.data.registry import load
    from bench.gradients.settings import QUESTION, GradientSettings

    settings = GradientSettings.checked(options)
    select_backend(settings.backend)
    data = load(settings.dataset, settings.grey_levels).tuning

    from bench.gradients.study import GradientStudy, count_steps
    from reports.gradients import write_report

    console = Console(soft_wrap=True)
    console.print(QUESTION, style="bold", highlight=False, markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=count_steps(settings), completed=-1)

        def on_step(step: str) -> None:
            progress.update(task, advance=1, description=step)
            if not console.is_terminal:
                console.print(step, highlight=False, markup=False)

        study = GradientStudy(settings, data, on_step)
        results = study.run()
        progress.update(task, advance=1, description="done")
    page = write_report(results, settings.output / "reports" / study.study_id)
    study.parent.log_report(page.parent)
    console.print(f"report: {page}", highlight=False, markup=False)
    return page


def main() -> None:
    """Run the script; errors that a user can mend are shown as one line."""
    from bench.errors import ReparamBenchError

    try:
        typer.run(command)
    except ReparamBenchError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
