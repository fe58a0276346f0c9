"""Opens what lies below a folder, and nothing else, whoever else can write there.

A path that a record names, or a link in place of a file, could have the uploader publish any file of its user, or
overwrite one. So every part of a path is opened relative to the folder before it, without following links, and what is
open is then checked: nothing that is replaced between a check and its use leads outside.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path, PurePosixPath

from bench.core.errors import OutboxError
from bench.core.private_files import PRIVATE_FILE, PRIVATE_FOLDER

FILES = "files"
"""The folder of an outbox for the files that its records name."""
_ACCEPTED = "a file or folder of the outbox itself is accepted"
_DEEPEST = 16
"""More levels of folders than a packaged model has: each takes an open file while it is copied."""
_REASONS = {
    errno.ELOOP: f"is a symbolic link: {_ACCEPTED}",
    errno.ENOTDIR: f"is a symbolic link, or no folder: {_ACCEPTED}",
    errno.EISDIR: "is a folder: a file is accepted",
    errno.ENXIO: f"is a pipe or a socket: {_ACCEPTED}",
    errno.ENAMETOOLONG: f"has too long a name: {_ACCEPTED}",
}
"""Failures that the same attempt meets again, however often."""


class RefusedPathError(OutboxError):
    """Something in an outbox leads outside it, or is neither file nor folder."""


class DeniedPathError(RefusedPathError):
    """This user may not open something in an outbox now: with a new ticket of the file server, perhaps, it may."""


def check_path(path: str) -> str:
    """Check the path of a record's file, within its outbox.

    Raises:
        ValueError: it is absolute, or leads outside the outbox's folder of files.
    """
    if _parts(path)[0] != FILES:
        raise ValueError(f"{path!r} does not begin with {FILES}/: {_ACCEPTED}")
    return path


def check_name(name: str) -> str:
    """Check the name of an artifact.

    Raises:
        ValueError: it is empty or absolute, or has a part ``..``.
    """
    if _leads_outside(name):
        raise ValueError(f"{name!r} is no name of an artifact: a relative path without .. is accepted")
    return name


def open_inside(root: Path, path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file or folder below ``root``; a file that is created is this user's alone.

    Args:
        root: a folder, itself possibly a link.
        path: a path below it.
        flags: as ``os.open`` takes them. Truncate the file after it is open, since only then it is known.

    Returns:
        Its descriptor.

    Raises:
        RefusedPathError: it is neither a file nor a folder, or a part of its path is a symbolic link.
        DeniedPathError: this user may not open it now.
        OSError: it is not there, or cannot be opened now.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *above, name = _parts(path)
        for part in above:
            inner = _open(folder, part, os.O_RDONLY | os.O_DIRECTORY, root)
            os.close(folder)
            folder = inner
        return _open(folder, name, flags, root / Path(*above))
    except ValueError as error:
        raise RefusedPathError(str(error)) from error
    finally:
        os.close(folder)


def open_file(root: Path, path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file below ``root`` as :func:`open_inside` does.

    Raises:
        RefusedPathError: it is a folder, too.
    """
    opened = open_inside(root, path, flags)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise RefusedPathError(f"{root / path} {_REASONS[errno.EISDIR]}")


def copy_inside(root: Path, path: str, target: Path) -> Path:
    """Copy a file, or a folder with all that it holds, from below ``root``; returns the copy, in the folder ``target``.

    Raises:
        RefusedPathError: as in :func:`open_inside`, for anything that is copied.
        OSError: something cannot be read or written.
    """
    copy = target / PurePosixPath(path).name
    _copy(open_inside(root, path), root / path, copy)
    return copy


def _parts(path: str) -> tuple[str, ...]:
    if _leads_outside(path):
        raise ValueError(f"{path!r} is no path within the outbox: {_ACCEPTED}")
    return PurePosixPath(path).parts


def _leads_outside(path: str) -> bool:
    """Whether a path is none below a folder: it may be empty, too."""
    parts = PurePosixPath(path).parts
    return not parts or ".." in parts or path.startswith("/") or "\0" in path


def _open(folder: int, name: str, flags: int, place: Path) -> int:
    try:
        # Without waiting for the other end of a pipe.
        opened = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE, dir_fd=folder)
    except PermissionError as error:
        raise DeniedPathError(f"{place / name} may not be opened by this user now ({error.strerror})") from error
    except OSError as error:
        if error.errno in _REASONS:
            raise RefusedPathError(f"{place / name} {_REASONS[error.errno]}") from error
        raise
    status = os.fstat(opened)
    # A file may have further names (hard links): copies and backups make them, and the system lets nobody make one of
    # a file of others that they cannot write.
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
        return opened
    os.close(opened)
    raise RefusedPathError(f"{place / name} is a device or a pipe: {_ACCEPTED}")


def _copy(source: int, place: Path, copy: Path, depth: int = 0) -> None:
    """Copy what is open as ``source``, and close it."""
    if stat.S_ISREG(os.fstat(source).st_mode):
        with os.fdopen(source, "rb") as file, copy.open("xb") as written:
            shutil.copyfileobj(file, written)
        return
    try:
        if depth == _DEEPEST:
            raise RefusedPathError(f"{place} is below {_DEEPEST} folders of the copied one: fewer are accepted")
        copy.mkdir(PRIVATE_FOLDER)
        for name in os.listdir(source):
            _copy(_open(source, name, os.O_RDONLY, place), place / name, copy / name, depth + 1)
    finally:
        os.close(source)
