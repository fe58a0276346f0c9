"""A terminal of its own for each process of a study, which a test can take away."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from pathlib import Path


class Terminal:
    """A pseudo-terminal: a process takes :attr:`name` for its own, and this end reads what it prints."""

    def __init__(self) -> None:
        self._read, self._write = os.openpty()
        self.name = os.ttyname(self._write)
        os.set_blocking(self._read, False)
        self.is_open = True

    def drain(self) -> None:
        """Read what was printed: a process waits at a terminal that is full."""
        while self.is_open:
            try:
                if not os.read(self._read, 1 << 16):
                    return
            except OSError:  # nothing more now, or nobody at the other end
                return

    def close(self) -> None:
        """Take it away: its process is sent SIGHUP, and can write to it no more."""
        if self.is_open:
            self.is_open = False
            os.close(self._read)
            os.close(self._write)


def take(name: str) -> None:
    """Make a terminal this process's own, and print to it."""
    os.setsid()
    terminal = os.open(name, os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    _print_to(terminal)


def print_to_file(path: Path) -> None:
    """Print to the end of a file, as a redirection does."""
    _print_to(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))


def _print_to(number: int) -> None:
    os.dup2(number, 1)
    os.close(number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
