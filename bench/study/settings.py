"""The settings of a configuration that a study can sweep: name, values, default and meaning."""

from __future__ import annotations

import inspect
import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


@dataclass(frozen=True)
class Setting:
    """A setting.

    Attributes:
        name: its name, as a sweep has it.
        values: what it takes, in words.
        default: its default.
        meaning: what it does, from the configuration's docstring.
    """

    name: str
    values: str
    default: str
    meaning: str


def list_settings(config: type[BaseModel]) -> list[Setting]:
    """The settings of a model's configuration, or of the training, without ``family``, which is fixed."""
    meanings = _meanings(config)
    return [
        Setting(name, _values(field), _default(field), meanings.get(name, ""))
        for name, field in config.model_fields.items()
        if name != "family"
    ]


def _values(field: FieldInfo) -> str:
    return _describe(field.annotation, field.metadata)


def _describe(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe(arguments[0], [*metadata, *annotation.__metadata__])
    if origin is Literal:
        return ", ".join(map(_text, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(argument, []) for argument in arguments)
    if origin is tuple:
        return f"tuple, each {_describe(arguments[0], [])}"
    if annotation is bool:
        return "true, false"
    if annotation is type(None):
        return "none"
    kind = {int: "whole", float: "real"}.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return " ".join([kind, *_bounds(metadata)])


def _bounds(metadata: list[Any]) -> list[str]:
    found = []
    for constraint in metadata:
        for part in (constraint, *getattr(constraint, "metadata", ())):
            found += [text.format(f"{getattr(part, name):g}") for name, text in _BOUNDS.items() if hasattr(part, name)]
    return found


def _default(field: FieldInfo) -> str:
    return "none, it is required" if field.is_required() else _text(field.get_default(call_default_factory=True))


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"({', '.join(map(_text, value))})" if isinstance(value, tuple) else str(value)


def _meanings(config: type[BaseModel]) -> dict[str, str]:
    """The entries of ``Attributes:`` in the docstrings of a class and its bases, each on one line."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        _, _, attributes = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Attributes:\n")
        for entry in re.finditer(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            text = " ".join(entry[2].split()).replace("``", "")
            found[entry[1]] = re.sub(r":\w+:`([^`]*)`", r"\1", text)
    return found
