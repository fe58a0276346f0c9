"""Runs a study from its first check to its report: what the command line and :func:`run_study` do."""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.checks.preflight import check_output, check_stores, check_study, load_own_data
from bench.core.environment import CHOSEN_BACKEND_VARIABLE, RESTARTED_VARIABLE, RUNNING_STUDY_VARIABLE
from bench.core.errors import (
    CheckpointError,
    DataError,
    RestartRequiredError,
    SettingsError,
    StudyStoppedError,
    TrackingError,
)
from bench.core.extensions import load_extension
from bench.core.logs import default_log_file, log_to_file
from bench.core.metrics import REFERENCE_MODEL_CODE
from bench.core.results import REFERENCE_CODES, REFERENCE_MODEL, ReferenceCodes
from bench.core.validation import format_validation_error
from bench.data.kept import keep
from bench.data.npz import DATA_NAMES, check_arrays
from bench.data.npz_archive import ArraysInMemory
from bench.data.preparation import Preparation
from bench.data.registry import load
from bench.runtime.backend import select_backend
from bench.study.definition import AUTO, PRUNERS, SAMPLERS, Arm, BoundStudy, Earlier, Study, StudySettings
from bench.study.eta import TimeLeft
from bench.study.plan import study_eta, too_long_warmups
from bench.study.reference_model import RUN_KIND, reference_study, too_large

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from bench.core.results import StudyResults
    from bench.core.signals import StopRequest
    from bench.data.dataset import Dataset
    from bench.execution.executors.base import Executor
    from bench.execution.progress import StudyProgress
    from bench.execution.session import StudySession
    from bench.search.sampler import AnyPruner, AnySampler, SearchObjects
    from bench.study.budget import TimePlan

Array = np.ndarray[Any, Any]
Data = str | Path | Array | Mapping[str, Array]


