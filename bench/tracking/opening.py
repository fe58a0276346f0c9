"""Finds the run of a study in a tracking store, or creates it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from mlflow.entities import LifecycleStage, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from bench.core.errors import DisagreementError
from bench.core.redaction import redact
from bench.tracking.deletion import only_run, was_deleted
from bench.tracking.descriptions import experiment_note
from bench.tracking.entries import as_parameters
from bench.tracking.location import database_file
from bench.tracking.outbox.retry import is_transient
from bench.tracking.parent_run import ParentRun, identity
from bench.tracking.runs import experiment_ids, search_runs
from bench.tracking.schema import HEADLINE, NOTE_TAG, StudyDescription
from bench.tracking.tracker import Tracker
from bench.tracking.views import saved_views

_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": f"{HEADLINE}/test",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
}
"""Marks the runs as training runs, so that MLflow does not have to guess, and the metric that decides."""


def open_study(
    tracker: Tracker,
    study: StudyDescription,
    known: tuple[str, str] | None = None,
    check: Callable[[ParentRun], None] = lambda parent: None,
) -> ParentRun:
    """Find or create the parent run of a study.

    Args:
        tracker: the store.
        study: what the run logs.
        known: :attr:`ParentRun.experiment_id` and :attr:`ParentRun.run_id` of a study of which runs were logged, so
            that its run must be there.
        check: called with a run that was found, before anything is written.

    Returns:
        The parent run.

    Raises:
        DisagreementError: the known run is not there or was deleted, or several claim to be it.
        TrackingError: the store cannot be reached, or rejects a request.
    """
    return tracker.request(lambda: _open_study(tracker, study, known, check))


def join_study(tracker: Tracker, study: StudyDescription, experiment_id: str, run_id: str) -> ParentRun:
    """The parent run of a study that another process opened; sends no request, so the store may be unreachable.

    Args:
        tracker: the store.
        study: the description that the other process opened it with.
        experiment_id: :attr:`ParentRun.experiment_id` of that run.
        run_id: its :attr:`ParentRun.run_id`.
    """
    return ParentRun(tracker, run_id, experiment_id, study)


def _open_study(
    tracker: Tracker, study: StudyDescription, known: tuple[str, str] | None, check: Callable[[ParentRun], None]
) -> ParentRun:
    run = _find_study(tracker, study.study_id, known)
    if run is None:
        experiment_id = _experiment(tracker, study)
        date = time.strftime("%Y-%m-%d", time.gmtime())
        run = tracker.client.create_run(
            experiment_id,
            run_name=f"{study.name} {study.dataset.name} {date}",
            tags=identity(study.study_id),
        )
        logged = {}
    else:
        experiment_id, logged = run.info.experiment_id, run.data.params
        check(ParentRun(tracker, run.info.run_id, experiment_id, study))
        tracker.client.update_run(run.info.run_id, status="RUNNING")
    run_id = run.info.run_id
    # MLflow's parameters cannot change, and an earlier process may have died before it wrote all of them.
    rows = [Param(name, value) for name, value in as_parameters(study.settings).items() if name not in logged]
    tracker.client.log_batch(run_id, params=rows)
    parent = ParentRun(tracker, run_id, experiment_id, study)
    parent.describe()
    return parent


def _find_study(tracker: Tracker, study_id: str, known: tuple[str, str] | None) -> Any:
    """The run of a study, in whatever experiment; None if it is to be created."""
    condition = f"tags.`reparam.study_id` = '{study_id}' AND tags.`reparam.role` = 'study'"
    found = list(search_runs(tracker.client, experiment_ids(tracker.client), condition))
    if found or known is None:
        return only_run(tracker.client, study_id, found) if found else None
    # A person deleted it, or edited its tags, which are then logged again.
    try:
        run = tracker.client.get_run(known[1])
    except MlflowException as error:
        if is_transient(error):
            raise
        raise DisagreementError(
            f"the storage holds trials of {study_id}, and tracking store {redact(tracker.uri)} lacks its run "
            f"{known[1]}: give the --tracking-uri that has it, or `reparam-bench delete {study_id}`, after which "
            "the same command begins again"
        ) from error
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise was_deleted(tracker.client, f"the runs of {study_id} were", run.info.experiment_id)
    return run


def _experiment(tracker: Tracker, study: StudyDescription) -> str:
    full_name = f"reparam-bench/{study.name}"
    experiment = tracker.client.get_experiment_by_name(full_name)
    if experiment is not None and experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise was_deleted(tracker.client, f"the runs of {full_name} were", experiment.experiment_id)
    if experiment is None:
        location = None
        if database_file(tracker.uri) is not None:
            folder = (tracker.artifacts / study.name).resolve()
            # So that it is found if the folder is moved before anything lies there.
            folder.mkdir(parents=True, exist_ok=True)
            location = folder.as_uri()
        try:
            experiment_id = cast(str, tracker.client.create_experiment(full_name, location, _EXPERIMENT_TAGS))
        except MlflowException as error:
            # Another study of this name began at the same time.
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            experiment_id = cast(str, tracker.client.get_experiment_by_name(full_name).experiment_id)
        known = {}
    else:
        experiment_id, known = cast(str, experiment.experiment_id), experiment.tags
    # Written once: later changes are a person's own.
    tags = {NOTE_TAG: experiment_note(study, experiment_id), **saved_views(study)}
    for name, value in tags.items():
        if name not in known:
            tracker.client.set_experiment_tag(experiment_id, name, value)
    return experiment_id
