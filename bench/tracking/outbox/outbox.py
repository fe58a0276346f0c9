"""A run's outbox: what it logs, on disk and in order, until the tracking store has it.

A folder ``OUTBOX/STUDY/KEY`` for each run::

    records.jsonl    what was logged, a line each; a line without an end is one that was cut off, and counts for nothing
    files/           what lines refer to: pictures, tables, the packaged model
    state.json       how far it is uploaded
    refused.jsonl    lines that the store refused, with its reasons
    lock             locked by the process that owns the run, as long as that lives

The kernel frees the lock of a process that dies, however it dies. Then any process may take the outbox and upload it.
No line holds credentials: what may hold some is redacted before it is a line.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import OutboxError
from bench.core.results import RunState
from bench.tracking.outbox.records import Creation, End, Record
from bench.tracking.schema import KEY_TAG, LOST, NOTE_TAG, STATUS

RECORDS = "records.jsonl"
FILES = "files"
REFUSED = "refused.jsonl"
STATE = "state.json"
BYTES_AT_ONCE = 1 << 20
"""About as much is read of an outbox at once: after days without a server one may be large."""
_UNFIT_FOR_FOLDERS = re.compile(r"[^\w.-]+|^\.+")


class State(BaseModel):
    """How far an outbox is uploaded.

    Attributes:
        sent: bytes of its lines that the store has.
        creating: what was about to be created when this was written, and may or may not have been: the run, or its
            logged model.
        doubtful: whether the run was created again after an attempt whose outcome is unknown.
        run_id: MLflow's identifier of the run.
        model_id: that of its logged model; empty in a store that knows none.
        uploaded: whether the files of its logged model are uploaded.
        ended: whether the run's end is uploaded.
    """

    model_config = ConfigDict(frozen=True)

    sent: int = 0
    creating: str = ""
    doubtful: bool = False
    run_id: str | None = None
    model_id: str | None = None
    uploaded: bool = False
    ended: bool = False


class Refusal(BaseModel):
    """A line of ``refused.jsonl``: a line of the outbox that the store refused, and why."""

    reason: str
    line: str


class Outbox:
    """The outbox of one run, which this process holds: its owner's, or one that it took over.

    Attributes:
        folder: where it lies.
        state: how far it is uploaded.
        taken: whether another process began it.
    """

    def __init__(self, folder: Path, lock: int, taken: bool) -> None:
        self.folder = folder
        self.taken = taken
        self._lock = lock
        self._entries = (folder / RECORDS).open("ab", buffering=0)
        self._numbers = itertools.count(1)
        self.state = _state_of(folder)

    @classmethod
    def begin(cls, root: Path, study_id: str, creation: Creation) -> Outbox:
        """A new run's outbox.

        Args:
            root: folder of all outboxes.
            study_id: the study that the run is part of.
            creation: its first line, whose tags hold the run's key.

        Raises:
            OutboxError: it cannot be written.
        """
        folder = root / _UNFIT_FOR_FOLDERS.sub("-", study_id) / creation.tags[KEY_TAG]
        with writing(folder):
            (folder / FILES).mkdir(parents=True)
            lock = _locked(folder)
            if lock is None:
                raise OSError(errno.EDEADLK, "it is another process's")
            outbox = cls(folder, lock, taken=False)
        try:
            outbox.append(creation)
        except OutboxError:
            outbox.remove()
            raise
        return outbox

    @classmethod
    def take(cls, folder: Path, store: str) -> Outbox | None:
        """The outbox of a run whose process is gone; None if it is not, or the run is another store's or uploaded.

        What is uploaded and still there is removed.

        Args:
            folder: the outbox's.
            store: the tracking URI to upload to, without credentials.

        Raises:
            OutboxError: it cannot be written.
        """
        # Looked at first, so that those who upload to other stores do not find it locked.
        if _store_of(folder) not in (store, None):
            return None
        with writing(folder):
            try:
                lock = _locked(folder)
            except FileNotFoundError:  # just uploaded by another process
                return None
            if lock is None:
                return None
            # Only now is it certain: until here another process may have held it, and uploaded it.
            if not (folder / RECORDS).is_file():
                os.close(lock)
                return None
            outbox = cls(folder, lock, taken=True)
        if _store_of(folder) is None:
            # Its process died before the first line was whole: nothing was logged.
            outbox.remove()
            return None
        if outbox.state.ended:
            # Its process could not remove it: the folder was not writable just then.
            outbox.finish()
            return None
        return outbox

    @cached_property
    def creation(self) -> Creation:
        """The first line."""
        with (self.folder / RECORDS).open("rb") as file:
            return Creation.model_validate_json(file.readline())

    def append(self, record: Record, durable: bool = False) -> None:
        """Add a line.

        Args:
            record: the line.
            durable: whether it must outlive a loss of power.

        Raises:
            OutboxError: it cannot be written; the outbox is then as it was.
        """
        line = record.model_dump_json().encode() + b"\n"
        with writing(self.folder):
            written = self._entries.write(line)
            if written != len(line):
                self._entries.truncate(os.fstat(self._entries.fileno()).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(self._entries.fileno())
        if isinstance(record, End):
            # Nothing comes after it.
            self._entries.close()

    def keep(self, name: str, content: bytes) -> str:
        """Keep a file that a line will refer to; its path within the outbox.

        Raises:
            OutboxError: it cannot be written.
        """
        path = self.new_path(name)
        with writing(self.folder):
            (self.folder / path).write_bytes(content)
        return path

    def new_path(self, name: str) -> str:
        """A path within the outbox, in a folder of its own, for a file or folder that a line will refer to.

        Raises:
            OutboxError: it cannot be written.
        """
        folder = f"{FILES}/{next(self._numbers)}"
        with writing(self.folder):
            (self.folder / folder).mkdir()
        return f"{folder}/{name}"

    def lines(self) -> list[bytes]:
        """The next whole lines that are not uploaded, as many as are read at once."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self.state.sent)
            lines = file.readlines(BYTES_AT_ONCE)
        return [line for line in lines if line.endswith(b"\n")]

    def size(self) -> int:
        """Bytes of all lines."""
        return (self.folder / RECORDS).stat().st_size

    def waiting(self) -> int:
        """How many whole lines are not uploaded."""
        if self.state.ended:
            return 0
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self.state.sent)
            return sum(line.endswith(b"\n") for line in file)

    def save(self, **changes: object) -> None:
        """Remember how far it is uploaded.

        Raises:
            OutboxError: it cannot be written.
        """
        self.state = self.state.model_copy(update=changes)
        path = self.folder / STATE
        temporary = path.with_suffix(".new")
        with writing(self.folder):
            temporary.write_text(self.state.model_dump_json())
            temporary.replace(path)

    def reject(self, line: bytes, reason: str) -> None:
        """Keep a line that the store refused.

        Raises:
            OutboxError: it cannot be written.
        """
        rejection = Refusal(reason=reason, line=line.decode(errors="replace").rstrip("\n"))
        with writing(self.folder), (self.folder / REFUSED).open("a", encoding="utf-8") as file:
            file.write(rejection.model_dump_json() + "\n")

    def end_if_lost(self) -> None:
        """Add the end that the run's process did not live to write: interrupted, when it last wrote something.

        Raises:
            OutboxError: it cannot be written.
        """
        path = self.folder / RECORDS
        last, size = b"", 0
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    last, size = line, size + len(line)
        if last.startswith(b'{"kind":"end"'):
            return
        at = int(path.stat().st_mtime * 1000)
        with writing(self.folder):
            self._entries.truncate(size)
        tags = {"reparam.state": RunState.INTERRUPTED, "reparam.reason": LOST, NOTE_TAG: self.creation.note_if_lost}
        self.append(End(at=at, status=STATUS[RunState.INTERRUPTED], tags=tags), durable=True)

    def finish(self) -> None:
        """Let go of an outbox that is uploaded to its end; it stays on the disk if the store refused something of it.

        Raises:
            OutboxError: it cannot be removed.
        """
        if (self.folder / REFUSED).exists():
            self.release()
        else:
            self.remove()

    def remove(self) -> None:
        """Remove it from the disk, and let go of it.

        Raises:
            OutboxError: it cannot be removed.
        """
        gone = self.folder.with_name(f".{self.folder.name}")
        with writing(self.folder):
            # In one step, so that no process takes what is half removed.
            self.folder.rename(gone)
        # Before the files go, for network file systems keep files that are open.
        self.release()
        shutil.rmtree(gone, ignore_errors=True)

    def release(self) -> None:
        """Let go of it: any process may take it."""
        self._entries.close()
        os.close(self._lock)


