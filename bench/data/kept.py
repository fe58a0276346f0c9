"""Arrays that a study was given in Python, which it keeps as a file below its output folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.core.files import replacing
from bench.core.private_files import make_private
from bench.data.npz_archive import ArrayFile

_KEPT = re.compile(r"data/[0-9a-f]{12}/arrays\.npz$")
Arrays = Mapping[str, npt.NDArray[Any]]


def keep(arrays: Arrays, output: Path) -> Path:
    """Write contiguous arrays to a file that is named by what they hold, unless it is there; returns its path.

    Raises:
        DataError: it is there, and was altered.
    """
    digest = _digest(arrays, arrays.__getitem__)
    path = output / "data" / digest[:12] / "arrays.npz"
    if not path.is_file():
        make_private(path.parent)
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    elif not _holds(path, digest):
        raise DataError(
            f"{path}, which keeps the arrays that the study was given, was altered: remove it, and the same call "
            "writes it again"
        )
    return path


def find_kept(dataset: str, output: Path) -> str:
    """The path of kept arrays below an output folder that may have moved since; any other data set as it is.

    Args:
        dataset: the name or the path of a data set, as a study recorded it.
        output: the study's output folder.
    """
    found = _KEPT.search(Path(dataset).as_posix())
    here = output / found.group() if found else None
    return dataset if here is None or not here.is_file() else str(here)


def _holds(path: Path, digest: str) -> bool:
    try:
        with ArrayFile(path) as file:
            return _digest(file.names, lambda name: np.ascontiguousarray(file.read(name))) == digest
    except DataError:
        # Truncated, or no such file any more.
        return False


def _digest(names: Iterable[str], read: Callable[[str], npt.NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and values of contiguous arrays, each read when it is due."""
    digest = hashlib.sha256()
    for name in sorted(names):
        array = read(name)
        digest.update(f"{name} {array.dtype} {array.shape}\0".encode())
        # Bytes in place: of all images they would take the images' memory again.
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
