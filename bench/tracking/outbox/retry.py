"""Which failures of a tracking store are transient."""

from __future__ import annotations

from mlflow.exceptions import MlflowException

from bench.tracking.outbox.inside import DeniedPathError, RefusedPathError

_TRANSIENT = {401, 403, 407, 408, 425, 429, 499}
"""Statuses 4xx that describe the state of the store or of the credentials, not the request."""
_NOT_IMPLEMENTED = 501


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later: the store is down, slow, overloaded, locked or denies access.

    Other errors are permanent. Errors of unknown origin count as transient, such as those of a cloud's library; errors
    of Python's own, such as ``KeyError``, are faults of this code and permanent, and so is a file that is missing,
    refused, a folder, or no YAML.
    """
    if isinstance(error, RefusedPathError):
        return isinstance(error, DeniedPathError)
    status = _status(error)
    if status is None:
        if isinstance(error, OSError):
            return not isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        return type(error).__module__.partition(".")[0] not in ("builtins", "yaml")
    return status in _TRANSIENT or (status >= 500 and status != _NOT_IMPLEMENTED)


def _status(error: Exception) -> int | None:
    """The HTTP status that an error stands for."""
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    # MLflow sends artifacts by requests, whose errors carry the response if there was one.
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
