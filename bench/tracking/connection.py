"""Connects to a tracking store; fails within seconds and without side effects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from bench.core.databases import MLFLOW, check_database, is_database
from bench.core.errors import TrackingError
from bench.core.logs import shorten
from bench.core.redaction import redact
from bench.tracking import TIMEOUT, TIMEOUT_IS_THE_USERS

_NONEXISTENT = "reparam-bench/an experiment that does not exist"
PATIENCE_SECONDS = 5
"""Timeout of a request at connection, which is repeated once. MLflow itself would retry for minutes."""


def connect(uri: str) -> MlflowClient:
    """Connect to a tracking store.

    Args:
        uri: any MLflow tracking URI.

    Returns:
        A client of the store.

    Raises:
        TrackingError: the store cannot be reached, is a database that holds none, or is not MLflow's.
    """
    if is_database(uri) and not check_database(uri, MLFLOW, "tracking store"):
        raise TrackingError(f"tracking store {redact(uri)} holds no study: nothing was ever logged to it")
    try:
        with _short_timeouts():
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            # A server that finds a nonexistent experiment is not MLflow.
            if client.get_experiment_by_name(_NONEXISTENT) is not None:
                raise TrackingError("it does not answer as a tracking server does")
    except Exception as error:  # Stores are plugins, which raise errors of their own.
        raise TrackingError(f"tracking store {redact(uri)} cannot be reached: {_reason(error)}") from error
    return client


@contextmanager
def raise_tracking_errors(uri: str) -> Iterator[None]:
    """Turn errors while reading a store into one line that names it.

    Raises:
        TrackingError: the store became unreachable, or misses data that it should hold.
    """
    try:
        yield
    except (MlflowException, OSError, SQLAlchemyError) as error:
        raise TrackingError(f"tracking store {redact(uri)} cannot be read to the end: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The root cause of an error: MLflow's own message begins with retries and addresses."""
    first = error
    while (deeper := first.__cause__ or first.__context__) is not None:
        first = deeper
    return (first.strerror or str(first)) if isinstance(first, OSError) else shorten(str(error))


@contextmanager
def _short_timeouts() -> Iterator[None]:
    """Time out after seconds, unless the user's environment sets MLflow's timeouts."""
    before = dict(os.environ)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    if not TIMEOUT_IS_THE_USERS:
        os.environ[TIMEOUT] = str(PATIENCE_SECONDS)
    try:
        yield
    finally:
        for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", TIMEOUT):
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]