@dataclass(frozen=True)
class StudyOutcome:
    """What a study found; in a notebook it shows its answer.

    Attributes:
        results: everything that was logged of the study.
        page: its report.
        headline: its answer in a sentence.
        details: what a reader must know to weigh it.
        log: the log file of the run, if this process ran it.
        unanswered: why some arms have no answer, of which no trial or no final run completed; empty where all have one.
        ranking: the arms by test bits/dim, the lowest first; empty where none was measured, or they are not ranked.
    """

    results: StudyResults
    page: Path
    headline: str
    details: list[str]
    log: Path | None = None
    unanswered: str = ""
    ranking: tuple[str, ...] = ()

    @property
    def study_id(self) -> str:
        """The study's identifier: the same arms, data and settings give the same one, and continue it."""
        return self.results.study_id

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run: its arm, state, times, and a column ``param.NAME`` for each parameter."""
        return self.results.runs

    @property
    def measurements(self) -> pd.DataFrame:
        """One row a measured number, with its errors and the bound that it is."""
        return self.results.measurements

    def report(self, folder: Path | str | None = None, equivalence: float | None = None) -> Path:
        """Write the report again, with the figures that are registered by now.

        Args:
            folder: where to; by default where it is.
            equivalence: the least difference in test bits/dim that matters; by default that of :attr:`results`.

        Returns:
            The path of its page.

        Raises:
            SettingsError: ``equivalence`` is out of range.
        """
        from reports.pages.write import write_report

        results = with_equivalence(self.results, equivalence)
        target = _report_folder(self.study_id, self.page.parents[2]) if folder is None else Path(folder)
        return write_report(results, target).html

    def _repr_html_(self) -> str:
        details = "".join(f"<li>{html.escape(each)}</li>" for each in self.details)
        page = self.page.resolve()
        return (
            f"<p><strong>{html.escape(self.headline)}</strong></p><ul>{details}</ul>"
            f'<p><a href="{html.escape(page.as_uri())}">{html.escape(str(page))}</a></p>'
        )


def run_study(
    study: Study | Arm | Sequence[Arm],
    data: Data = "digits",
    *,
    name: str = "study",
    question: str = "Which arm is the better likelihood model of this data?",
    sampler: AnySampler | None = None,
    pruner: AnyPruner | None = None,
    extensions: Path | str | Iterable[Path | str] = (),
    quiet: bool = False,
    log_file: Path | str | None = None,
    **settings: Any,
) -> StudyOutcome:
    """Run a study, or continue it: sweep on validation, retrain the best of each arm, measure on test, report.

    The same arguments find their study again: what is finished is not done again.

    Args:
        study: a study, or the arms to compare.
        data: a data set's name, the path of an ``.npz`` or ``.npy`` file or of a folder of images, or arrays: integer
            images ``(n, h, w)`` or ``(n, h, w, c)``, alone or as a mapping with ``x_train`` and, where there are,
            ``x_validation``, ``x_test``, ``y_train``, …, as in an ``.npz`` file.
        name: the study's name, where arms are given.
        question: what it asks, where arms are given.
        sampler: ``tpe``, ``qmc``, ``random``, the name of a sampler of Optuna's or, in a single process, one.
        pruner: ``halving``, ``none``, the name of a pruner of Optuna's or, in a single process, one.
        extensions: files of models, metrics, figures or data sets that are imported first, also by other workers.
        quiet: whether to print nothing.
        log_file: where to log; by default a new file in the output folder.
        settings: :class:`bench.study.definition.StudySettings`, such as ``trials=20, epochs=30, backend="jax"``;
            ``equivalence=0.02`` is the least difference in test bits/dim that matters, and changes the report alone.

    Raises:
        SettingsError: a setting is out of range, or does not fit the data.
        DataError: the data is missing or not of an accepted form.
        TrackingError: a store cannot be reached.
        StudyStoppedError: no trial of an arm completed; the others are answered in the report that the message names.
        KeyboardInterrupt: it was interrupted; the same call continues it.
    """
    from rich.console import Console

    from bench.search.sampler import SearchObjects

    if "dataset" in settings:
        raise SettingsError(f"dataset={settings['dataset']!r}: give the data as data={settings['dataset']!r}")
    objects = SearchObjects(None if isinstance(sampler, str) else sampler, None if isinstance(pruner, str) else pruner)
    for key, value in (("sampler", sampler), ("pruner", pruner)):
        if value is not None:
            settings[key] = value if isinstance(value, str) else type(value).__name__
    objects.check()
    chosen = StudySettings.from_options(settings)
    if objects != SearchObjects() and not chosen.is_single_process:
        raise SettingsError(
            f"a sampler or a pruner given as an object serves one process, and workers={chosen.workers} starts others: "
            "give its class's name"
        )
    if chosen.backend != AUTO:
        from bench.runtime.backend import prepare_backend

        # A file of a model imports Keras, on the backend that is set then.
        prepare_backend(chosen.backend)
    for file in [extensions] if isinstance(extensions, str | Path) else extensions:
        load_extension(file)
    check_output(chosen.output)
    chosen = chosen.model_copy(update={"dataset": _dataset(data, chosen.output, chosen.preparation)})
    console = Console(soft_wrap=True, quiet=quiet)
    path = None if log_file is None else Path(log_file)
    outcome = run(_study(study, name, question), chosen, console, objects, path)
    if outcome.unanswered:
        raise StudyStoppedError(outcome.unanswered)
    return outcome


def run(
    study: Study,
    settings: StudySettings,
    console: Console,
    objects: SearchObjects | None = None,
    log_file: Path | None = None,
    can_restart: bool = False,
) -> StudyOutcome:
    """Run a study with checked settings; see :func:`run_study`.

    Args:
        study: the study.
        settings: its settings.
        console: where progress is shown.
        objects: a sampler or pruner that was given as an object.
        log_file: where to log; by default a new file in the output folder.
        can_restart: whether a process that has grown too large may end by :class:`RestartRequiredError`.
    """
    from rich.console import Console

    from bench.execution.executors.ray import Resources, connect

    restarted = os.environ.pop(RESTARTED_VARIABLE, None)
    began = time.monotonic() if restarted is None else float(restarted)
    # Everything is checked before a framework is imported, data downloaded, or anything written.
    planned = check_study(
        study,
        settings,
        SAMPLERS[0] if objects and objects.sampler else None,
        PRUNERS[0] if objects and objects.pruner else None,
    )
    check_stores(settings.tracking, settings.storage_url, settings.output)
    own = load_own_data(settings)
    if settings.engine == "ray":
        # Before signals are handled here: Ray's driver would replace the handlers.
        connect(settings.address, Resources(settings.cpus_per_trial, settings.gpus_per_trial))
    path = log_file or default_log_file(settings.output, study.name)
    with log_to_file(path, console, settings.output):
        if settings.backend == AUTO:
            from bench.execution.backend_choice import choose_backend

            backend = choose_backend(planned, lambda text: console.print(text, highlight=False, markup=False))
            settings = settings.model_copy(update={"backend": backend})
            if can_restart and "keras" in sys.modules and sys.modules["keras"].backend.backend() != backend:
                os.environ[CHOSEN_BACKEND_VARIABLE] = backend
                os.environ[RESTARTED_VARIABLE] = str(began)
                raise RestartRequiredError(f"the study's own files run on another backend than {backend}")
        select_backend(settings.backend)
        dataset = own or load(settings.dataset, settings.preparation)
        bound = replace(
            planned,
            settings=settings,
            info=dataset.info,
            digest=dataset.digest,
            labels=dataset.labels_digest,
            held_out=dataset.held_out_digest,
        )
        # Said before the restart, where the study had begun.
        quiet = Console(quiet=True) if RUNNING_STUDY_VARIABLE in os.environ else console
        bound, time_plan = _with_budget(bound, lambda text: quiet.print(text, highlight=False, markup=False))
        running = os.environ.pop(RUNNING_STUDY_VARIABLE, bound.study_id)
        if running != bound.study_id:
            raise DataError(
                f"{settings.dataset!r}, or a file of the study, was altered while {running} ran: restore it, and the "
                f"same command continues; as it is now, the command run again begins {bound.study_id}"
            )
        _report_folder(bound.study_id, settings.output)
        try:
            session, unanswered = _searched(bound, dataset, console, objects, can_restart, time_plan, began)
        except RestartRequiredError:
            os.environ[RUNNING_STUDY_VARIABLE] = bound.study_id
            os.environ[RESTARTED_VARIABLE] = str(time.monotonic())
            raise
        searched = time.monotonic()
        outcome = _report(session, dataset)
        spent = session.record.seconds_spent + time.monotonic() - searched
        if settings.time is not None:
            console.print(f"took {spent:.0f} s of its {settings.time:g} s", highlight=False, markup=False)
        if unanswered:
            others = "the other arms are answered" if outcome.ranking else "what is known stands"
            unanswered = f"{unanswered}; {others} in {outcome.page}"
    return replace(outcome, log=path, unanswered=unanswered)


def _with_budget(bound: BoundStudy, say: Callable[[str], None]) -> tuple[BoundStudy, TimePlan | None]:
    """The study with a budget of images, where it was given another one; and how its time is spent, if it has one.

    Raises:
        SettingsError: the budget is too small, or cannot be turned into images.
    """
    from bench.study.budget import images_of_runs, plan_time

    settings = bound.settings
    if settings.time is None and settings.seconds is None and settings.joules is None:
        return replace(bound, images=images_of_runs(bound)), None
    from bench.execution.session import known_budgets
    from bench.execution.speeds import measured_speeds

    speeds = measured_speeds(bound, say)
    if settings.time is None:
        return replace(bound, images=images_of_runs(bound, speeds)), None
    planned = plan_time(replace(bound, earlier=known_budgets(bound)), speeds)
    for line in planned.sentences():
        say(f"time      {line}")
    return replace(bound, images=planned.images), planned


def _report(session: StudySession, dataset: Dataset) -> StudyOutcome:
    """Write the report of a study that is complete, and keep it with the study's run."""
    from bench.tracking.reading.reader import load_results
    from bench.workflows.won_images import picture_won_images

    settings, study_id = session.bound.settings, session.bound.study_id
    logged = load_results(settings.tracking, study_id)
    won = picture_won_images(logged, dataset, settings.evaluation_images)
    results = replace(logged, equivalence=settings.equivalence, won_images=won)
    outcome = _write(results, _report_folder(study_id, settings.output))
    if won != logged.won_images:
        session.parent.log_won_images(won)
    session.parent.log_report(outcome.page.parent, outcome.headline)
    return outcome


