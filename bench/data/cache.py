"""Keras's folder of downloaded data sets, its lock, and the error when a download fails."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import DataError


def cache_folder() -> Path:
    """``$KERAS_HOME/datasets``, or ``~/.keras/datasets``."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


@contextmanager
def download_lock() -> Iterator[None]:
    """Lock so that one process of this user at a time downloads and unpacks."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # In the folder of temporary files, as network file systems, where homes may be, often refuse locks.
    lock = Path(tempfile.gettempdir()) / f"reparam-bench-data-{os.getuid()}.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download_error(dataset: str, files: str, folder: Path, reason: Exception) -> DataError:
    """The error of a data set that is neither cached nor downloadable; its message says what to do.

    Args:
        dataset: name of the data set.
        files: the files that are needed, in words.
        folder: where they are expected.
        reason: the error of the download.
    """
    return DataError(
        f"{dataset} could neither be read from the cache nor downloaded ({reason}). "
        f"Without a network, put {files} into {folder} (set KERAS_HOME for another place), "
        "or give the path to an .npz file with x_train and x_test instead of "
        f"'{dataset}'; 'digits' needs no download."
    )
