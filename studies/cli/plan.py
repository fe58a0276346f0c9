"""What the command line prints of a study before it runs (``--dry-run``) and after."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.core.metrics import METRICS
from bench.core.redaction import redact
from bench.core.results import Measurement
from bench.study.definition import CONVERGENT_EPOCHS, BoundStudy
from bench.study.plan import ArmPlan, at_convergent_budget, plan, total_seconds

if TYPE_CHECKING:
    from bench.evaluation.metrics import Evaluation
    from bench.study.definition import StudySettings
    from bench.workflows.run import StudyOutcome


def print_plan(bound: BoundStudy, console: Console) -> None:
    """Print the search space, the number of parameters and an estimate of the time."""
    study, settings, info = bound.study, bound.settings, bound.info
    height, width, channels = info.image_shape
    sizes = ", ".join(f"{n:,} {split}" for split, n in info.sizes.items())

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    line(f"{study.name}: {study.question}")
    line(f"data      {info.name}: {height}x{width}x{channels}, {info.grey_levels} grey levels; {sizes}")
    line(
        f"plan      {settings.trials} trials an arm ({bound.sampler}), then {settings.seeds} seeds of the best; "
        f"backend {settings.backend}"
    )
    line(f"storage   {redact(settings.storage_url)}")
    line(f"tracking  {redact(settings.tracking)}")
    plans = plan(bound)
    width = max(9, *(len(each.arm.name) for each in plans))
    for each in plans:
        label = f"{each.arm.name:{width}s}"
        for name, parameter in each.arm.sweep.items():
            line(f"{label} {name}: {parameter}")
            label = " " * width
        line(
            f"{label} {_sizes(each)}; {each.images:,} images a trial, {each.evaluations} evaluations; "
            f"{_duration(each.trial_seconds)} a trial, "
            f"{_duration(each.final_seconds)} a final run"
        )
    line(
        f"estimate  {_duration(total_seconds(bound, plans))} in all on this processor, within a factor of about three "
        "(the middle of each range, none stopped early)"
    )
    longer = at_convergent_budget(bound)
    if longer.images <= max(each.images for each in plans):
        line("Nothing was run.")
        return
    line(
        f"converge  both families had converged on the digits by --epochs {CONVERGENT_EPOCHS}; here that is "
        f"{longer.images:,} images a trial, {_duration(total_seconds(longer.bound, longer.plans))} in all. The report "
        "says of each run whether it had converged. Nothing was run."
    )


def _sizes(arm: ArmPlan) -> str:
    if arm.smallest is None or arm.largest is None:
        return "an unknown number of parameters (its family states no size)"
    ends = dict.fromkeys(f"{size.parameters:,}" for size in (arm.smallest, arm.largest))
    return f"{' to '.join(ends)} parameters"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print every measurement of a run with its errors, and why others are missing."""
    groups: dict[str, list[Measurement]] = {}
    for row in evaluation.measurements:
        stated = str(row.bound) if row.bound else ""
        groups.setdefault(": ".join(filter(None, (row.split, row.conditions or stated))), []).append(row)
    for title, rows in groups.items():
        table = Table("metric", "value", "± images", "± Monte Carlo", "unit", "n", box=None, pad_edge=False)
        for row in rows:
            known = METRICS[row.metric]
            errors = (row.standard_error, row.monte_carlo_error)
            table.add_row(
                known.label,
                f"{row.value:.6g}",
                *("" if error is None else f"{error:.2g}" for error in errors),
                known.unit,
                "" if row.n is None else str(row.n),
            )
        console.print(title, style="bold", highlight=False, markup=False)
        console.print(table, highlight=False)
        console.print()
    if "bidirectional" in evaluation.tables:
        console.print("bounds on simulated images, nats:", highlight=False)
        console.print(evaluation.tables["bidirectional"].to_string(index=False), highlight=False, markup=False)
    for metric, reason in evaluation.unavailable.items():
        console.print(f"{metric}: not measured, {reason}", highlight=False, markup=False)


def next_steps(name: str, settings: StudySettings, outcome: StudyOutcome) -> Iterator[str]:
    """The answer, the paths of report and log, how to open the MLflow UI, and what to run next."""
    yield ""
    yield f"answer    {outcome.headline}"
    yield f"report    {outcome.page.resolve()}"
    if settings.tracking_uri is None:
        default = settings.output == Path("runs")
        ui = "make ui" if default else f"reparam-bench ui --output {shlex.quote(str(settings.output))}"
        yield f"MLflow    {ui}, then http://127.0.0.1:5000"
    else:
        yield f"MLflow    {redact(settings.tracking_uri)}"
    yield f"log       {outcome.log}"
    yield (
        f"next      reparam-bench study {name} --dataset path/to/your.npz --dry-run   (your own data), or "
        f"the same command with --trials {settings.trials * 2} to continue the search"
    )
