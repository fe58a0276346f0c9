"""``reparam-bench repeat``: trains a logged run again, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.options import DataOfRun, Extensions, Output, TrackingUri, load_extensions
from studies.cli.stores import find_tracking_store
from studies.cli.terminal import LogFile, Quiet, command_log, open_console

if TYPE_CHECKING:
    import pandas as pd


def command(
    run: Annotated[str, typer.Argument(help="A run's identifier in MLflow, or its first digits; see runs.csv.")],
    dataset: DataOfRun = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    extension: Extensions = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Train any logged run again from its configuration and seed, and compare each value of its learning curve.

    The exit status is 1 if one differs.
    """
    from bench.checks.preflight import check_output
    from bench.data.kept import find_kept
    from bench.data.registry import describe, load
    from bench.runtime.backend import check_backend, select_backend
    from bench.tracking.reading.model_runs import check_model_file, load_curve, load_run

    check_output(output)
    uri = find_tracking_store(tracking_uri, output)
    logged = load_run(uri, run)
    load_extensions(extension, logged.backend)
    name = find_kept(dataset or logged.dataset, output)
    describe(name, logged.preparation)
    check_backend(logged.backend)
    console = open_console(quiet)
    with command_log("repeat", output, log_file, console):
        if logged.keeps_model:
            check_model_file(uri, logged.run_id)
        curve = load_curve(uri, logged.run_id)
        select_backend(logged.backend)

        from bench.execution.progress import StudyProgress
        from bench.workflows.repeat import repeat

        data = load(name, logged.preparation)
        with StudyProgress(console, runs=1, unit=data.info.unit) as progress:
            progress.start_run(logged.name, logged.evaluations)
            compared = repeat(logged, curve, data, progress.show_evaluation)
            progress.finish_run()
    typer.echo(_format_comparison(compared))
    if (compared["difference"] != 0).any():
        raise typer.Exit(1)


def _format_comparison(compared: pd.DataFrame) -> str:
    """The result of the comparison, in a sentence."""
    values, evaluations = len(compared), compared["evaluation"].nunique()
    if (compared["difference"] == 0).all():
        return f"the same, bit by bit: {values} values of {evaluations} evaluations"
    differing = compared[compared["difference"] != 0]
    worst = differing.iloc[int(differing["difference"].abs().fillna(float("inf")).to_numpy().argmax())]
    return (
        f"not the same: from evaluation {differing['evaluation'].min()} on, at most {abs(worst['difference']):.3g} off "
        f"({worst['metric']} in evaluation {worst['evaluation']}: {worst['logged']:.6g} then, {worst['again']:.6g} now)"
    )
