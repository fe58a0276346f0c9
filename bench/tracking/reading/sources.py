"""Reads thousands of runs and their learning curves from MLflow, the fastest way that each store offers.

MLflow's client builds an object for each tag, parameter and value, and requests histories run by run and metric by
metric: minutes for ten thousand runs. A few queries read a database instead; a tracking server has an endpoint for its
own user interface that returns the histories of a hundred runs. MLflow's client reads any other store.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from bench.core.errors import TrackingError
from bench.tracking.runs import PARENT_TAG, search_runs

ROWS_AT_ONCE = 20_000
RUNS_AT_ONCE = 500
"""Runs whose tags, parameters and values one query reads: databases limit its length."""
BULK_RUNS = 100
"""Most runs in one request for histories."""
BULK_POINTS = 25_000
"""Most points in one response; a server omits further ones silently."""
BULK_ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
REQUESTS_AT_ONCE = 4


@dataclass(frozen=True)
class StoredRun:
    """A run in the store; times are in milliseconds since 1970, ``end_time`` is None while it is running.

    ``artifacts`` is the address of its artifacts according to the store.
    """

    run_id: str
    name: str
    experiment_id: str
    artifacts: str
    start_time: int
    end_time: int | None
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


class ClientSource:
    """Any store, through MLflow's client: one request per run and metric."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def children(self, experiment_id: str, parent_id: str) -> Iterator[StoredRun]:
        """The runs below a parent run, oldest first."""
        for run in search_runs(self.client, [experiment_id], f"tags.`{PARENT_TAG}` = '{parent_id}'"):
            info, data = run.info, run.data
            yield StoredRun(
                run_id=info.run_id,
                name=info.run_name,
                experiment_id=info.experiment_id,
                artifacts=info.artifact_uri,
                start_time=info.start_time,
                end_time=info.end_time,
                tags=data.tags,
                params=data.params,
                metrics=data.metrics,
            )

    def history(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """All points of one metric.

        Args:
            parent_id: the parent run.
            runs: those of its children that have the metric.
            key: the metric's key.

        Returns:
            ``run_id`` (categorical), ``step`` and ``value``, one row per point; points of the same run and step in the
            order of their logging.
        """
        histories = ((run_id, self.client.get_metric_history(run_id, key)) for run_id in runs)
        return _frame([(run_id, point.step, point.value) for run_id, points in histories for point in points], runs)


class ServerSource(ClientSource):
    """A tracking server: histories from its bulk endpoint, a few requests at a time."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        super().__init__(client)
        self.credentials = get_default_host_creds(uri)

    def history(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """See :meth:`ClientSource.history`."""
        batches = [runs[start : start + BULK_RUNS] for start in range(0, len(runs), BULK_RUNS)]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            frames = list(pool.map(lambda batch: self._bulk(parent_id, batch, key), batches))
        return _joined(frames, runs)

    def _bulk(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """One request; repeats it in halves, down to single runs, if the response may be incomplete."""
        if len(runs) == 1:
            return super().history(parent_id, runs, key)
        query = [*(("run_id", run_id) for run_id in runs), ("metric_key", key), ("max_results", str(BULK_POINTS))]
        answer = http_request(self.credentials, BULK_ENDPOINT, "GET", params=query)
        if answer.status_code == 404:  # the server runs without MLflow's user interface
            return super().history(parent_id, runs, key)
        if not answer.ok:
            raise TrackingError(f"the tracking server answers a request for histories with status {answer.status_code}")
        points = answer.json()["metrics"]
        if len(points) >= BULK_POINTS:
            middle = len(runs) // 2
            return _joined([self._bulk(parent_id, half, key) for half in (runs[:middle], runs[middle:])], runs)
        return _frame([(point["run_id"], point["step"], float(point["value"])) for point in points], runs)


class DatabaseSource(ClientSource):
    """A database that MLflow's client would open itself; only reads its tables."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        super().__init__(client)
        self.engine = create_sqlalchemy_engine(uri)

    def children(self, experiment_id: str, parent_id: str) -> Iterator[StoredRun]:
        """See :meth:`ClientSource.children`."""
        runs = _RUNS.c
        found = (
            sa.select(runs.run_uuid, runs.name, runs.artifact_uri, runs.start_time, runs.end_time)
            .where(
                runs.experiment_id == int(experiment_id),
                runs.lifecycle_stage == "active",
                runs.run_uuid.in_(_child_ids(parent_id)),
            )
            .order_by(runs.start_time, runs.run_uuid)
        )
        with self.engine.connect() as connection:
            for rows in connection.execute(found).partitions(RUNS_AT_ONCE):
                ids = [row.run_uuid for row in rows]
                tags, params, metrics = (_by_run(connection, table, ids) for table in (_TAGS, _PARAMS, _LATEST))
                for run_id, name, artifacts, start, end in rows:
                    known = (tags[run_id], params[run_id], metrics[run_id])
                    yield StoredRun(run_id, name, experiment_id, artifacts, start, end, *known)

    def history(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """See :meth:`ClientSource.history`."""
        points = _METRICS.c
        # One query for all runs: in parts, SQLite reads the metric's whole index for each of them.
        query = (
            sa.select(points.run_uuid, points.step, _value(_METRICS))
            .where(points.key == key, points.run_uuid.in_(_child_ids(parent_id)))
            .order_by(points.timestamp, points.step, points.run_uuid, points.value)  # as the primary key has them
        )
        text = str(query.compile(self.engine, compile_kwargs={"literal_binds": True}))
        frames = []
        # The driver's own cursor: for millions of rows, SQLAlchemy's row objects cost half as much as the query.
        with closing(self.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(text)
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                frames.append(_frame(rows, runs))
        return _joined(frames, runs)


def open_source(client: MlflowClient, uri: str) -> ClientSource:
    """Choose the fastest way to read a store.

    Args:
        client: connected to the store.
        uri: the store's tracking URI.
    """
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in DATABASE_ENGINES:
        return DatabaseSource(client, uri)
    if scheme in ("http", "https"):
        return ServerSource(client, uri)
    return ClientSource(client)


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, sa.Boolean if column == "is_nan" else None) for column in columns))


