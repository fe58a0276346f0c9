"""What the command line prints of a study before it runs (``--dry-run``) and after."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.core.counted import counted
from bench.core.errors import SettingsError, TrackingError
from bench.core.metrics import METRICS, SMALLEST_SET
from bench.core.redaction import redact
from bench.core.results import Measurement
from bench.data.dataset import DatasetInfo
from bench.data.named_sequences import SEQUENCES
from bench.data.registry import BUILT_IN
from bench.study.budget import TimePlan, images_of_runs, plan_time
from bench.study.definition import CONVERGENT_EPOCHS, BoundStudy
from bench.study.duration import format_duration
from bench.study.plan import (
    ArmPlan,
    at_convergent_budget,
    expected_memory,
    plan,
    plan_reference,
    too_long_warmups,
    total_seconds,
)
from bench.study.reference_model import too_large
from models.base.registry import registered
from studies.cli.terminal import print_table

CLASSES_SHOWN = 8
"""Largest number of classes that are named."""
_OWN_DATA = {"image": "your.npz", "text": "your.txt", "audio": "your/recordings"}

if TYPE_CHECKING:
    from bench.evaluation.metrics import Evaluation
    from bench.study.definition import StudySettings
    from bench.workflows.run import StudyOutcome


def print_plan(bound: BoundStudy, console: Console) -> None:
    """Print the search space, the number of parameters and an estimate of the time."""
    bound, timed, by_budget = _with_estimated_budget(bound)
    study, settings = bound.study, bound.settings

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    line(f"{study.name}: {study.question}")
    for text in _data(bound):
        line(text)
    seeds = counted(settings.seeds, "seed")
    if any(arm.sweep for arm in study.arms):
        most = "" if settings.time is None else "up to "
        runs = f"{most}{counted(settings.trials, 'trial')} an arm ({bound.sampler}), then {seeds} of the best"
    else:
        runs = f"{seeds} of each arm, as nothing is swept"
    line(f"plan      {runs}; backend {settings.backend}")
    line(f"storage   {redact(settings.storage_url)}")
    line(f"tracking  {redact(settings.tracking)}")
    plans = plan(bound)
    if timed is not None:
        plans = [replace(each, times=timed.times[each.arm.name]) for each in plans]
    width = max(9, *(len(each.arm.name) for each in plans))
    for each in plans:
        label = f"{each.arm.name:{width}s}"
        for name, parameter in each.arm.sweep.items():
            line(f"{label} {name}: {parameter}")
            label = " " * width
        trial = f"{format_duration(each.trial_seconds)} a trial, " if each.arm.sweep else ""
        images = f"{each.images:,} images a run" if timed is None else timed.images_in_words(each.arm.name)
        line(
            f"{label} {_sizes(each)}; {images}, {counted(each.evaluations, 'evaluation')}; "
            f"{trial}{format_duration(each.final_seconds)} a final run"
        )
    if reference := plan_reference(bound):
        line(
            f"reference {registered(reference.arm.family).title} of {_sizes(reference)}, no arm; {reference.images:,} "
            f"images, {format_duration(reference.final_seconds)} (--no-reference-model leaves it out)"
        )
    elif reason := too_large(bound):
        line(f"reference model, no arm: {reason}")
    if settings.time is None:
        line(
            f"estimate  {format_duration(total_seconds(bound, plans))} in all on this processor, within a factor of "
            "about three (the middle of each range)"
        )
    if settings.promote:
        line(f"promoted  {', '.join(settings.promote)}, to the whole budget: the run checks them (not in the estimate)")
    for text in by_budget:
        line(f"time      {text}")
    budget_is_known = bound.images or settings.time is settings.joules is settings.seconds is None
    for text in too_long_warmups(bound) if budget_is_known else []:
        line(f"warm-up   {text}")
    memory = expected_memory(bound, plans)
    once = " once for all" if settings.workers not in (None, 1) else ""
    line(
        f"memory    {memory.process / 2**30:.1f} GiB a process, within a factor of about 1.5; the images take "
        f"{_bytes(memory.images)} of it{once}"
    )
    longer = at_convergent_budget(bound)
    if longer.images <= max(each.images * each.times.longer for each in plans):
        line("Nothing was run.")
        return
    seconds = total_seconds(longer.bound, longer.plans)
    line(
        f"converge  both families had converged on the digits by --epochs {CONVERGENT_EPOCHS}; here that is "
        f"{longer.images:,} images a run, {format_duration(seconds)} in all. The report says of each run whether it "
        "had converged. Nothing was run."
    )


def _with_estimated_budget(bound: BoundStudy) -> tuple[BoundStudy, TimePlan | None, list[str]]:
    """The study with the images to which its budget leads by estimated speeds, and what a reader must know of that.

    In between, how its time is spent, if it has one.
    """
    settings = bound.settings
    if settings.joules is not None:
        return bound, None, [f"joules={settings.joules:g} are turned into images once the arms' energy is measured"]
    if settings.seconds is not None:
        measures = f"a study begins by measuring its arms' speeds, and turns {settings.seconds:g} s into images by them"
        try:
            return replace(bound, images=images_of_runs(bound)), None, [measures]
        except SettingsError as error:
            return bound, None, [f"by this estimate, {error}", measures]
    if settings.time is None:
        return replace(bound, images=images_of_runs(bound)), None, []
    begins = f"a study begins by measuring its arms' speeds, and divides its {format_duration(settings.time)} by them"
    try:
        planned = plan_time(bound)
    except SettingsError as error:
        return bound, None, [f"by this estimate, {error}", begins]
    return replace(bound, images=planned.images), planned, [*planned.sentences(), begins]


def print_sum(planned: Sequence[BoundStudy], console: Console) -> None:
    """Print what a study on several data sets, or of several numbers of training images, takes in all."""
    planned = [_with_estimated_budget(bound)[0] for bound in planned]
    runs = sum(bound.runs + (plan_reference(bound) is not None) for bound in planned)
    times = [bound.settings.time for bound in planned if bound.settings.time is not None]
    estimate = (
        f"{format_duration(sum(total_seconds(bound, plan(bound)) for bound in planned))} on this processor, within"
    )
    takes = format_duration(sum(times)) if times else f"{estimate} a factor of about three"
    of_one = len({bound.settings.dataset for bound in planned}) == 1
    kind = "numbers of training images" if of_one else "data sets"
    console.print(
        f"in all    {len(planned)} {kind}, one after the other, and a comparison over them: {runs:,} runs, {takes}",
        highlight=False,
        markup=False,
    )


def _data(bound: BoundStudy) -> Iterator[str]:
    """What was found in the data: images, splits, labels, and what they are too few for."""
    info, settings = bound.info, bound.settings
    channels = info.image_shape[2]
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    form = f"{info.form}, {colour}" if info.kind == "image" else info.form
    sizes = ", ".join(f"{n:,} {split}" for split, n in info.sizes.items())
    missing = "" if "train" in info.split_off else f"{' and '.join(info.split_off)} "
    # The source of text and sound says how they are split.
    split_off = f", {missing}split off by a fixed permutation" if info.split_off and info.kind == "image" else ""
    yield f"data      {info.name}: {form}; {sizes}{split_off}"
    yield f"source    {info.source}"
    if info.classes:
        shown = ", ".join(info.class_names[:CLASSES_SHOWN])
        more = f" and {len(info.class_names) - CLASSES_SHOWN} more" if len(info.class_names) > CLASSES_SHOWN else ""
        classes = "1 class" if info.classes == 1 else f"{info.classes} classes"
        yield f"labels    {classes}{': ' * bool(shown)}{shown}{more}"
    elif info.kind != "text":
        ways = "a sub-folder for each class" + ", or y_train," * (info.kind == "image")
        yield f"labels    none ({ways} would give them)"
    if info.kind == "text":
        yield f"alphabet  {_alphabet(info)}"
    few = min(info.sizes["train"], info.sizes["test"], settings.evaluation_images or info.sizes["test"])
    if not info.has_features and info.kind != "text":
        yield "quality   of samples is not measured: recordings without classes have no network that could judge them"
    elif few < SMALLEST_SET:
        yield f"quality   of samples is not measured: it needs {SMALLEST_SET} training and test {info.noun}, not {few}"
    elif info.kind == "text":
        yield "quality   of samples is measured by their trigrams, and by their runs of 20 symbols that are copies"
    elif settings.extractor == "classifier":
        why = "all have the same label" if info.classes else "there are no labels"
        task = "classes" if info.classes > 1 else f"four orientations, as {why}"
        yield f"quality   of samples is measured by a network that learns the {task}"


def _alphabet(info: DatasetInfo) -> str:
    """The symbols of a text, those that end lines or cannot be seen as Python writes them."""
    if not info.symbols:
        return "the 256 values of a byte"
    return "".join(symbol if symbol.isprintable() else repr(symbol)[1:-1] for symbol in info.symbols)


def _bytes(count: float) -> str:
    power = min(3, max(1, int(math.log2(max(count, 1)) / 10)))
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _sizes(arm: ArmPlan) -> str:
    if arm.smallest is None or arm.largest is None:
        return "an unknown number of parameters (its family states no size)"
    ends = dict.fromkeys(f"{size.parameters:,}" for size in (arm.smallest, arm.largest))
    return f"{' to '.join(ends)} parameters"


def print_evaluation(evaluation: Evaluation, info: DatasetInfo, console: Console) -> None:
    """Print every measurement of a run on this data with its errors, and why others are missing."""
    groups: dict[str, list[Measurement]] = {}
    for row in evaluation.measurements:
        stated = str(row.bound) if row.bound else ""
        groups.setdefault(": ".join(filter(None, (row.split, row.conditions or stated))), []).append(row)
    for title, rows in groups.items():
        cells = [
            [
                METRICS[row.metric].label,
                f"{row.value:.6g}",
                *("" if error is None else f"{error:.2g}" for error in (row.standard_error, row.monte_carlo_error)),
                METRICS[row.metric].unit_on(info.unit),
                "" if row.n is None else str(row.n),
            ]
            for row in rows
        ]
        console.print(title, style="bold", highlight=False, markup=False)
        print_table(console, ["metric", "value", "± images", "± Monte Carlo", "unit", "n"], cells)
        console.print()
    if "bidirectional" in evaluation.tables:
        console.print("bounds on simulated images, nats:", highlight=False)
        console.print(evaluation.tables["bidirectional"].to_string(index=False), highlight=False, markup=False)
    for metric, reason in evaluation.unavailable.items():
        console.print(f"{metric}: not measured, {reason}", highlight=False, markup=False)


def print_next_steps(name: str, settings: StudySettings, outcome: StudyOutcome, console: Console) -> None:
    """Print :func:`next_steps`, none broken into lines: commands are copied from there."""
    for line in next_steps(name, settings, outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def next_steps(name: str, settings: StudySettings, outcome: StudyOutcome) -> Iterator[str]:
    """The answer, the paths of report and log, how to open the MLflow UI, and what to run next."""
    yield ""
    yield f"answer    {outcome.headline}"
    yield f"report    {outcome.page.resolve()}"
    if settings.tracking_uri is None:
        folder = "" if settings.output == Path("runs") else f" --output {shlex.quote(str(settings.output))}"
        yield f"MLflow    {_found(f'reparam-bench ui{folder}', 'reparam-bench')}"
    else:
        yield f"MLflow    {redact(settings.tracking_uri)}"
    yield from _serving(settings.tracking, outcome)
    yield f"log       {outcome.log}"
    if settings.smoke:
        yield "next      the same command without --smoke is the study"
    elif settings.time is not None:
        yield f"next      the same command with --time {2 * settings.time:.0f}s continues the trials and final runs"
    elif (outcome.results.runs["role"] == "search").any():
        yield f"next      the same command with --trials {settings.trials * 2} continues the search"
    else:
        yield f"next      the same command with --seeds {settings.seeds * 2} adds final runs, as nothing is swept"
    if settings.dataset in BUILT_IN:
        own = _OWN_DATA[SEQUENCES[settings.dataset].kind if settings.dataset in SEQUENCES else "image"]
        command = f"reparam-bench study {shlex.quote(name)} --dataset path/to/{own} --dry-run"
        yield f"your data {_found(command, 'reparam-bench')}"


def _serving(tracking: str, outcome: StudyOutcome) -> Iterator[str]:
    """The commands that serve the best arm's model, and that ask it for samples, where a model is registered."""
    from bench.tracking.registry import is_registered, model_name, sample_request, serve_command

    names = [model_name(outcome.study_id, arm) for arm in outcome.ranking]
    try:
        best = next((name for name in names if is_registered(tracking, name)), None)
    except TrackingError as error:
        yield f"serve     not known: {error}"
        return
    if best is not None:
        yield f"serve     {_found(serve_command(tracking, best), 'mlflow')}"
        yield f"ask it    {sample_request()}"


def _found(command: str, program: str) -> str:
    """The command, with this environment on the path of programs where it is not active."""
    programs = Path(sys.executable).parent
    active = Path(shutil.which(program) or "").parent == programs
    return command if active else f"PATH={shlex.quote(str(programs))}:$PATH {command}"
