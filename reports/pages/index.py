"""Several studies' answers on one page, each with the way to its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.files import write_file
from reports.pages.templates import html, own_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_index(answers: Mapping[str, str], folder: Path) -> Path:
    """Write ``index.html`` beside the studies' folders; its path.

    The studies are listed, not ranked: they may be of different data, budgets and bounds.

    Args:
        answers: each study's answer in a sentence, by its identifier, which is also its folder's name.
        folder: in which the studies' report folders lie.
    """
    page = html("index.html.j2", answers=answers, css=own_file("style.css"))
    return write_file(folder / "index.html", page)