_RUNS = _table("runs", "run_uuid", "name", "experiment_id", "artifact_uri", "lifecycle_stage", "start_time", "end_time")
_TAGS = _table("tags", "run_uuid", "key", "value")
_PARAMS = _table("params", "run_uuid", "key", "value")
_LATEST = _table("latest_metrics", "run_uuid", "key", "value", "is_nan")
_METRICS = _table("metrics", "run_uuid", "key", "step", "value", "is_nan", "timestamp")
"""MLflow's tables, with the columns that this module reads."""


def _value(table: sa.TableClause) -> sa.ColumnElement[Any]:
    """A metric's value, null if it is NaN, which MLflow stores as 0 with a flag."""
    return sa.case((table.c.is_nan == sa.true(), sa.null()), else_=table.c.value)


def _child_ids(parent_id: str) -> sa.Select[Any]:
    return sa.select(_TAGS.c.run_uuid).where(_TAGS.c.key == PARENT_TAG, _TAGS.c.value == parent_id)


def _by_run(connection: sa.Connection, table: sa.TableClause, ids: list[str]) -> dict[str, dict[str, Any]]:
    """A table's keys and values for each run."""
    value, missing = (_value(table), math.nan) if "is_nan" in table.c else (table.c.value, None)
    found: dict[str, dict[str, Any]] = {run_id: {} for run_id in ids}
    query = sa.select(table.c.run_uuid, table.c.key, value).where(table.c.run_uuid.in_(ids))
    for run_id, key, content in connection.execute(query):
        found[run_id][sys.intern(key)] = missing if content is None else content
    return found


def _frame(rows: Sequence[tuple[Any, ...]], runs: Sequence[str]) -> pd.DataFrame:
    """Points as columns; ``run_id`` as a category of ``runs``, since millions of copies would fill the memory."""
    # ``runs`` lacks runs that started after it was listed.
    place = defaultdict(lambda: -1, {run_id: index for index, run_id in enumerate(runs)})
    codes = np.fromiter((place[row[0]] for row in rows), np.int32, len(rows))
    columns: dict[str, Any] = {
        "run_id": pd.Categorical.from_codes(codes, categories=pd.Index(list(runs))),
        "step": np.fromiter((row[1] for row in rows), np.int64, len(rows)),
        "value": np.array([row[2] for row in rows], np.float64),  # null is NaN
    }
    return pd.DataFrame(columns)[codes >= 0]


def _joined(frames: list[pd.DataFrame], runs: Sequence[str]) -> pd.DataFrame:
    dtype = pd.CategoricalDtype(list(runs))
    aligned = [frame.assign(run_id=frame["run_id"].astype(dtype)) for frame in frames]
    return pd.concat(aligned, ignore_index=True) if aligned else _frame([], runs)
