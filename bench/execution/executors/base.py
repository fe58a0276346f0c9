"""What the coordinator asks of those that do the work."""

from __future__ import annotations

import time
from typing import Protocol

from bench.execution.worker import IDLE_SECONDS, Worker


class Executor(Protocol):
    """Who does the work."""

    def poll(self) -> None:
        """Do a piece of work, or see to those that do it; it returns within about a second, or after the piece.

        Raises:
            StudyStoppedError: no one is able to work.
        """

    def shutdown(self) -> None:
        """Have all work end; what is not finished is marked as interrupted. It may be called again."""


class InProcess:
    """This process does the work itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def poll(self) -> None:
        """Do a task."""
        if not self._worker.work():
            time.sleep(IDLE_SECONDS)

    def shutdown(self) -> None:
        """Nothing: between two tasks, no work is under way."""


class External:
    """Workers that were started elsewhere, by hand or by a scheduler."""

    def poll(self) -> None:
        """Wait."""
        time.sleep(IDLE_SECONDS)

    def shutdown(self) -> None:
        """Nothing: they see that the study is over."""
