"""Studies that are deleted in MLflow, by a person in its UI or by us: MLflow hides their runs, and keeps them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from mlflow.entities import LifecycleStage, ViewType
from mlflow.tracking import MlflowClient

from bench.core.errors import DisagreementError
from bench.core.redaction import redact
from bench.tracking.runs import PARENT_TAG, experiment_ids, search_runs
from bench.tracking.schema import KEY_TAG


def was_deleted(client: MlflowClient, what: str, experiment_id: str) -> DisagreementError:
    """The error that runs were deleted, with what brings them back.

    Args:
        client: client of the store.
        what: what was deleted, as the subject of a sentence.
        experiment_id: the experiment of the runs.
    """
    experiment = client.get_experiment(experiment_id)
    if experiment.lifecycle_stage == LifecycleStage.ACTIVE:
        how = "restore them in the MLflow UI (State: Deleted, select all, Restore)"
    else:
        how = (
            f"restore their experiment {experiment.name!r}, whose name stays taken "
            f"(`MLFLOW_TRACKING_URI={shlex.quote(redact(client.tracking_uri))} mlflow experiments restore "
            f"--experiment-id {experiment_id}`)"
        )
    return DisagreementError(
        f"{what} deleted in MLflow ({redact(client.tracking_uri)}): {how}, or have `reparam-bench delete` remove what "
        "is left of the study, after which the same command begins again"
    )


def only_run(client: MlflowClient, study_id: str, runs: Sequence[Any]) -> Any:
    """The one of a study's own runs that has model runs; a server that hung may have left another.

    Raises:
        DisagreementError: several have.
    """
    if len(runs) == 1:
        return runs[0]
    used = [
        run
        for run in runs
        if next(search_runs(client, [run.info.experiment_id], below(run.info.run_id)), None) is not None
    ]
    if len(used) > 1:
        names = ", ".join(run.info.run_id for run in used)
        raise DisagreementError(
            f"MLflow ({redact(client.tracking_uri)}) holds {len(used)} runs of study {study_id} ({names}), one of "
            "which may have been restored: delete all but one there, with the runs below them"
        )
    return (used or runs)[0]


def below(run_id: str) -> str:
    """The condition that a run is a child of another."""
    return f"tags.`{PARENT_TAG}` = '{run_id}'"


def deleted_children(client: MlflowClient, experiment_id: str, parent_id: str) -> dict[str, str]:
    """The deleted runs below a study's run: MLflow's identifiers by the runs' keys."""
    found = search_runs(client, [experiment_id], below(parent_id), view=ViewType.DELETED_ONLY)
    return {run.data.tags.get(KEY_TAG, run.info.run_id): run.info.run_id for run in found}


def deleted_studies(client: MlflowClient) -> dict[str, str]:
    """The studies whose own runs are deleted, newest first, and their experiments' identifiers."""
    ids = experiment_ids(client, ViewType.ALL)
    found = search_runs(client, ids, "tags.`reparam.role` = 'study'", "DESC", ViewType.DELETED_ONLY)
    studies: dict[str, str] = {}
    for run in found:
        if study_id := run.data.tags.get("reparam.study_id"):
            studies.setdefault(study_id, run.info.experiment_id)
    return studies


def all_runs(client: MlflowClient, study_id: str) -> Iterator[str]:
    """The identifiers of a study's runs, deleted ones among them."""
    condition = f"tags.`reparam.study_id` = '{study_id}'"
    for run in search_runs(client, experiment_ids(client, ViewType.ALL), condition, view=ViewType.ALL):
        yield run.info.run_id


def delete_runs(client: MlflowClient, study_id: str) -> int:
    """Delete all runs of a study, as the MLflow UI does; MLflow keeps them until ``mlflow gc``.

    An experiment of the study that was deleted as a whole is restored without its runs, as its name could not be used
    again.

    Returns:
        The number of deleted runs.
    """
    condition = f"tags.`reparam.study_id` = '{study_id}'"
    deleted = 0
    for run in list(search_runs(client, experiment_ids(client), condition)):
        client.delete_run(run.info.run_id)
        deleted += 1
    for experiment_id in experiment_ids(client, ViewType.DELETED_ONLY):
        if next(search_runs(client, [experiment_id], condition, view=ViewType.DELETED_ONLY), None) is not None:
            client.restore_experiment(experiment_id)
            for run in list(search_runs(client, [experiment_id], "")):
                client.delete_run(run.info.run_id)
    return deleted
