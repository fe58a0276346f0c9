"""Texts that are longer than a tag of MLflow may be."""

from __future__ import annotations

from collections.abc import Mapping

from bench.tracking.schema import LONGEST_TAG


def in_tags(name: str, text: str) -> dict[str, str]:
    """A text as a tag ``name``, and what is longer than a tag may be in ``name.2``, ``name.3`` and so on.

    A tag that is full is continued by the next one, so that those of an earlier, longer text are not read.
    """
    parts = [text[start : start + LONGEST_TAG] for start in range(0, len(text) + 1, LONGEST_TAG)]
    return {name if number == 1 else f"{name}.{number}": part for number, part in enumerate(parts, start=1)}


def of_tags(tags: Mapping[str, str], name: str) -> str:
    """The text that :func:`in_tags` made tags of.

    Raises:
        KeyError: there is no such tag, or one that continues it is missing.
    """
    parts = [tags[name]]
    while len(parts[-1]) == LONGEST_TAG:
        parts.append(tags[f"{name}.{len(parts) + 1}"])
    return "".join(parts)
