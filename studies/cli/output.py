"""Output that cannot be written is dropped: what a person sees is never worth a study."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

INCOMPLETE = 3
"""Exit status of a command that did a part of what was asked for, or none of it, and has said what it left and why."""


class _Lasting:
    """A text stream whose writes never fail: after the first that does, everything is dropped.

    That is a pipe whose reader has ended, a terminal that is gone, or a full disk behind a redirection.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.error = error
        # The stream still holds what it could not write, and Python writes that when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let nothing in the block fail because standard output or error cannot be written, or is closed.

    Raises:
        SystemExit: with status 1 where the block succeeded and its output is lost, as on a full disk, unless whoever
            read it has gone.
    """
    before = sys.stdout, sys.stderr
    _open_standard_files()
    # Python has None in the place of one that was closed when it began.
    streams = [open(os.devnull, "w") if stream is None else stream for stream in before]  # noqa: PTH123, SIM115
    for stream in streams:
        # A terminal of few characters, as under LC_ALL=C, gets the others as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    output, errors = map(_Lasting, streams)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        with _leave_on_success():
            yield
        output.flush()
        if output.error is not None and output.error.errno not in (errno.EPIPE, errno.EIO):
            print(f"error: standard output cannot be written ({output.error.strerror})", file=sys.stderr)
            raise SystemExit(1)
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def _leave_on_success() -> Iterator[None]:
    """Leave the block where it exits with status 0."""
    try:
        yield
    except SystemExit as ended:
        if ended.code:
            raise


def _open_standard_files() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: a database must not get one that libraries write to."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
