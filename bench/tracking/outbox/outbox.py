"""A run's outbox: keeps what the run logs on disk, in order, until the tracking store has it.

One folder ``OUTBOX/STUDY/KEY`` per run::

    records.jsonl    one record per line; an unfinished last line was cut off by a crash and does not count
    files/           files that records refer to: pictures, tables, the packaged model
    state.json       how far the outbox is uploaded
    rejected.jsonl   records that the store rejected, each with the reason
    lock             locked by the process that owns the outbox

The kernel releases the lock when its process dies, however it dies. Then any process may take the outbox over and
upload it. Records hold no credentials: :mod:`bench.tracking.entries` redacts them. An outbox is its user's alone, and
all of it is opened by :mod:`bench.tracking.outbox.inside`, which follows no links.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.errors import OutboxError
from bench.core.logs import shorten
from bench.core.private_files import PRIVATE_FOLDER, make_private
from bench.core.results import RunState
from bench.core.validation import format_validation_error
from bench.tracking.location import store_at
from bench.tracking.outbox.inside import FILES, RefusedPathError, copy_inside, open_file, open_inside
from bench.tracking.outbox.records import RECORD, Creation, End, Record
from bench.tracking.schema import KEY_TAG, LOST, NOTE_TAG, STATUS

RECORDS = "records.jsonl"
REJECTED = "rejected.jsonl"
STATE = "state.json"
_UNFIT_FOR_FOLDERS = re.compile(r"[^\w.-]+|^\.+")


class State(BaseModel):
    """How far an outbox is uploaded.

    Attributes:
        sent: bytes of its records that the store has.
        creating: whether a request to create the run or its logged model was sent and its outcome is unknown.
        doubtful: whether a process continued after such an unknown outcome, so that a second run may exist.
        run_id: MLflow's identifier of the run.
        model_id: MLflow's identifier of its logged model; empty in a store without logged models.
        ended: whether the run's end is uploaded.
    """

    model_config = ConfigDict(frozen=True)

    sent: int = Field(default=0, ge=0, le=2**63 - 1)
    creating: bool = False
    doubtful: bool = False
    run_id: str | None = None
    model_id: str | None = None
    ended: bool = False


class Outbox:
    """The outbox of one run, locked by this process.

    All its methods that write raise :class:`bench.core.errors.OutboxError` if the disk cannot be written.

    Attributes:
        folder: its folder.
        state: how far it is uploaded.
        taken_over: whether another process created it.
    """

    def __init__(self, folder: Path, lock: int, taken_over: bool) -> None:
        self.folder = folder
        self.taken_over = taken_over
        self.state = _read_state(folder)
        self._lock = lock
        appending = _open(folder, RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._records = os.fdopen(appending, "ab", buffering=0)
        self._numbers = itertools.count(1)

    @classmethod
    def create(cls, root: Path, study_id: str, creation: Creation) -> Outbox:
        """Create a new run's outbox.

        Args:
            root: folder of all outboxes.
            study_id: the study that the run is part of.
            creation: its first record, whose tags hold the run's key.
        """
        folder = root / _UNFIT_FOR_FOLDERS.sub("-", study_id) / creation.tags[KEY_TAG]
        with raise_outbox_errors(folder):
            make_private(root)
            make_private(folder.parent)
            folder.mkdir(PRIVATE_FOLDER)
            (folder / FILES).mkdir(PRIVATE_FOLDER)
            outbox = cls(folder, _lock(folder), taken_over=False)
        try:
            outbox.append(creation)
        except OutboxError:
            outbox.remove()
            raise
        return outbox

    @classmethod
    def take_over(cls, folder: Path, store: str) -> Outbox | None:
        """Lock an outbox whose process is gone.

        Args:
            folder: the outbox's folder.
            store: the tracking URI to upload to, without credentials.

        Returns:
            The outbox, or None if its process lives, it belongs to another store, or nothing of it is left to upload.

        Raises:
            RefusedPathError: it, or a file of its own, is a link; a folder is in place of a file; or it does not begin
                with a run as this version logs it.
        """
        # Before locking it, so that processes that upload to its own store do not find it locked.
        if _read_store(folder) not in (store, None):
            return None
        with raise_outbox_errors(folder):
            try:
                lock = _lock(folder)
            except (BlockingIOError, FileNotFoundError):
                return None
            # Until now another process may have locked it, uploaded and removed it.
            if not (folder / RECORDS).is_file():
                os.close(lock)
                return None
            try:
                outbox = cls(folder, lock, taken_over=True)
            except RefusedPathError:
                os.close(lock)
                raise
        # Its process died before the first line was whole, or could not remove the outbox at its end.
        if _read_store(folder) is None or outbox.state.ended:
            outbox.finish()
            return None
        return outbox

    @cached_property
    def creation(self) -> Creation:
        """The first record."""
        with _read(self.folder, RECORDS) as file:
            return Creation.model_validate_json(file.readline())

    def append(self, record: Record) -> None:
        """Append a record; the last one, the run's end, survives a loss of power."""
        line = record.model_dump_json().encode() + b"\n"
        with raise_outbox_errors(self.folder):
            written = self._records.write(line)
            if written != len(line):
                self._records.truncate(os.fstat(self._records.fileno()).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if isinstance(record, End):
                os.fsync(self._records.fileno())
                self._records.close()

    def add_file(self, name: str, content: bytes) -> str:
        """Write a file for a record to refer to; returns its path within the outbox."""
        path = self.new_path(name)
        with raise_outbox_errors(self.folder), _write(self.folder, path, os.O_EXCL) as file:
            file.write(content)
        return path

    def new_path(self, name: str) -> str:
        """An unused path within the outbox for a file or folder, in a new folder of its own."""
        folder = f"{FILES}/{next(self._numbers)}"
        with raise_outbox_errors(self.folder):
            (self.folder / folder).mkdir(PRIVATE_FOLDER)
        return f"{folder}/{name}"

    @contextmanager
    def copied(self, path: str) -> Iterator[Path]:
        """A copy of a record's file or folder, which nobody else replaces; it is removed after the block.

        Raises:
            RefusedPathError: it leads outside the outbox, or holds anything but files and folders.
            OSError: it is not there, or cannot be copied.
        """
        root = self.folder.parents[1]
        with tempfile.TemporaryDirectory(prefix="reparam-bench-", dir=_roomier(root)) as folder:
            yield copy_inside(root, f"{_within_root(self.folder)}/{path}", Path(folder))

    def unsent(self) -> Iterator[bytes]:
        """The whole lines that are not uploaded, as far as they are written when this begins."""
        with _read(self.folder, RECORDS) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(self.state.sent)
            while file.tell() < size and (line := file.readline()).endswith(b"\n"):
                yield line

    def num_unsent(self) -> int:
        """The number of whole lines that are not uploaded; 1 if they cannot be read, as something else lies there."""
        try:
            return 0 if self.state.ended else sum(1 for _ in self.unsent())
        except RefusedPathError:
            return 1

    def save(self, **changes: object) -> None:
        """Save changes of :attr:`state`."""
        self.state = self.state.model_copy(update=changes)
        path = self.folder / STATE
        temporary = path.with_suffix(".new")
        with raise_outbox_errors(self.folder):
            with _write(self.folder, temporary.name) as file:
                file.truncate()
                file.write(self.state.model_dump_json().encode())
            temporary.replace(path)

    def reject(self, line: bytes, reason: str) -> None:
        """Keep a line that the store rejected, with the reason."""
        rejection = {"reason": reason, "line": line.decode(errors="replace").rstrip("\n")}
        with raise_outbox_errors(self.folder), _write(self.folder, REJECTED, os.O_APPEND) as file:
            file.write(json.dumps(rejection).encode() + b"\n")

    def num_rejected(self) -> int:
        """The number of records that were rejected."""
        if not (self.folder / REJECTED).exists():
            return 0
        with _read(self.folder, REJECTED) as file:
            return sum(1 for _ in file)

    def end_if_lost(self) -> None:
        """Append the end that the run's process did not live to write: interrupted, at the time of its last write."""
        last, size = b"", 0
        with _read(self.folder, RECORDS) as file:
            at = int(os.fstat(file.fileno()).st_mtime * 1000)
            for line in file:
                if line.endswith(b"\n"):
                    last, size = line, size + len(line)
        if _is_end(last):
            return
        with raise_outbox_errors(self.folder):
            self._records.truncate(size)
        tags = {"reparam.state": RunState.INTERRUPTED, "reparam.reason": LOST, NOTE_TAG: self.creation.note_if_lost}
        self.append(End(at=at, status=STATUS[RunState.INTERRUPTED], tags=tags))

    def finish(self) -> None:
        """Release an outbox that is uploaded to its end; it stays on disk only if the store rejected some of it."""
        if (self.folder / REJECTED).exists():
            self.release()
        else:
            self.remove()

    def remove(self) -> None:
        """Release the outbox and remove it from the disk."""
        name, removed = self.folder.name, f".{self.folder.name}"
        with raise_outbox_errors(self.folder):
            study = open_inside(self.folder.parents[1], self.folder.parent.name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with raise_outbox_errors(self.folder):
                # In one step, so that no process takes over what is half removed.
                os.rename(name, removed, src_dir_fd=study, dst_dir_fd=study)
            # Network file systems do not remove open files.
            self.release()
            shutil.rmtree(removed, ignore_errors=True, dir_fd=study)
        finally:
            os.close(study)

    def release(self) -> None:
        """Unlock the outbox: any process may take it over."""
        self._records.close()
        os.close(self._lock)


def outboxes(root: Path) -> Iterator[Path]:
    """The folders of all outboxes; removes those that an earlier process removed halfway."""
    for half_removed in root.glob("*/.*"):
        # A study's folder that is a link leads to hidden folders of others.
        with suppress(RefusedPathError, FileNotFoundError):
            study = open_inside(root, half_removed.parent.name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # Another process may be removing it too.
                shutil.rmtree(half_removed.name, ignore_errors=True, dir_fd=study)
            finally:
                os.close(study)
    for records in root.glob(f"*/[!.]*/{RECORDS}"):
        yield records.parent


def remove_study(root: Path, study_id: str) -> int:
    """Remove what the runs of a study logged and was not uploaded, for whatever store; returns the number of runs.

    Raises:
        OutboxError: a living process logs to one, and none is removed.
    """
    folder = root / _UNFIT_FOR_FOLDERS.sub("-", study_id)
    found = sorted(records.parent for records in folder.glob(f"[!.]*/{RECORDS}"))
    with ExitStack() as locks:
        for each in found:
            try:
                locks.callback(os.close, _lock(each))
            except BlockingIOError as error:
                raise OutboxError(f"a process logs to {each}: stop it before the study is removed") from error
        with raise_outbox_errors(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
    return len(found)


def count_runs(root: Path) -> dict[str, int]:
    """The number of runs that are not uploaded, by store without credentials; includes those of living processes."""
    stores: Counter[str] = Counter()
    for folder in outboxes(root):
        # Of a refused outbox, its take-over says so.
        with suppress(RefusedPathError):
            store = _read_store(folder)
            if store is not None and not _read_state(folder).ended:
                stores[store] += 1
    return stores


def _roomier(root: Path) -> str:
    """Where to copy a file to: the folder of temporary files, or, if its disk has less room, that of all outboxes."""
    try:
        return max((tempfile.gettempdir(), str(root)), key=lambda folder: shutil.disk_usage(folder).free)
    except FileNotFoundError:
        # No folder of temporary files can be written, or all are full.
        return str(root)


def _within_root(folder: Path) -> str:
    """An outbox's folder relative to that of all outboxes."""
    return f"{folder.parent.name}/{folder.name}"


def _open(folder: Path, path: str, flags: int) -> int:
    """Open a file of an outbox; see :func:`~bench.tracking.outbox.inside.open_file`."""
    return open_file(folder.parents[1], f"{_within_root(folder)}/{path}", flags)


def _read(folder: Path, path: str) -> BinaryIO:
    return os.fdopen(_open(folder, path, os.O_RDONLY), "rb")


def _write(folder: Path, path: str, flags: int = 0) -> BinaryIO:
    return os.fdopen(_open(folder, path, os.O_WRONLY | os.O_CREAT | flags), "wb")


def _read_state(folder: Path) -> State:
    try:
        with _read(folder, STATE) as file:
            state = State.model_validate_json(file.read())
    except (FileNotFoundError, ValidationError):
        # Lost with the machine's power: starts from the beginning, since repeated uploads change nothing.
        return State()
    return state if _ends_a_line(folder, state.sent) else State()


def _ends_a_line(folder: Path, place: int) -> bool:
    """Whether a line of the records ends at a place, as wherever an upload stops."""
    if not place:
        return True
    with _read(folder, RECORDS) as file:
        if os.fstat(file.fileno()).st_size < place:
            return False
        file.seek(place - 1)
        return file.read(1) == b"\n"


def _is_end(line: bytes) -> bool:
    try:
        return isinstance(RECORD.validate_json(line), End)
    except ValidationError:
        return False


def _read_store(folder: Path) -> str | None:
    """The store of an outbox; None if its first line is unfinished or missing.

    Raises:
        RefusedPathError: its records are no file of its own, or do not begin with a run as this version logs it.
    """
    try:
        with _read(folder, RECORDS) as file:
            line = file.readline()
        return store_at(Creation.model_validate_json(line).store, folder.parents[1]) if line.endswith(b"\n") else None
    except FileNotFoundError:
        return None
    except ValidationError as error:
        reason = shorten(format_validation_error(error, "the first line"))
        raise RefusedPathError(
            f"{folder / RECORDS} does not begin with a run as this version logs it ({reason}): upload it with the "
            "version that wrote it, or remove its folder"
        ) from error


def _lock(folder: Path) -> int:
    """Lock an outbox and return the descriptor of its lock file; BlockingIOError if another process locks it."""
    descriptor = _open(folder, "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def raise_outbox_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the disk into one line that says what to do.

    Raises:
        RefusedPathError: there is a folder in place of a file.
        OutboxError: the block raised another ``OSError``.
    """
    try:
        yield
    except IsADirectoryError as error:
        raise RefusedPathError(f"{error.filename2 or error.filename} is a folder: a file is accepted") from error
    except OSError as error:
        raise OutboxError(
            f"what is logged cannot be kept in {folder} ({error.strerror}): make room on its disk, or give a folder "
            "that can be written with --output; the same command then continues"
        ) from error