def _searched(
    bound: BoundStudy,
    dataset: Dataset,
    console: Console,
    objects: SearchObjects | None,
    can_restart: bool,
    time_plan: TimePlan | None,
    began: float,
) -> tuple[StudySession, str]:
    """Have all trials and final runs done; the session, and why arms have no final runs."""
    from bench.core.signals import StopRequest
    from bench.data.shared import share
    from bench.execution.coordinator import Coordinator
    from bench.execution.progress import StudyProgress
    from bench.execution.same_data import say_other_data
    from bench.execution.session import open_session

    console.print(f"{bound.study_id}: {bound.study.question}", style="bold", highlight=False, markup=False)
    reference = reference_study(bound)
    runs = bound.runs + (reference is not None)
    eta = study_eta(bound) if time_plan is None else TimeLeft(time_plan.seconds - (time.monotonic() - began))
    with StopRequest() as stop, StudyProgress(console, runs, eta, unit=bound.info.unit) as progress:
        session = open_session(bound, objects)
        if time_plan is not None and time_plan.reference and _has_reference_model(session):
            # Measured in a shorter time: arms have what was planned for it.
            time_plan = replace(time_plan, reference=0.0)
        if isinstance(eta, TimeLeft) and (spent := session.record.seconds_spent):
            eta.shorten(spent)
            progress.say(f"{spent:.0f} s of the study's time are used")
        for line in (*_larger_budgets(bound, session.bound), *too_long_warmups(session.bound)):
            console.print(line, highlight=False, markup=False)
        if line := say_other_data(session):
            console.print(line, highlight=False, markup=False)
        try:
            prepare_finals = _prepare_evaluation(session, dataset)
            settings = bound.settings
            if settings.workers != 0 and not settings.is_single_process:
                dataset = share(dataset, settings.output / "data")
            executor = _executor(session, dataset, progress, stop, can_restart)
            coordinator = Coordinator(session, executor, progress, stop, dataset.check, time_plan, began)

            def measure_references() -> None:
                try:
                    _measure_reference_codes(session, dataset, progress, stop)
                    _measure_reference_model(session, reference, dataset, progress, stop, coordinator.check_lock)
                except KeyboardInterrupt:
                    progress.say(
                        "all runs of the study are done: its report is written, without the reference codes and model "
                        "that are missing, which the same command adds"
                    )
                    _report(session, dataset)
                    raise

            unanswered = coordinator.run(measure_references, prepare_finals)
        except StudyStoppedError:
            report(bound.settings.tracking, bound.study_id, bound.settings.output)
            raise
        finally:
            session.tracker.close()
    return session, unanswered


