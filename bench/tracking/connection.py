"""The way to a tracking store: what is wrong with it is told within seconds, and a wrong one is left as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from bench.core.databases import MLFLOW, check_database, is_database
from bench.core.errors import TrackingError
from bench.core.logs import shortened
from bench.core.redaction import redact
from bench.tracking import TIMEOUT, TIMEOUT_IS_THE_USERS

_NOBODY_S = "reparam-bench/an experiment that nobody made"
PATIENCE_SECONDS = 5
"""After so long a server is asked once again, then given up. MLflow itself would ask for minutes."""


def connect(uri: str, make: bool = False) -> MlflowClient:
    """A client of a tracking store that answers.

    Args:
        uri: any MLflow tracking URI.
        make: whether a database that holds nothing yet is made a store; otherwise it is refused.

    Raises:
        TrackingError: the store cannot be reached, or is of something else.
    """
    if is_database(uri) and not check_database(uri, MLFLOW, "tracking store") and not make:
        raise TrackingError(f"tracking store {redact(uri)} holds no study: nothing was ever logged to it")
    try:
        with _impatience():
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            # What answers yes to everything is none of MLflow's.
            if client.get_experiment_by_name(_NOBODY_S) is not None:
                raise TrackingError("it does not answer as a tracking server does")
    except Exception as error:  # Stores are plugins: each raises errors of its own kinds.
        raise TrackingError(f"tracking store {redact(uri)} cannot be reached: {_reason(error)}") from error
    return client


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Tell in one line where a store that answered stops answering while it is read.

    Raises:
        TrackingError: the store went away, or has lost what it should hold.
    """
    try:
        yield
    except (MlflowException, OSError, SQLAlchemyError) as error:
        raise TrackingError(f"tracking store {redact(uri)} cannot be read to the end: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What is at the bottom of an error: MLflow's own words tell first how often it asked, and of which address."""
    first = error
    while (deeper := first.__cause__ or first.__context__) is not None:
        first = deeper
    return (first.strerror or str(first)) if isinstance(first, OSError) else shortened(str(error))


@contextmanager
def _impatience() -> Iterator[None]:
    """Give up on a server that does not answer within seconds, unless the user's environment says otherwise."""
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
