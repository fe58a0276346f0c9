"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd


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


def remove_others(folders: list[Path], kept: set[Path]) -> None:
    """Remove what an earlier report has left in the folders that this one fills."""
    for folder in folders:
        for path in folder.glob("*.*"):
            if path not in kept:
                path.unlink()
