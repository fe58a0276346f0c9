"""Keras's folder of downloaded data sets, its lock, and the error when a download fails."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.environment import home
from bench.core.errors import DataError
from bench.core.file_locks import lock_file_error


def cache_folder() -> Path:
    """``$KERAS_HOME/datasets``, or ``~/.keras/datasets``."""
    keras = os.environ.get("KERAS_HOME")
    # Without a home, where Keras itself puts them.
    return (Path(keras).expanduser() if keras else (home() or Path("/tmp")) / ".keras") / "datasets"  # noqa: S108


@contextmanager
def download_lock() -> Iterator[None]:
    """Lock so that one process of this user at a time downloads and unpacks.

    Raises:
        LockFileError: neither place of its file can be used.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock = _open_lock()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_lock() -> int:
    """Open the lock's file: in the folder of temporary files, as network file systems often refuse locks.

    Where another user has put something of that name there, it is in Keras's folder.
    """
    name, flags = f"reparam-bench-data-{os.getuid()}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
    try:
        lock = os.open(Path(tempfile.gettempdir()) / name, flags | os.O_NOFOLLOW, 0o600)
    except OSError:
        lock = None
    if lock is not None:
        if os.fstat(lock).st_uid == os.getuid():
            return lock
        os.close(lock)
    path = cache_folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise lock_file_error(path, error) from error


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
