"""Finds runs in a store, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

PARENT_TAG = "mlflow.parentRunId"


def experiment_ids(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """The identifiers of all experiments, or of deleted ones."""
    found: list[str] = []
    token = None
    while True:
        page = client.search_experiments(view, page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token
        if not token:
            return found


def search_runs(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    condition: str,
    order: str = "ASC",
    view: int = ViewType.ACTIVE_ONLY,
) -> Iterator[Any]:
    """MLflow's own run objects that meet a condition, ordered by start, page by page."""
    token = None
    while experiment_ids:
        page = client.search_runs(
            list(experiment_ids),
            condition,
            view,
            max_results=1000,
            order_by=[f"attributes.start_time {order}"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return
