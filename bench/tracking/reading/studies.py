"""Finds studies in an MLflow tracking store, and lists them. Imports no framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlflow.tracking import MlflowClient

from bench.core.errors import TrackingError
from bench.core.redaction import redact
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.deletion import deleted_studies, only_run, was_deleted
from bench.tracking.reading.listed import ListedStudy
from bench.tracking.runs import experiment_ids, search_runs
from bench.tracking.views import VIEWS, view_address


def list_studies(uri: str) -> list[str]:
    """Identifiers of the studies in a store, newest first.

    Raises:
        TrackingError: the store cannot be reached.
    """
    return [each.study_id for each in describe_studies(uri)]


def describe_studies(uri: str) -> list[ListedStudy]:
    """The studies in a store, newest first.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        known = [(run.info, run.data.tags) for run in _parents(client, "")]
    return [
        ListedStudy.of(
            tags["reparam.study_id"],
            *(info.start_time, info.status),
            *(tags.get(f"reparam.{name}") for name in ("state", "study")),
        )
        for info, tags in known
        if "reparam.study_id" in tags
    ]


def newest_view(uri: str) -> str | None:
    """The address of the final runs of the newest study, relative to the UI's address; None without a study.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        newest = next(_parents(client, ""), None)
    return None if newest is None else view_address(newest.info.experiment_id, VIEWS[0])


def list_deleted(uri: str) -> list[str]:
    """Identifiers of the studies whose runs were deleted in a store, which keeps them until ``mlflow gc``.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return list(deleted_studies(client))


def find_study_run(uri: str, study_id: str) -> str:
    """MLflow's identifier of a study's parent run.

    Raises:
        TrackingError: the store cannot be reached, or holds no such study.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return str(parent_run(client, uri, study_id).info.run_id)


def parent_run(client: MlflowClient, uri: str, study_id: str) -> Any:
    """The run of a study, below which those of its models are.

    Raises:
        TrackingError: there is none, it was deleted, or there are several.
    """
    parents = list(_parents(client, f" AND tags.`reparam.study_id` = '{_quoted(study_id)}'"))
    if not parents:
        if (experiment_id := deleted_studies(client).get(study_id)) is not None:
            raise was_deleted(client, f"the runs of {study_id} were", experiment_id)
        known = list_studies(uri)
        raise TrackingError(
            f"no study {study_id!r} in {redact(uri)}: " + (f"it holds {', '.join(known)}" if known else "it holds none")
        )
    return only_run(client, study_id, parents)


def _quoted(text: str) -> str:
    """Text for a filter string: MLflow cannot escape quotes, and our identifiers have none."""
    return text.replace("'", "")


def _parents(client: MlflowClient, condition: str) -> Iterator[Any]:
    # In any experiment, as a person may have renamed it.
    found = search_runs(client, experiment_ids(client), f"tags.`reparam.role` = 'study'{condition}", order="DESC")
    yield from found