def _prepare_evaluation(session: StudySession, dataset: Dataset) -> Callable[[], None]:
    """Open what measures final runs, so that no two workers prepare it at once.

    What is missing or is another than the study's fails before any work.

    Returns:
        What is left until there are final runs: training the network that scores samples, which takes seconds.
    """
    from bench.evaluation.quality import must_be_trained
    from bench.execution.same_data import open_outside_data, publish_extractor, publish_outside_data
    from bench.execution.worker import open_protocol

    def prepare() -> None:
        protocol = open_protocol(session, dataset)
        publish_outside_data(session, protocol.outside)
        publish_extractor(session, protocol.extractor)

    settings = session.bound.settings
    is_new = not session.record.finals.attempts()
    if is_new and must_be_trained(settings.extractor, dataset.tuning, settings.output / "extractors"):
        publish_outside_data(session, open_outside_data(session, dataset.info))
        return prepare
    prepare()
    return lambda: None


def _larger_budgets(wanted: BoundStudy, begun: BoundStudy) -> Iterator[str]:
    """Of which arms the study has had a larger budget already, which it keeps."""
    for arm in begun.study.arms:
        now, had = (bound.base(arm).training.images for bound in (wanted, begun))
        # Of whole intervals.
        if now < had - begun.earlier.get(arm.name, Earlier(0, 0)).interval:
            yield (
                f"{arm.name}: the study has had a budget of {had:,} images a trial, and keeps it; its report shows the "
                "smaller ones too"
            )


