"""Foreign text and values as they may leave the machine: no credentials, no absolute paths, nothing but JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.redaction import redact
from reports.formatting import visible

if TYPE_CHECKING:
    from pydantic import JsonValue

_PART = r"[^\s/'\"<>|;,()\[\]{}]"
_PATHS = re.compile(
    r"\A/(?![/\s])[^\n'\"]*\Z"  # nothing but a path, which may have spaces
    r"|(?<=['\"])/(?![/\s])[^'\"\n]+(?=['\"])"  # between quotes, likewise
    rf"|(?<![\w/.%#<\]-])(?:file|sqlite(?:\+\w+)?):/+(?:{_PART}+/)*{_PART}*"
    rf"|(?<![\w/.%#<\]-])/(?!/)(?:{_PART}+/)+{_PART}+/?"
    r"|(?<!\w)(?:[A-Za-z]:\\|\\\\\w)[^\s'\"<>|;,()]*"
)


def portable(text: str) -> str:
    """Foreign text without credentials, with absolute paths cut to their last part and control characters spelt out."""
    return visible(_PATHS.sub(_last_part, redact(text)))


def _last_part(path: re.Match[str]) -> str:
    name = re.split(r"[/\\]", path[0].rstrip("/\\"))[-1]
    return f"…/{name}"


def text_or_none(value: object) -> str | None:
    """A text; None where it is missing or empty."""
    if value is None or (isinstance(value, Real) and math.isnan(float(value))) or value is pd.NaT:
        return None
    return portable(str(value)) or None


def finite(value: object) -> float | None:
    """A number; None where it is none, or not finite."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def whole(value: object) -> int | None:
    """A whole number; None where it is none."""
    number = finite(value)
    return int(number) if number is not None and number.is_integer() else None


def json_value(value: object) -> JsonValue:
    """A setting or parameter as JSON: what is missing or not finite is null, whole numbers are whole."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = finite(value)
        # A column of numbers of which some runs have none holds whole ones as real ones.
        return int(number) if number is not None and number.is_integer() and abs(number) < 1e15 else number
    if isinstance(value, Mapping):
        return {portable(str(name)): json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return portable(str(value))
