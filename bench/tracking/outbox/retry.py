"""Which failures of a tracking store pass by themselves."""

from __future__ import annotations

from mlflow.exceptions import MlflowException

_WAITING_HELPS = {401, 403, 407, 408, 425, 429, 499}
"""Statuses 4xx that tell of the store's or of the credentials' state, not of the request."""
_NOT_IMPLEMENTED = 501


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later: the store is down, slow, overloaded, locked or closed to us.

    Other errors are permanent. An error of neither MLflow nor HTTP is given the benefit
    of the doubt where it comes from the system or a library, such as a cloud's; an error of Python's own is a fault.
    """
    status = _status(error)
    if status is None:
        return isinstance(error, OSError) or type(error).__module__ != "builtins"
    return status in _WAITING_HELPS or (status >= 500 and status != _NOT_IMPLEMENTED)


def _status(error: Exception) -> int | None:
    """The HTTP status that an error stands for."""
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    # Artifacts are sent by requests, whose errors carry the answer if there was one.
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