def _measure_reference_codes(
    session: StudySession, dataset: Dataset, progress: StudyProgress, stop: StopRequest
) -> None:
    """Measure the reference codes once a study: at its end, since only then the test split is opened."""
    from bench.evaluation.reference_codes import measure_reference_codes

    try:
        if session.parent.has_reference_codes(REFERENCE_CODES):
            return
        test = dataset.open_test().some(session.bound.settings.evaluation_images, dataset.info.kind)
        train, info = dataset.tuning.train.images, dataset.info
        codes = stop.run_interruptible(
            lambda: measure_reference_codes(test.images, train, info.grey_levels, info.kind, stop.check)
        )
        session.parent.log_reference_codes(codes)
    except TrackingError as error:
        progress.say(f"the reference codes are not logged, the same command does it: {error}")
    except MemoryError:
        progress.say(f"the reference codes are not measured: {len(dataset.tuning.train)} images do not fit into memory")


def _has_reference_model(session: StudySession) -> bool:
    """Whether the reference model is logged, as far as the tracking server can be asked."""
    try:
        return session.parent.has_reference_codes(REFERENCE_MODEL)
    except TrackingError:
        return False


def _measure_reference_model(
    session: StudySession,
    reference: BoundStudy | None,
    dataset: Dataset,
    progress: StudyProgress,
    stop: StopRequest,
    check_lock: Callable[[], None],
) -> None:
    """Train and measure the reference model once a study, at its end, as the reference codes.

    Args:
        session: the study.
        reference: that of the reference model alone; None where there is to be none.
        dataset: the images.
        progress: shows the progress.
        stop: a request to stop.
        check_lock: raises StudyStoppedError once another process has taken the study over.
    """
    from bench.execution.reference_model import measure_reference_model, remove_checkpoint

    try:
        if reference is None:
            # Of an earlier call that wanted one.
            remove_checkpoint(session, progress)
            if reason := too_large(session.bound):
                session.parent.log_reference_codes(ReferenceCodes([], {REFERENCE_MODEL_CODE: reason}))
            return
        if session.parent.has_reference_codes(REFERENCE_MODEL):
            progress.finish_run(RUN_KIND, timed=False)
            # Of a process that was killed before it could.
            remove_checkpoint(session, progress)
            return
        measure_reference_model(session, reference, dataset, progress, stop, check_lock)
    except (CheckpointError, TrackingError) as error:
        progress.say(f"the reference model is left to the same command run again: {error}")


def _executor(
    session: StudySession, dataset: Dataset, progress: StudyProgress, stop: StopRequest, can_restart: bool
) -> Executor:
    """What does the work of the study."""
    from bench.execution.executors.base import External, InProcess
    from bench.execution.executors.local import LocalWorkers, worker_command, worker_environment
    from bench.execution.executors.ray import RayTasks, Resources
    from bench.execution.worker import Worker

    settings = session.bound.settings
    if settings.workers == 0:
        return External()
    if settings.is_single_process:
        return InProcess(Worker(session, dataset, progress, stop, can_restart))
    if settings.engine == "ray":
        return RayTasks(session, Resources(settings.cpus_per_trial, settings.gpus_per_trial), settings.workers)
    command = worker_command(session.bound.study_id, settings.output)
    return LocalWorkers(settings.workers or 1, command, worker_environment(settings), settings.output / "logs")


