"""Reads thousands of runs and their learning curves from MLflow, the fastest way that each store offers.

MLflow's client builds an object for each tag, parameter and value, and requests histories run by run and metric by
metric: minutes for ten thousand runs. A few queries read a database instead; a tracking server has an endpoint for its
own user interface that returns the histories of a hundred runs. MLflow's client reads any other store.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from bench.core.errors import TrackingError
from bench.tracking.runs import PARENT_TAG, search_runs
from bench.tracking.schema import NOTE_TAG

ROWS_AT_ONCE = 20_000
RUNS_AT_ONCE = 500
"""Runs whose tags, parameters and values one query reads: databases limit its length."""
NEARLY_ALL = 0.9
"""If so large a share of the runs with a metric are wanted, the points of all are read and those of others left out."""
BULK_RUNS = 100
"""Most runs in one request for histories."""
BULK_POINTS = 25_000
"""Most points in one response; a server omits further ones silently."""
BULK_ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
REQUESTS_AT_ONCE = 4

_Points = Sequence[tuple[Any, ...]]
"""Points of a metric: the run, the step and the value of each."""


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
        return _frame(self._one_by_one(runs, key), runs)

    def _one_by_one(self, runs: Sequence[str], key: str) -> Iterator[_Points]:
        """The points of each run."""
        for run_id in runs:
            yield [(run_id, point.step, point.value) for point in self.client.get_metric_history(run_id, key)]


class ServerSource(ClientSource):
    """A tracking server: histories from its bulk endpoint, a few requests at a time."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        super().__init__(client)
        self.credentials = get_default_host_creds(uri)

    def history(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """See :meth:`ClientSource.history`."""
        batches = [runs[start : start + BULK_RUNS] for start in range(0, len(runs), BULK_RUNS)]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            return _frame(chain.from_iterable(pool.map(lambda batch: self._bulk(batch, key), batches)), runs)

    def _bulk(self, runs: Sequence[str], key: str) -> list[_Points]:
        """One request; repeats it in halves, down to single runs, if the response may be incomplete."""
        if len(runs) == 1:
            return list(self._one_by_one(runs, key))
        query = [*(("run_id", run_id) for run_id in runs), ("metric_key", key), ("max_results", str(BULK_POINTS))]
        answer = http_request(self.credentials, BULK_ENDPOINT, "GET", params=query)
        if answer.status_code == 404:  # the server runs without MLflow's user interface
            return list(self._one_by_one(runs, key))
        if not answer.ok:
            raise TrackingError(f"the tracking server answers a request for histories with status {answer.status_code}")
        points = answer.json()["metrics"]
        if len(points) >= BULK_POINTS:
            middle = len(runs) // 2
            return [*self._bulk(runs[:middle], key), *self._bulk(runs[middle:], key)]
        return [[(point["run_id"], point["step"], float(point["value"])) for point in points]]


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
                tags = _by_run(connection, _TAGS, ids, _TAGS.c.key != NOTE_TAG)  # a long text, which nothing here needs
                params, metrics = (_by_run(connection, table, ids) for table in (_PARAMS, _LATEST))
                for run_id, name, artifacts, start, end in rows:
                    known = (tags[run_id], params[run_id], metrics[run_id])
                    yield StoredRun(run_id, name, experiment_id, artifacts, start, end, *known)

    def history(self, parent_id: str, runs: Sequence[str], key: str) -> pd.DataFrame:
        """See :meth:`ClientSource.history`."""
        points = _METRICS.c
        # One query for all runs: in parts, SQLite reads the metric's whole index for each of them.
        query = (
            sa.select(points.run_uuid, points.step, _value(_METRICS))
            .where(points.key == key)
            .order_by(points.timestamp, points.step, points.run_uuid, points.value)  # as the primary key has them
        )
        # Where others' points are few, it is faster to leave them out below than to look up the run of each.
        if not self._are_nearly_all(runs, key):
            query = query.where(points.run_uuid.in_(_child_ids(parent_id)))
        text = str(query.compile(self.engine, compile_kwargs={"literal_binds": True}))
        # The driver's own cursor: for millions of rows, SQLAlchemy's row objects cost half as much as the query.
        with closing(self.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(text)
            return _frame(_batches(cursor), runs)

    def _are_nearly_all(self, runs: Sequence[str], key: str) -> bool:
        """Whether few other runs of the store have the metric."""
        query = sa.select(sa.func.count()).select_from(_LATEST).where(_LATEST.c.key == key)
        with self.engine.connect() as connection:
            having: int = connection.execute(query).scalar_one()
        return len(runs) >= NEARLY_ALL * having


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


def _by_run(
    connection: sa.Connection, table: sa.TableClause, ids: list[str], *conditions: sa.ColumnElement[bool]
) -> dict[str, dict[str, Any]]:
    """A table's keys and values for each run, of the rows that meet all conditions."""
    value, missing = (_value(table), math.nan) if "is_nan" in table.c else (table.c.value, None)
    found: dict[str, dict[str, Any]] = {run_id: {} for run_id in ids}
    # Most runs have the same long tags: of these runs each is held once.
    held: dict[str, str] = {}
    query = sa.select(table.c.run_uuid, table.c.key, value).where(table.c.run_uuid.in_(ids), *conditions)
    # All at once, as SQLAlchemy would fetch each row by itself.
    for run_id, key, content in connection.execute(query).all():
        if isinstance(content, str):
            content = held.setdefault(content, content)
        found[run_id][sys.intern(key)] = missing if content is None else content
    return found


def _batches(cursor: Any) -> Iterator[_Points]:
    """What a driver's cursor has found."""
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield rows


def _frame(batches: Iterable[_Points], runs: Sequence[str]) -> pd.DataFrame:
    """Points as columns; ``run_id`` as a category of ``runs``, since millions of copies would fill the memory."""
    # ``runs`` lacks runs that started after it was listed, and those of other studies.
    place = defaultdict(lambda: -1, {run_id: index for index, run_id in enumerate(runs)})
    # The empty ones say the types where there are no points.
    parts = [_arrays([], place), *(_arrays(rows, place) for rows in batches)]
    codes, steps, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    known = codes >= 0
    columns: dict[str, Any] = {
        "run_id": pd.Categorical.from_codes(codes[known], categories=pd.Index(list(runs))),
        "step": steps[known],
        "value": values[known],
    }
    return pd.DataFrame(columns)


def _arrays(rows: _Points, place: Mapping[str, int]) -> tuple[npt.NDArray[Any], ...]:
    """The columns of some points: the places of their runs, steps and values."""
    runs, steps, values = (map(itemgetter(column), rows) for column in range(3))
    return (
        np.fromiter(map(place.__getitem__, runs), np.int32, len(rows)),
        np.fromiter(steps, np.int64, len(rows)),
        np.array(list(values), np.float64),  # null is NaN
    )
