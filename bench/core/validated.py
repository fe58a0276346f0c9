"""Settings from a user's values, and what is wrong with them in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import SettingsError

LONGEST_VALUE = 100
"""Characters of a refused value that are shown."""

Settings = TypeVar("Settings", bound=BaseModel)


def validated(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings of a kind.

    Raises:
        SettingsError: a value is out of range; the message names the setting, the value and what is accepted.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(explained(error)) from error


def explained(error: ValidationError, whole: str = "") -> str:
    """What was refused, each with its name, its value and what is accepted.

    Args:
        error: what pydantic raised.
        whole: name of the value that was validated; without one, what is wrong with it as a whole has to name itself.
    """
    return "; ".join(_explained(problem, whole) for problem in error.errors())


def _explained(problem: Any, whole: str) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or whole
    message = re.sub(r"^Value error, ", "", problem["msg"])
    return f"{name}={_shown(problem['input'])}: {message}" if name else message


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
