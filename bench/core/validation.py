"""Validates a user's settings, and says in one line what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import SettingsError

LONGEST_VALUE = 100
"""Characters of an invalid value that an error shows."""

Settings = TypeVar("Settings", bound=BaseModel)


def validate_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Validate settings by their pydantic model.

    Raises:
        SettingsError: a value is out of range; the message names the setting, the value and what is accepted.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(format_validation_error(error)) from error


def format_validation_error(error: ValidationError, whole: str = "") -> str:
    """Each invalid value in one line: its name, the value and what is accepted.

    Args:
        error: pydantic's error.
        whole: name of the validated value, for problems of the value as a whole.
    """
    return "; ".join(_format_problem(problem, whole) for problem in error.errors())


def _format_problem(problem: Any, whole: str) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or whole
    message = re.sub(r"^Value error, ", "", problem["msg"])
    return f"{name}={_truncate(problem['input'])}: {message}" if name else message


def _truncate(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
