"""The ``reparam-bench`` command. Each subcommand imports what it needs when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli import (
    check,
    compare,
    completion,
    delete,
    doctor,
    gradient_estimators,
    repeat,
    settings,
    storage_server,
    ui,
    upload,
    worker,
)
from studies.cli.data_sets import SeveralWords, check_each, compare_several, run_each, varied
from studies.cli.names import STUDIES
from studies.cli.options import (
    DataOfRun,
    Equivalence,
    Extensions,
    ExtractorName,
    Grey,
    GreyLevels,
    Output,
    OutsideDataset,
    Resize,
    SampleRate,
    SoundEncoding,
    Speakers,
    Storage,
    TextUnit,
    TrackingUri,
    Window,
    load_extensions,
)
from studies.cli.output import lasting_output
from studies.cli.stores import choose_studies, find_tracking_store
from studies.cli.terminal import LogFile, Quiet, command_log, open_console, restart, run_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from bench.study.definition import Study, StudySettings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Rich's own markup would take "[default: all]" for a style, and drop it.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="VAE or Glow? Sweep likelihood models on your data and hardware, and read the answer in bits/dim.",
)


def main() -> None:
    """Run the command line; an error is printed as one line, and output that cannot be written is dropped."""
    with lasting_output():
        run_program(app, "reparam-bench")
    raise SystemExit(0)


WHOLE = "N"
"""In place of ``<int range>``: the range stands behind it, and the narrower column leaves room for the help."""
_NO_SETTINGS = ("name", "dataset", "train_sizes", "no_reference_model", "dry_run", "extension", "quiet", "log_file")
"""Options of ``study`` that are not settings of a study."""


def run_script(path: str) -> None:
    """Run the study that a script declares, with the command line's options: ``python studies/NAME.py …``."""
    arguments = ["study", path, *sys.argv[1:]]
    if "keras" in sys.modules:
        # The script's own model has imported it, before the backend was known.
        from bench.core.environment import search_path

        command = [sys.executable, "-P", "-c", "from studies.cli.main import main; main()", *arguments]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": search_path()})  # noqa: S606 - this very command
    sys.argv[1:] = arguments
    main()


