"""Locks between processes, by files that the system unlocks when a process dies, however it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from bench.core.errors import ReparamBenchError


class LockFileError(ReparamBenchError):
    """A lock's file cannot be opened."""


def acquire(lock: FileLock) -> None:
    """Wait for a lock and take it.

    Raises:
        LockFileError: its file cannot be opened.
    """
    try:
        lock.acquire()
    except OSError as error:
        raise lock_file_error(Path(lock.lock_file), error) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    Raises:
        LockFileError: the file cannot be opened.
    """
    lock = FileLock(path)
    acquire(lock)
    try:
        yield
    finally:
        lock.release()


def lock_file_error(path: Path, error: OSError) -> LockFileError:
    """The error of a lock file that cannot be opened; its message names the file and says what to do."""
    place = f"the lock file {path}"
    if path.is_symlink():
        return LockFileError(f"{place} is a symbolic link, and a file is accepted: remove it and run the command again")
    if path.is_dir():
        return LockFileError(f"{place} is a folder, and a file is accepted: remove it and run the command again")
    if not path.exists():
        return LockFileError(
            f"{place} cannot be created ({error.strerror}): give a folder in which this user may create files"
        )
    if path.stat().st_uid != os.getuid():
        return LockFileError(
            f"{place} belongs to another user (number {path.stat().st_uid}; {error.strerror}): have that user remove "
            "it while no process uses it, or give another folder"
        )
    return LockFileError(f"{place} cannot be opened ({error.strerror}): let this user write to it, or remove it")
