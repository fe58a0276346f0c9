"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd

FILES = "files.json"
"""Lists what a report wrote into folders in its own."""
_IN_A_FOLDER = re.compile(r"[a-z]+/(?!\.)[^/\\]+")


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, its folder made if need be; returns ``path``."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame as CSV; returns ``path``."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8", errors="backslashreplace")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file, to be written, that becomes ``path`` if all goes well; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_others(folder: Path, written: Iterable[Path]) -> None:
    """Remove what an earlier report wrote below its folder and this one did not; files of anybody else stay.

    Args:
        folder: the report's.
        written: what this report wrote into folders in it, which ``files.json`` lists for the next one.
    """
    now = sorted(path.relative_to(folder).as_posix() for path in written)
    for name in set(_listed(folder / FILES)) - set(now):
        (folder / name).unlink(missing_ok=True)
    write_file(folder / FILES, json.dumps(now, indent=1) + "\n")


def _listed(manifest: Path) -> list[str]:
    """The files that an earlier report lists; none that lies elsewhere than a report's files do."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and _IN_A_FOLDER.fullmatch(name)]