def report(
    tracking: str, study_id: str, output: Path, equivalence: float | None = None, *, pdf: bool = True
) -> StudyOutcome:
    """Write the report of a logged study, finished or not, under the output folder, its figures as PDF too by default.

    Args:
        tracking: the tracking URI.
        study_id: the study.
        output: the output folder.
        equivalence: the least difference in test bits/dim that matters; by default the study's.
        pdf: whether to write figures as PDF too.

    Raises:
        TrackingError: the store cannot be reached, or does not hold the study.
        SettingsError: its identifier there is a path, or its folder a link, which would lead out of the output folder;
            or ``equivalence`` is out of range.
    """
    from bench.tracking.reading.reader import load_results

    folder = _report_folder(study_id, output)
    return _write(with_equivalence(load_results(tracking, study_id), equivalence), folder, pdf)


def with_equivalence(results: StudyResults, equivalence: float | None) -> StudyResults:
    """The results for a reader to whom another difference in test bits/dim matters; as they are if None.

    Raises:
        SettingsError: ``equivalence`` is out of range.
    """
    check_equivalence(equivalence)
    return results if equivalence is None else replace(results, equivalence=float(equivalence))


def check_equivalence(equivalence: float | None) -> None:
    """Check the least difference in test bits/dim that matters to a reader, if one is given.

    Raises:
        SettingsError: it is out of range.
    """
    if equivalence is not None:
        StudySettings.from_options({"equivalence": equivalence})


def _write(results: StudyResults, folder: Path, pdf: bool = True) -> StudyOutcome:
    """Write a report."""
    from reports.pages.write import contents_of, write_contents

    contents = contents_of(results, folder)
    page = write_contents(contents, folder, pdf=pdf).html
    found = contents.answer
    ranking = tuple(each.arm for each in found.ranking)
    return StudyOutcome(results, page, found.headline, found.details, ranking=ranking)


def _report_folder(study_id: str, output: Path) -> Path:
    """The folder of a study's report, which does not lead out of the output folder."""
    from bench.execution.removal import REPORT_FOLDERS, check_folder, check_identifier

    check_identifier(study_id)
    folder = output / "reports" / study_id
    check_folder(folder, *REPORT_FOLDERS)
    return folder


def keep_report(tracking: str, study_id: str, folder: Path, name: str) -> None:
    """Keep a folder of pages as an artifact of a study's run.

    Raises:
        TrackingError: the store cannot be reached, or does not hold the study.
    """
    from bench.tracking.reading.studies import find_study_run
    from bench.tracking.tracker import keep_folder

    keep_folder(tracking, find_study_run(tracking, study_id), folder, name)


def _study(given: Study | Arm | Sequence[Arm], name: str, question: str) -> Study:
    from pydantic import ValidationError

    if isinstance(given, Study):
        return given
    try:
        return Study(name=name, question=question, arms=(given,) if isinstance(given, Arm) else tuple(given))
    except ValidationError as error:
        raise SettingsError(format_validation_error(error)) from error


def _dataset(data: Data, output: Path, preparation: Preparation) -> str:
    """The name or path of the data; arrays are kept as a file of the output folder, where any worker finds them."""
    if isinstance(data, str | Path):
        return str(data)
    given = {str(name): array for name, array in data.items()} if isinstance(data, Mapping) else {"images": data}
    # What else a file holds, such as the names of its images, is no part of the data.
    arrays = {name: given[name] for name in given if name in DATA_NAMES} or given
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # Whatever is wrong with them is an error before they are written.
    check_arrays(ArraysInMemory("the arrays", arrays, "arrays"), preparation)
    return str(keep(arrays, output))
