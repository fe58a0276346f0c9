"""The folder in which Keras keeps downloaded data sets, and what to say when a download fails."""

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
def one_at_a_time() -> Iterator[None]:
    """Lets one process of this user at a time download and unpack, so that parallel workers do not clash."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # In the folder for temporary files, because home folders on network file systems often refuse locks.
    lock = Path(tempfile.gettempdir()) / f"reparam-bench-data-{os.getuid()}.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download_failed(dataset: str, files: str, folder: Path, reason: Exception) -> DataError:
    """The error for a data set that is neither in the cache nor downloadable, with the ways out.

    Args:
        dataset: name of the data set.
        files: the files that are looked for, in words.
        folder: where they are looked for.
        reason: what failed.
    """
    return DataError(
        f"{dataset} could neither be read from the cache nor downloaded ({reason}). "
        f"Without a network, put {files} into {folder} (set KERAS_HOME for another place), "
        "or give the path to an .npz file with x_train and x_test instead of "
        f"'{dataset}'; 'digits' needs no download."
    )