@app.command(cls=SeveralWords)
def study(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(STUDIES)}, or the path of your own script.", autocompletion=completion.studies
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="digits, mnist, fashion_mnist, cifar10, binarized_mnist, python_topics, text8, ptb_characters, "
            "free_spoken_digits, a .npz or .npy file, a text, a recording, a folder of images, texts or recordings; of "
            "several, a study each and a comparison [default: digits].",
            show_default=False,
            autocompletion=completion.datasets,
        ),
    ] = None,
    grey_levels: GreyLevels = None,
    resize: Resize = None,
    grey: Grey = False,
    window: Window = None,
    text_unit: TextUnit = None,
    sample_rate: SampleRate = None,
    sound_encoding: SoundEncoding = None,
    speakers: Speakers = False,
    train_sizes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N...",
            help="Train on so many images, `all` being every one; of several numbers, a study each and a comparison "
            "[default: all].",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(help="Trials per arm, in all: a continued study adds what is missing; --time adds more."),
    ] = 8,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training images at most [default: the arm's own, or 10 to 60].", show_default=False
        ),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Training images seen, instead of epochs.")] = None,
    seconds: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Training time of a run, instead: 90s, 5m.", show_default=False),
    ] = None,
    operations: Annotated[
        float | None, typer.Option(help="Floating-point operations of a run's training, instead.", show_default=False)
    ] = None,
    joules: Annotated[
        float | None,
        typer.Option(help="Energy of a run's training, instead, where it can be read.", show_default=False),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time of the whole study, from its start to its report, instead: 30m, 1h30m. Arms have equal shares.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no further trial begins.")] = None,
    seed: Annotated[int, typer.Option(help="Seed from which all others derive.")] = 0,
    seeds: Annotated[int, typer.Option(help="Final runs per arm, each from a seed of its own.")] = 3,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per training step [default: each arm's own].", show_default=False)
    ] = None,
    selection_samples: Annotated[int, typer.Option(help="Importance samples of the validation bound.")] = 16,
    importance_samples: Annotated[int, typer.Option(help="Importance samples of the test bound.")] = 256,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Validation and test images used [default: all].", show_default=False)
    ] = None,
    extractor: ExtractorName = "classifier",
    outside_dataset: OutsideDataset = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="tpe, qmc, random, or a sampler of Optuna's [default: the study's].",
            show_default=False,
            autocompletion=completion.samplers,
        ),
    ] = None,
    pruner: Annotated[
        str,
        typer.Option(
            help="Which trials stop early: halving, none, or a pruner of Optuna's.", autocompletion=completion.pruners
        ),
    ] = "halving",
    promote: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM:TRIAL",
            help="Train a trial that was stopped at a rung to the end, such as glow:5; repeatable.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="tensorflow, jax, or auto: whichever a short measurement finds faster.",
            autocompletion=completion.backends_or_auto,
        ),
    ] = "tensorflow",
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that work at once; 1 is this one, 0 leaves the work to `worker`s elsewhere [default: 1; on "
            "Ray, as many as it has room for].",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What runs the trials: local, or ray for tasks of a Ray cluster.", autocompletion=completion.engines
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the Ray cluster [default: the one that runs on this machine].", show_default=False
        ),
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="Processors that Ray reserves for a trial.")] = 1.0,
    gpus_per_trial: Annotated[
        float, typer.Option(help="Accelerators that Ray reserves for a trial: whole ones, or a part of one.")
    ] = 0.0,
    lease: Annotated[
        float, typer.Option(help="Seconds without a heartbeat before a worker's trial is reassigned.")
    ] = 60.0,
    no_reference_model: Annotated[
        bool,
        typer.Option(
            "--no-reference-model",
            help="Do not train the small PixelCNN whose exact likelihood the report sets beside the arms.",
        ),
    ] = False,
    equivalence: Annotated[
        float,
        typer.Option(
            help="Least difference in test bits/dim that matters to you: the report says how probably an arm is better "
            "by more."
        ),
    ] = 0.01,
    mixed_code: Annotated[
        bool, typer.Option("--mixed-code", help="Continue a study that another version of the code began.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Do every step quickly, to test the set-up.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and its expected time.")
    ] = False,
    extension: Extensions = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Run a study, or continue it: sweep on validation, retrain the best from several seeds, measure on test."""
    options = {key: value for key, value in locals().items() if key not in _NO_SETTINGS}
    from bench.checks.preflight import check_output
    from bench.core.errors import RestartRequiredError, SettingsError, StudyStoppedError
    from bench.study.definition import StudySettings
    from studies.cli.loading import load_study, prepare_backend_for

    options |= {"reference_model": not no_reference_model, "promote": promote or ()}
    names = dataset or [StudySettings.model_fields["dataset"].default]
    if promote and len(names) * max(1, len(train_sizes or [])) > 1:
        raise SettingsError(f"promote={', '.join(promote)} is of one study, and several are given: give its own")
    settings = [StudySettings.from_options({**options, **each}) for each in varied(names, train_sizes or [])]
    check_output(output)
    prepare_backend_for(name, extension, settings[0].backend)
    load_extensions(extension)
    declared = load_study(name)
    if dry_run:
        _show_plans(declared, settings, open_console())
        return
    from bench.workflows.run import run
    from studies.cli.plan import print_next_steps

    console = open_console(quiet)

    def run_one(each: StudySettings) -> tuple[str, str]:
        outcome = run(declared, each, console, log_file=log_file, can_restart=True)
        print_next_steps(name, each, outcome, console)
        if quiet:
            typer.echo(outcome.page)
        return outcome.study_id, outcome.unanswered

    unanswered = ""
    try:
        if len(settings) == 1:
            _, unanswered = run_one(settings[0])
        else:
            _run_several(declared, settings, run_one, console)
    except RestartRequiredError:
        restart()
    except KeyboardInterrupt:
        # Typer would end the command on Ctrl-C without a message.
        typer.secho("stopped: finished runs are kept; the same command continues", err=True)
        raise typer.Exit(130) from None
    if unanswered:
        raise StudyStoppedError(unanswered)


def _run_several(
    study: Study, settings: list[StudySettings], run_one: Callable[[StudySettings], tuple[str, str]], console: Console
) -> None:
    """Run a study with each of several settings, and compare its arms over those with which it has ended."""
    from bench.checks.preflight import check_stores
    from bench.tracking.reading.reader import load_results
    from reports.analysis.results import Study as Prepared

    check_each(study, settings)
    check_stores(settings[0].tracking, settings[0].storage_url, settings[0].output)
    status, ended = run_each(settings, run_one)
    if len(ended) > 1:
        console.print("")
        studies = [Prepared(load_results(settings[0].tracking, study_id)) for study_id in ended]
        _, page = compare_several(studies, settings[0].output, console)
        typer.echo(page)
    if status:
        raise typer.Exit(status)


def _show_plans(study: Study, settings: list[StudySettings], console: Console) -> None:
    from bench.checks.preflight import check_local_stores
    from studies.cli.plan import print_plan, print_sum

    planned = check_each(study, settings)
    check_local_stores(settings[0].tracking, settings[0].storage_url, settings[0].output)
    for each in planned:
        print_plan(each, console)
        if len(planned) > 1:
            console.print("")
    if len(planned) > 1:
        print_sum(planned, console)


@app.command()
def report(
    study_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY...",
            help="Studies, by identifier or a prefix of it [default: the newest].",
            show_default=False,
            autocompletion=completion.study_ids,
        ),
    ] = None,
    equivalence: Equivalence = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    extension: Extensions = None,
    pdf: Annotated[
        bool, typer.Option(help="Write the figures as PDF too, which adds about a fifth to the time of a small report.")
    ] = True,
) -> None:
    """Write the reports of studies again from what is logged: finished, partial or still running."""
    from bench.checks.preflight import check_output
    from bench.workflows.run import check_equivalence
    from bench.workflows.run import report as write

    check_equivalence(equivalence)
    load_extensions(extension)
    uri = find_tracking_store(tracking_uri, output)
    check_output(output)
    chosen = choose_studies(uri, study_ids or [])
    answers = {}
    for study_id in chosen:
        written = write(uri, study_id, output, equivalence, pdf=pdf)
        answers[study_id] = written.headline
        typer.echo(written.page)
    if len(chosen) > 1:
        from reports.pages.index import write_index

        typer.echo(write_index(answers, output / "reports"))


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run's identifier in MLflow, or its first digits; see runs.csv.")],
    importance_samples: Annotated[
        int | None, typer.Option(help="Importance samples of the bound [default: the study's].", metavar=WHOLE, min=1)
    ] = None,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Held-out images used [default: all].", metavar=WHOLE, show_default=False, min=2)
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            help="Network whose features score samples: classifier or inception_v3 [default: the study's].",
            show_default=False,
            autocompletion=completion.extractors,
        ),
    ] = None,
    outside_dataset: OutsideDataset = None,
    annealing: Annotated[
        int,
        typer.Option(
            help="Temperatures of a check of a VAE's bound on simulated images; 0 for none.",
            metavar=WHOLE,
            min=0,
            max=1_000_000,
        ),
    ] = 0,
    dataset: DataOfRun = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="tensorflow or jax [default: the run's].", show_default=False, autocompletion=completion.backends
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    extension: Extensions = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Measure any logged run again, in full: a final run on test, a trial on validation."""
    from bench.checks.preflight import check_evaluation, check_output
    from bench.data.kept import find_kept
    from bench.data.registry import describe, load
    from bench.execution.removal import EVALUATION_FOLDERS, check_folder
    from bench.runtime.backend import check_backend, select_backend
    from bench.study.definition import StudySettings
    from bench.tracking.reading.model_runs import load_model_file, load_run

    given = {"importance_samples": importance_samples, "evaluation_images": evaluation_images, "extractor": extractor}
    StudySettings.from_options({option: value for option, value in given.items() if value is not None})
    check_output(output)
    uri = find_tracking_store(tracking_uri, output)
    logged = load_run(uri, run)
    extractor = extractor or str(logged.settings.get("extractor", "classifier"))
    StudySettings.from_options({"extractor": extractor})
    check_folder(output / "evaluations" / logged.run_id, *EVALUATION_FOLDERS)
    load_extensions(extension, backend or logged.backend)
    name = find_kept(dataset or logged.dataset, output)
    check_evaluation(extractor, outside_dataset, describe(name, logged.preparation), logged.preparation)
    check_backend(backend or logged.backend)
    console = open_console(quiet)
    with command_log("evaluate", output, log_file, console), tempfile.TemporaryDirectory() as kept:
        # Before the work that takes long, as it may be another one.
        model_file = load_model_file(uri, logged.run_id, Path(kept)) if logged.keeps_model else None
        select_backend(backend or logged.backend)

        from bench.evaluation.evaluator import open_outside
        from bench.evaluation.programs import EvaluationProtocol
        from bench.evaluation.quality import open_extractor
        from bench.execution.progress import StudyProgress
        from bench.workflows.evaluate import Callbacks, evaluate, write_evaluation
        from studies.cli.plan import print_evaluation

        data = load(name, logged.preparation)
        logged.check_data(data.info.name, data.digest)
        k = importance_samples or int(logged.settings.get("importance_samples", 256))
        protocol = EvaluationProtocol(
            data.info,
            k,
            open_extractor(extractor, data.tuning, output / "extractors"),
            None if outside_dataset is None else open_outside(outside_dataset, data.info, logged.preparation),
        )
        with StudyProgress(console, runs=1, unit=data.info.unit) as progress:
            progress.start_run(logged.name, logged.evaluations)
            callbacks = Callbacks(progress.show_evaluation, progress.show_test_progress)
            evaluation = evaluate(uri, logged, data, protocol, evaluation_images, callbacks, annealing, model_file)
            progress.finish_run()
        folder = write_evaluation(evaluation, data.info, output / "evaluations" / logged.run_id)
    print_evaluation(evaluation, data.info, console)
    typer.echo(folder)


