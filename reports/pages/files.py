"""The files of a report."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.core.files import replacing, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

FILES = "files.json"
"""Lists what a report wrote into folders in its own."""
_IN_A_FOLDER = re.compile(r"[a-z]+/(?!\.)[^/\\]+")


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame as CSV; returns ``path``."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8", errors="backslashreplace")
    return path


def remove_others(folder: Path, written: Iterable[Path]) -> None:
    """Remove what an earlier report wrote below its folder and this one did not; files of anybody else stay.

    Args:
        folder: the report's.
        written: what this report wrote into folders in it, which ``files.json`` lists for the next one.
    """
    now = sorted(path.relative_to(folder).as_posix() for path in written)
    for path in (folder / name for name in set(_listed(folder / FILES)) - set(now)):
        if path.is_file() or path.is_symlink():
            path.unlink()
    write_file(folder / FILES, json.dumps(now, indent=1) + "\n")


def _listed(manifest: Path) -> list[str]:
    """The files that an earlier report lists; none that lies elsewhere than a report's files do."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and _IN_A_FOLDER.fullmatch(name)]
