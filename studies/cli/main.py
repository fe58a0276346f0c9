"""The ``reparam-bench`` command. Each subcommand imports what it needs when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli import compare, completion, doctor, gradient_estimators, repeat, storage_server, ui, upload, worker
from studies.cli.names import STUDIES
from studies.cli.options import Output, Storage, TrackingUri
from studies.cli.stores import studies_to_report, tracking_store
from studies.cli.terminal import LogFile, Quiet, command_log, open_console, run_program, start_afresh

if TYPE_CHECKING:
    from rich.console import Console

    from bench.core.signals import StopRequest
    from bench.data.dataset import Dataset
    from bench.execution.executors.base import Executor
    from bench.execution.progress import StudyProgress
    from bench.execution.session import SharedStudy
    from bench.study.definition import BoundStudy, Study, StudySettings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="VAE or Glow? Sweep likelihood models on your data and hardware, and read the answer in bits/dim.",
)


def main() -> None:
    """Run the command line; whatever ends it is told in one line."""
    run_program(app, "reparam-bench")


def run_script(path: str) -> None:
    """Run the study that a script declares, with the command line's options: ``python studies/NAME.py …``."""
    sys.argv[1:1] = ["study", path]
    main()


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(STUDIES)}, or the path of your own script.", autocompletion=completion.studies
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion_mnist, cifar10, binarized_mnist, an .npz file, a folder of images.",
            autocompletion=completion.datasets,
        ),
    ] = "digits",
    grey_levels: Annotated[
        int | None, typer.Option(help="Values a pixel can take [default: told by the data].", show_default=False)
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials per family, in all: a continued study adds what is missing.")] = 8,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training images at most [default: 10 to 60].", show_default=False),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Training images seen, instead of epochs.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no further trial begins.")] = None,
    seed: Annotated[int, typer.Option(help="Seed from which all others derive.")] = 0,
    seeds: Annotated[int, typer.Option(help="Final runs per family, each from a seed of its own.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Images per training step.")] = 64,
    selection_samples: Annotated[int, typer.Option(help="Importance samples of the validation bound.")] = 16,
    importance_samples: Annotated[int, typer.Option(help="Importance samples of the test bound.")] = 256,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Validation and test images used [default: all].", show_default=False)
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            help="Of the features of sample quality: classifier or inception_v3.", autocompletion=completion.extractors
        ),
    ] = "classifier",
    outside_dataset: Annotated[
        str | None,
        typer.Option(
            help="Another data set whose likelihood is asked for.",
            show_default=False,
            autocompletion=completion.datasets,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="tpe, qmc or random [default: the study's own].",
            show_default=False,
            autocompletion=completion.samplers,
        ),
    ] = None,
    pruning: Annotated[bool, typer.Option(help="Stop trials that lag behind.")] = True,
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
            help="Who does the work: local, or ray for tasks of a Ray cluster.", autocompletion=completion.engines
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
        float, typer.Option(help="Seconds without a sign of life after which a worker's trial goes to another.")
    ] = 60.0,
    mixed_code: Annotated[
        bool, typer.Option("--mixed-code", help="Go on with a study that another version of the code began.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="All as small as can be: a test of the set-up.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and how long it takes.")] = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Run a study, or continue it: sweep on validation, retrain the best from several seeds, measure on test."""
    options = {key: value for key, value in locals().items() if key not in ("name", "dry_run", "quiet", "log_file")}
    from bench.checks.preflight import check_output
    from bench.core.errors import RestartRequiredError
    from bench.study.definition import StudySettings
    from studies.cli.loading import load_study

    settings = StudySettings.checked(options)
    check_output(output)
    declared = load_study(name)
    if dry_run:
        _show_plan(declared, settings, open_console())
        return
    try:
        _run(declared, settings, quiet, log_file)
    except RestartRequiredError:
        start_afresh()
    except KeyboardInterrupt:
        # Told here, for Typer ends the command on Ctrl-C without a word.
        typer.secho("stopped: what is finished is kept; the same command continues", err=True)
        raise typer.Exit(130) from None


def _show_plan(study: Study, settings: StudySettings, console: Console) -> None:
    from bench.checks.preflight import check_measuring
    from bench.data.registry import describe
    from bench.study.definition import BoundStudy
    from studies.cli.plan import print_plan

    info = describe(settings.dataset, settings.grey_levels)
    check_measuring(settings.extractor, settings.outside_dataset, info)
    print_plan(BoundStudy(study, settings, info, digest="not opened"), console)


def _run(study: Study, settings: StudySettings, quiet: bool, log_file: Path | None) -> None:
    from bench.checks.preflight import check_measuring, check_stores
    from bench.data.registry import describe
    from bench.execution.executors.ray import Share, connect
    from bench.runtime.backend import check_backend
    from bench.study.definition import AUTO, BoundStudy

    # What can be told to be wrong is told before a framework is imported, a data set downloaded, or anything made.
    info = describe(settings.dataset, settings.grey_levels)
    planned = BoundStudy(study, settings, info, digest="not opened")
    check_measuring(settings.extractor, settings.outside_dataset, info)
    if settings.backend != AUTO:
        check_backend(settings.backend)
    check_stores(settings.tracking, settings.storage_url, settings.output)
    if settings.engine == "ray":
        # Before signals are handled here, which Ray's driver would take for itself.
        connect(settings.address, Share(settings.cpus_per_trial, settings.gpus_per_trial))
    console = open_console(quiet)
    with command_log(study.name, settings.output, log_file, console) as log:
        if settings.backend == AUTO:
            from bench.execution.backend_choice import choose_backend

            chosen = choose_backend(planned, lambda text: console.print(text, highlight=False, markup=False))
            settings = settings.model_copy(update={"backend": chosen})
        bound, page = _search_and_report(study, settings, console)
    _say_what_next(bound, page, log, console)
    if quiet:
        typer.echo(page)


def _search_and_report(study: Study, settings: StudySettings, console: Console) -> tuple[BoundStudy, Path]:
    from bench.core.errors import StudyStoppedError
    from bench.data.registry import load
    from bench.runtime.backend import select_backend
    from bench.study.definition import BoundStudy
    from bench.study.plan import remaining_study

    select_backend(settings.backend)
    dataset = load(settings.dataset, settings.grey_levels)
    bound = BoundStudy(study, settings, dataset.info, dataset.digest)

    from bench.core.signals import StopRequest
    from bench.execution.coordinator import Coordinator
    from bench.execution.progress import StudyProgress
    from bench.execution.session import open_study
    from bench.execution.worker import open_protocol

    console.print(f"{bound.study_id}: {study.question}", style="bold", highlight=False, markup=False)
    runs = len(study.families) * (settings.trials + settings.seeds)
    remaining = remaining_study(bound) if settings.is_alone else None
    with StopRequest() as stop, StudyProgress(console, runs, remaining) as progress:
        shared = open_study(bound)
        try:
            # What it lacks is told before any work, and no two workers make it at once.
            open_protocol(shared, dataset)
            executor = _executor(shared, dataset, progress, stop)
            Coordinator(shared, executor, progress, stop).run()
        except StudyStoppedError:
            _write_report(settings.tracking, bound.study_id, settings.output)
            raise
        finally:
            shared.tracker.close()
    page, headline = _write_report(settings.tracking, bound.study_id, settings.output)
    shared.parent.log_report(page.parent, headline)
    return bound, page


def _executor(shared: SharedStudy, dataset: Dataset, progress: StudyProgress, stop: StopRequest) -> Executor:
    """Who does the work of the study."""
    from bench.data.shared import share
    from bench.execution.executors.base import External, InProcess
    from bench.execution.executors.local import LocalWorkers
    from bench.execution.executors.ray import RayTasks, Share
    from bench.execution.worker import Worker
    from studies.cli.worker import worker_command, worker_environment

    settings = shared.bound.settings
    if settings.workers == 0:
        return External()
    if settings.is_alone:
        return InProcess(Worker(shared, dataset, progress, stop))
    share(dataset, settings.output / "data")
    if settings.engine == "ray":
        return RayTasks(shared, Share(settings.cpus_per_trial, settings.gpus_per_trial), settings.workers)
    command = worker_command(shared.bound.study_id, settings.output)
    return LocalWorkers(settings.workers or 1, command, worker_environment(settings), settings.output / "logs")


def _write_report(tracking: str, study_id: str, output: Path) -> tuple[Path, str]:
    """Write the study's report under the output folder; the path of its page, and its answer in a sentence."""
    from bench.tracking.reading.reader import load_results
    from reports.analysis.results import Study as Results
    from reports.pages.write import write_report
    from reports.text.answer import answer

    results = load_results(tracking, study_id)
    page = write_report(results, output / "reports" / study_id).html
    return page, answer(Results(results)).headline


def _say_what_next(bound: BoundStudy, page: Path, log: Path, console: Console) -> None:
    from studies.cli.plan import next_steps

    for line in next_steps(bound, page, log):
        console.print(line, highlight=False, markup=False)


@app.command()
def report(
    study_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY...",
            help="Studies, by identifier or its beginning [default: the newest].",
            show_default=False,
            autocompletion=completion.study_ids,
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
) -> None:
    """Write the reports of studies anew from what is logged: finished, partial or still running."""
    from bench.checks.preflight import check_output

    uri = tracking_store(tracking_uri, output)
    check_output(output)
    chosen = studies_to_report(uri, study_ids or [])
    answers = {}
    for study_id in chosen:
        page, answers[study_id] = _write_report(uri, study_id, output)
        typer.echo(page)
    if len(chosen) > 1:
        from reports.pages.index import write_index

        typer.echo(write_index(answers, output / "reports"))


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run's identifier in MLflow, or its first digits; see runs.csv.")],
    importance_samples: Annotated[
        int | None, typer.Option(help="Importance samples of the bound [default: the study's].", min=1)
    ] = None,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Held-out images used [default: all].", show_default=False, min=2)
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            help="Of the features of sample quality: classifier or inception_v3.", autocompletion=completion.extractors
        ),
    ] = "classifier",
    outside_dataset: Annotated[
        str | None,
        typer.Option(
            help="Another data set whose likelihood is asked for.",
            show_default=False,
            autocompletion=completion.datasets,
        ),
    ] = None,
    annealing: Annotated[
        int,
        typer.Option(
            help="Temperatures of a check of a VAE's bound on simulated images; 0 for none.", min=0, max=1_000_000
        ),
    ] = 0,
    dataset: Annotated[
        str | None, typer.Option(help="Where the run's data is now [default: where it was].", show_default=False)
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="tensorflow or jax [default: the run's].", show_default=False, autocompletion=completion.backends
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Measure any logged run anew, in full: a final run on test, a trial on validation."""
    from bench.checks.preflight import check_measuring, check_output
    from bench.data.registry import describe, load
    from bench.runtime.backend import check_backend, select_backend
    from bench.study.definition import StudySettings
    from bench.tracking.reading.reader import load_run

    given = {"importance_samples": importance_samples, "evaluation_images": evaluation_images, "extractor": extractor}
    StudySettings.checked({option: value for option, value in given.items() if value is not None})
    check_output(output)
    uri = tracking_store(tracking_uri, output)
    logged = load_run(uri, run)
    name, grey_levels = logged.dataset if dataset is None else (dataset, None)
    check_measuring(extractor, outside_dataset, describe(name, grey_levels))
    check_backend(backend or logged.backend)
    console = open_console(quiet)
    with command_log("evaluate", output, log_file, console):
        select_backend(backend or logged.backend)

        from bench.evaluation.evaluator import EvaluationProtocol, open_outside
        from bench.evaluation.quality import open_extractor
        from bench.execution.progress import StudyProgress
        from bench.workflows.evaluate import Observers, evaluate, write_evaluation
        from studies.cli.plan import print_evaluation

        data = load(name, grey_levels)
        k = importance_samples or int(logged.settings.get("importance_samples", 256))
        protocol = EvaluationProtocol(
            k,
            open_extractor(extractor, data.tuning, output / "extractors"),
            None if outside_dataset is None else open_outside(outside_dataset, data.info),
        )
        with StudyProgress(console, runs=1) as progress:
            progress.start_run(logged.name, logged.looks)
            observers = Observers(progress.evaluated, progress.measured)
            evaluation = evaluate(uri, logged, data, protocol, evaluation_images, observers, annealing)
            progress.done()
        folder = write_evaluation(evaluation, output / "evaluations" / logged.run_id)
    print_evaluation(evaluation, console)
    typer.echo(folder)


@app.command()
def reproduce(
    results: Annotated[
        list[str] | None,
        typer.Argument(
            help="Published results by name [default: say which there are].",
            show_default=False,
            autocompletion=completion.results,
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Training images seen [default: as published].", show_default=False, min=1)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each, from seeds of their own.", min=1)] = 1,
    importance_samples: Annotated[
        int | None, typer.Option(help="Importance samples of the test bound [default: as published].", min=1)
    ] = None,
    evaluation_images: Annotated[
        int | None, typer.Option(help="Validation and test images used [default: all].", min=2)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="File that holds the data set [default: download it].", show_default=False)
    ] = None,
    backend: Annotated[str, typer.Option(help="tensorflow or jax.", autocompletion=completion.backends)] = "tensorflow",
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Train published models by their recipes, and set what is obtained beside what was published."""
    from studies.published import PUBLISHED

    if not results:
        for published in PUBLISHED.values():
            typer.echo(f"{published.name:18s}{published.title} ({published.training.images:,} images)")
        return
    from bench.core.errors import SettingsError

    unknown = [name for name in results if name not in PUBLISHED]
    if unknown:
        raise SettingsError(f"no published result is called {unknown[0]!r}: one of {', '.join(PUBLISHED)}")
    from bench.checks.preflight import check_output, check_stores
    from bench.data.registry import describe
    from bench.runtime.backend import check_backend, select_backend
    from bench.study.definition import StudySettings

    given = {"images": images, "importance_samples": importance_samples, "evaluation_images": evaluation_images}
    settings = StudySettings.checked(
        {option: value for option, value in given.items() if value is not None}
        | {"seeds": seeds, "backend": backend, "tracking_uri": tracking_uri, "output": output}
    )
    for published in (PUBLISHED[name] for name in results):
        published.check_data(describe(published.dataset if dataset is None else dataset))
    check_backend(backend)
    check_output(output)
    check_stores(settings.tracking, None, output)
    console = open_console(quiet)
    with command_log("reproduce", output, log_file, console):
        select_backend(backend)

        from bench.data.registry import load
        from bench.execution.progress import StudyProgress
        from bench.tracking.writer import Tracker
        from bench.workflows.reproduce import Budget, record, reproduce
        from reports.pages.published import write_published

        output.mkdir(parents=True, exist_ok=True)
        tracker = Tracker(settings.tracking, output / "artifacts", output / "outbox")
        tracker.upload_orphans()
        budget = Budget(images, seeds, importance_samples, evaluation_images)
        folder = output / "published"
        with StudyProgress(console, runs=len(results) * seeds) as progress:
            for published in (PUBLISHED[name] for name in results):
                progress.start_run(published.name, published.training.evaluations)
                source = published.dataset if dataset is None else dataset
                obtained = reproduce(
                    published, load(source), budget, source, backend, tracker, progress.evaluated, progress.measured
                )
                record(obtained, folder)
                for row in (each.row for each in obtained):
                    known = published.published or "nothing"
                    progress.say(f"{published.title}: {row['obtained']:.3f} (published {known})")
                progress.done(seeds)
        page = write_published(folder)
    typer.echo(page)


app.command(name="gradients")(gradient_estimators.command)
app.command(name="doctor")(doctor.command)
app.command(name="repeat")(repeat.command)
app.command(name="worker")(worker.command)
app.command(name="upload")(upload.command)
app.command(name="storage")(storage_server.command)


@app.command(name="list")
def list_(tracking_uri: TrackingUri = None, output: Output = Path("runs")) -> None:
    """List the studies in a tracking store, newest first."""
    from bench.tracking.reading.reader import list_studies

    for study_id in list_studies(tracking_store(tracking_uri, output)):
        typer.echo(study_id)


app.command(name="compare")(compare.command)
app.command(name="ui")(ui.command)