@app.command()
def reproduce(
    results: Annotated[
        list[str] | None,
        typer.Argument(
            help="Published results by name [default: list them].",
            show_default=False,
            autocompletion=completion.results,
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="Training images seen [default: as published].", metavar=WHOLE, show_default=False, min=1),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each, from seeds of their own.", metavar=WHOLE, min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed from which all others derive.")] = 0,
    importance_samples: Annotated[
        int | None,
        typer.Option(help="Importance samples of the test bound [default: as published].", metavar=WHOLE, min=1),
    ] = None,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Validation and test images used [default: all].", metavar=WHOLE, min=2)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="File that holds the data set [default: download it].", show_default=False)
    ] = None,
    backend: Annotated[str, typer.Option(help="tensorflow or jax.", autocompletion=completion.backends)] = "tensorflow",
    workers: Annotated[
        int | None, typer.Option(help="Processes that work at once [default: 1].", show_default=False)
    ] = None,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Train published models by their recipes, and compare what is obtained with what was published."""
    from studies.published import PUBLISHED

    if not results:
        width = max(map(len, PUBLISHED)) + 2
        for published in PUBLISHED.values():
            typer.echo(f"{published.name:{width}s}{published.title} ({published.training.images:,} images)")
        return
    from bench.core.errors import SettingsError, StudyStoppedError

    unknown = [name for name in results if name not in PUBLISHED]
    if unknown:
        raise SettingsError(f"no published result is called {unknown[0]!r}: one of {', '.join(PUBLISHED)}")
    from bench.checks.preflight import check_output
    from bench.data.registry import describe
    from bench.study.definition import StudySettings
    from bench.workflows.reproduce import append_runs, check_obtained, collect_runs, make_study
    from bench.workflows.run import run
    from reports.pages.published import write_published

    chosen = [PUBLISHED[name] for name in results]
    given = {"images": images, "importance_samples": importance_samples, "evaluation_images": evaluation_images}
    options = {option: value for option, value in given.items() if value is not None} | {
        "seeds": seeds,
        "seed": seed,
        "backend": backend,
        "workers": workers,
        "storage": storage,
        "tracking_uri": tracking_uri,
        "output": output,
        # A published figure stands beside published figures.
        "reference_model": False,
    }
    settings = [
        StudySettings.from_options(
            {"importance_samples": each.importance_samples, "dataset": dataset or each.dataset, **options}
        )
        for each in chosen
    ]
    for published, own in zip(chosen, settings, strict=True):
        published.check_data(describe(own.dataset, own.preparation))
    check_output(output)
    console, folder = open_console(quiet), output / "published"
    check_obtained(folder)
    try:
        for published, own in zip(chosen, settings, strict=True):
            outcome = run(make_study(published), own, console, log_file=log_file)
            runs = collect_runs(published, outcome.results, own.tracking)
            append_runs(runs, folder)
            for each in runs:
                console.print(
                    f"{published.title}: {each.row['obtained']:.3f} (published {published.published or 'nothing'})",
                    highlight=False,
                    markup=False,
                )
    except KeyboardInterrupt:
        typer.secho("stopped: finished runs are kept; the same command continues", err=True)
        raise typer.Exit(130) from None
    if not (folder / "obtained.csv").is_file():
        raise StudyStoppedError(f"no run completed: its report in {output / 'reports'} gives the reasons")
    typer.echo(write_published(folder))


app.command(name="gradients")(gradient_estimators.command)
app.command(name="check")(check.command)
app.command(name="doctor")(doctor.command)
app.command(name="repeat")(repeat.command)
app.command(name="settings")(settings.command)
app.command(name="worker")(worker.command)
app.command(name="upload")(upload.command)
app.command(name="storage")(storage_server.command)


@app.command(name="list")
def list_(tracking_uri: TrackingUri = None, output: Output = Path("runs")) -> None:
    """List the studies in a tracking store, newest first: identifier, when it began, how it ended, its question."""
    from bench.core.logs import one_line
    from bench.core.redaction import redact
    from bench.tracking.reading.sqlite import peek_studies

    uri = find_tracking_store(tracking_uri, output)
    known = peek_studies(output / "mlflow.db") if tracking_uri is None else []
    if not known:
        # MLflow takes seconds to import; it knows what is wrong with a store.
        from bench.tracking.reading.studies import describe_studies

        known = describe_studies(uri)
    if not known:
        typer.echo(f"{redact(uri)} holds no study yet", err=True)
        return
    rows = [[one_line(text) for text in each] for each in known]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for row in rows:
        columns = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=True)]
        typer.echo("  ".join([*columns, row[-1]]).rstrip())


app.command(name="compare")(compare.command)
app.command(name="delete")(delete.command)
app.command(name="ui")(ui.command)
