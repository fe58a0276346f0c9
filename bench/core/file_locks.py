"""Locks between processes, by files that the system unlocks when a process dies, however it dies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from bench.core.errors import ReparamBenchError


class LockFileError(ReparamBenchError):
    """A lock cannot be taken."""


def acquire(lock: FileLock) -> None:
    """Wait for a lock and take it.

    Raises:
        LockFileError: its file cannot be opened or locked.
    """
    try:
        lock.acquire()
    except OSError as error:
        raise lock_file_error(Path(lock.lock_file), error) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    Raises:
        LockFileError: the file cannot be opened or locked.
    """
    lock = FileLock(path)
    acquire(lock)
    try:
        yield
    finally:
        lock.release()


def lock_file_error(path: Path, error: OSError) -> LockFileError:
    """The error of a lock that cannot be taken; its message names the file and the remedy, where there is one.

    It never advises to remove a file of a lock, which another process may hold: two would then hold it.
    """
    place = f"the lock file {path}"
    try:
        status = path.lstat()
    except OSError:
        # It is not there, or its folder may not be entered.
        status = None
    if status is not None and stat.S_ISLNK(status.st_mode):
        return LockFileError(f"{place} is a symbolic link, and a file is accepted: remove it and run the command again")
    if status is not None and stat.S_ISDIR(status.st_mode):
        return LockFileError(f"{place} is a folder, and a file is accepted: remove it and run the command again")
    if not isinstance(error, PermissionError):
        return LockFileError(f"{place} cannot be used ({error.strerror})")
    if status is None:
        return LockFileError(
            f"{place} cannot be created ({error.strerror}): give a folder in which this user may create files"
        )
    whose = "" if status.st_uid == os.getuid() else f", which belongs to another user (number {status.st_uid}),"
    return LockFileError(
        f"{place}{whose} cannot be opened ({error.strerror}): let this user write to it, or give another folder"
    )