def outboxes(root: Path) -> Iterator[Path]:
    """The folders of all outboxes; what an earlier process could not remove is removed."""
    for half_removed in root.glob("*/.*"):
        # Another process may be at the same.
        shutil.rmtree(half_removed, ignore_errors=True)
    for records in root.glob(f"*/[!.]*/{RECORDS}"):
        yield records.parent


def stores(root: Path) -> dict[str, int]:
    """How many runs wait by the store that they wait for, without its credentials; those of living processes too."""
    return Counter(
        store for folder in outboxes(root) if (store := _store_of(folder)) is not None and not _state_of(folder).ended
    )


def _state_of(folder: Path) -> State:
    try:
        return State.model_validate_json((folder / STATE).read_bytes())
    except (FileNotFoundError, ValidationError):
        # None yet, or lost with the machine's power: from the beginning, for what is sent again changes nothing.
        return State()


def _store_of(folder: Path) -> str | None:
    """The store that an outbox is for; None if its first line is not whole or gone; "?" if that cannot be read."""
    try:
        with (folder / RECORDS).open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):
        return None
    try:
        return Creation.model_validate_json(line).store
    except ValidationError:  # another version's
        return "?"


def _locked(folder: Path) -> int | None:
    """The descriptor of an outbox's lock, held; None if another process holds it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tells in one line what goes wrong on the disk.

    Raises:
        OutboxError: the block raised an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise OutboxError(
            f"what is logged cannot be kept in {folder} ({error.strerror}): make room on its disk, or give a folder "
            "that can be written with --output; the same command then continues"
        ) from error
