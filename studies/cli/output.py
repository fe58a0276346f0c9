"""Output that cannot be written is dropped: what a person sees is never worth a study."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class _Lasting:
    """A text stream whose writes never fail: after the first that does, everything is dropped.

    That is a pipe whose reader has ended, a terminal that is gone, or a full disk behind a redirection.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        # The stream still holds what it could not write, and Python writes that when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let nothing in the block fail because standard output or error cannot be written, or is closed."""
    before = sys.stdout, sys.stderr
    _open_standard_files()
    # Python has None in the place of one that was closed when it began.
    streams = [open(os.devnull, "w") if stream is None else stream for stream in before]  # noqa: PTH123, SIM115
    sys.stdout, sys.stderr = map(_Lasting, streams)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_standard_files() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: a database must not get one that libraries write to."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
