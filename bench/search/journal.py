"""Optuna's journal file, which survives what a crash, a full disk or a loss of power leaves at its end."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend

from bench.core.errors import TrackingError
from bench.core.file_locks import LockFileError, acquire
from bench.core.logs import JOURNAL_LOGGER

log = logging.getLogger(JOURNAL_LOGGER)

_FIELDS: dict[int, tuple[str, ...]] = {
    0: ("study_name", "directions"),
    1: ("study_id",),
    2: ("study_id", "user_attr"),
    3: ("study_id", "system_attr"),
    4: ("study_id", "datetime_start"),
    5: ("trial_id", "param_name", "param_value_internal", "distribution"),
    6: ("trial_id", "state", "values"),
    7: ("trial_id", "step", "intermediate_value"),
    8: ("trial_id", "user_attr"),
    9: ("trial_id", "system_attr"),
    10: (),
}
"""What each of Optuna's operations has, by its op_code (``optuna.storages.journal._storage.JournalOperation``)."""
_BEGIN = b'{"op_code"'
"""Begins each line that Optuna writes."""
SHOWN_BYTES = 40
"""Bytes of a damaged line that a message shows."""
_BLOCK = 4096
"""Bytes that are read at a time to find the last line."""


class DamagedJournalError(TrackingError):
    """A journal has a line that is no operation, and operations after it, or one that a later Optuna wrote."""


class _Lock:
    """A reentrant lock that the system releases when its process dies; Optuna's own would block others for 30 s."""

    def __init__(self, path: str) -> None:
        self._lock = FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        try:
            acquire(self._lock)
        except LockFileError as error:
            # A fault of the machine: the trial that reports is not at fault, and is repeated.
            raise TrackingError(f"the study's storage cannot be locked: {error}") from error
        return True

    def release(self) -> None:
        self._lock.release()


class Journal(JournalFileBackend):
    """Optuna's journal file: one operation per line, as JSON.

    Readers stop before lines at its end that are no operations. The next process to write cuts them off: a half-written
    operation is dropped, and all else is kept in a file beside the journal. What those lines held is lost in any case,
    and a study need not wait for a person to say so. A line that is no operation but has operations after it is an
    error: these build upon it, and without it would be of other trials. So is a first line that is none: the file is
    something else.

    Raises:
        TrackingError: its lock cannot be taken.
        DamagedJournalError: as above; reading and writing raise it.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._own_lock = _Lock(path)
        self._reported = -1
        self.line = 0
        """Number of the line that was read last, from 1."""
        # Optuna needs an object with these two methods; their base class is private.
        super().__init__(path, self._own_lock)  # type: ignore[arg-type]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The operations from a number on, as far as they are written when this begins."""
        offsets = self._log_number_offset
        number = log_number_from if log_number_from in offsets else 0
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offsets[number])
            while (line := file.readline()).endswith(b"\n") and file.tell() <= size:
                operation = self._operation(line, number + 1)
                if operation is None:
                    self._check_tail(offsets[number], number + 1)
                    return
                number += 1
                offsets[number] = file.tell()
                self.line = number
                if number > log_number_from:
                    yield operation
            # Another process may be writing the next operation; what cannot become one was not written whole.
            if file.tell() <= size and not _may_begin(line):
                self._check_tail(offsets[number], number + 1)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines; where this raises an error, some or all of them may be there."""
        self._own_lock.acquire()
        try:
            self._cut_tail()
            try:
                super().append_logs(logs)
            except OSError:
                # A whole line stays, written to the disk or not: other processes may have read it, and build upon it.
                self._cut_tail()
                raise
        finally:
            self._own_lock.release()

    def _operation(self, line: bytes, number: int) -> dict[str, Any] | None:
        """The operation of a line; None if it is none."""
        try:
            operation = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None
        if not isinstance(operation, dict) or not isinstance(code := operation.get("op_code"), int):
            return None
        if code not in _FIELDS:
            raise DamagedJournalError(
                f"study storage {self._path} cannot be opened: line {number} has op_code {code}, and this version of "
                f"Optuna knows 0 to {max(_FIELDS)}: use the version that wrote it"
            )
        return operation if operation.keys() >= {"worker_id", *_FIELDS[code]} else None

    def _check_tail(self, begin: int, number: int) -> None:
        """Check that no operations follow the line ``number``, which is none and begins at a byte.

        Reads the file again: another process may have cut off what this one has just read.
        """
        with self._path.open("rb") as file:
            file.seek(begin)
            line = file.readline()
            if not line or self._operation(line, number) is not None:
                return
            following = sum(self._operation(each, number + i) is not None for i, each in enumerate(file, 1))
        shown = repr(line[:SHOWN_BYTES]) + (" …" if len(line) > SHOWN_BYTES else "")
        if following or (number == 1 and line.strip(b"\0")):
            remedy = "restore the file from a copy, or give another with --storage"
            if number > 1:
                remedy += f", such as its first {number - 1} lines (`head -n {number - 1}`)"
            raise DamagedJournalError(
                f"study storage {self._path} cannot be opened: line {number}, {shown}, is no operation of an Optuna "
                f"journal, and {following} operations follow it; each line must be a JSON object with op_code, "
                f"worker_id and what that operation has: {remedy}"
            )
        if self._reported != begin:
            self._reported = begin
            log.warning("%s is damaged from line %d to its end, which is ignored: %s", self._path, number, shown)

    def _cut_tail(self) -> None:
        """Cut off what is no operation at the end; called with the lock held."""
        with self._path.open("rb+") as file:
            last = _last_line(file)
            if last and not last.endswith(b"\n") and _may_begin(last):
                file.truncate(file.seek(0, os.SEEK_END) - len(last))
                last = _last_line(file)
            if not last or (last.endswith(b"\n") and self._operation(last, self.line + 1) is not None):
                return
            file.seek(0)
            begin, number = 0, 1
            while (line := file.readline()).endswith(b"\n") and self._operation(line, number) is not None:
                begin, number = file.tell(), number + 1
            self._reported = begin
            self._check_tail(begin, number)
            file.seek(begin)
            damaged = file.read()
            kept = self._keep(damaged)
            file.truncate(begin)
        log.warning(
            "%s was damaged from line %d to its end: those %d bytes are now in %s, and what is before them counts",
            *(self._path, number, len(damaged), kept),
        )

    def _keep(self, content: bytes) -> Path:
        """Write what is cut off to a new file beside the journal."""
        prefix = f"{self._path.name}.damaged-{time.strftime('%Y-%m-%dT%H%M%S')}-"
        opened, name = tempfile.mkstemp(dir=self._path.parent, prefix=prefix)
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            Path(name).unlink()
            raise
        return Path(name)


def _may_begin(line: bytes) -> bool:
    """Whether a line without its end may be the beginning of an operation."""
    return line[: len(_BEGIN)] == _BEGIN[: len(line)]


def _last_line(file: BinaryIO) -> bytes:
    """The last line, with its end if it has one."""
    end = begin = file.seek(0, os.SEEK_END)
    last = b""
    while begin > 0:
        begin = max(0, begin - _BLOCK)
        file.seek(begin)
        last = file.read(end - begin)
        if (found := last.rfind(b"\n", 0, len(last) - 1)) >= 0:
            return last[found + 1 :]
    return last
