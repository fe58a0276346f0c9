"""The unit of a study's likelihoods: texts are written for bits/dim, and read in the unit that its data have."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from bench.core.sequences import BITS_PER_DIM, unit_of

Content = TypeVar("Content")
VERBATIM = "verbatim"
"""In the metadata of a dataclass's field: it holds data, in which nothing is replaced."""


def in_unit_of(dataset: dict[str, Any], content: Content) -> Content:
    """A page, a figure or whatever else holds texts, in the unit of the data: bits/character of text, say.

    A dimension of text is a character or a byte, one of sound a sample: the numbers are the same.
    """
    unit = unit_of(str(dataset.get("encoding", "")))
    return content if unit == BITS_PER_DIM else _in_unit(content, unit)


def _in_unit(content: Any, unit: str) -> Any:
    if isinstance(content, str):
        return content.replace(BITS_PER_DIM, unit).replace(BITS_PER_DIM.capitalize(), unit.capitalize())
    if isinstance(content, tuple) and hasattr(content, "_fields"):
        return type(content)(*(_in_unit(each, unit) for each in content))
    if isinstance(content, list | tuple):
        return type(content)(_in_unit(each, unit) for each in content)
    if isinstance(content, dict):
        return {_in_unit(name, unit): _in_unit(value, unit) for name, value in content.items()}
    if is_dataclass(content) and not isinstance(content, type):
        known = {each.name: getattr(content, each.name) for each in fields(content) if each.init}
        verbatim = {each.name for each in fields(content) if each.metadata.get(VERBATIM)}
        changed = {name: value if name in verbatim else _in_unit(value, unit) for name, value in known.items()}
        return replace(content, **changed)
    return content
