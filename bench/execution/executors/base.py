"""The interface between the coordinator and what runs the tasks."""

from __future__ import annotations

import time
from typing import Protocol

from bench.execution.worker import IDLE_SECONDS, Worker


class Executor(Protocol):
    """Runs the tasks of a study."""

    def poll(self) -> None:
        """Run one task, or supervise those that run them for up to about a second.

        Raises:
            StudyStoppedError: no worker can run.
        """

    def shutdown(self) -> None:
        """End all work; unfinished tasks are marked as interrupted. May be called again."""


class InProcess:
    """Runs the tasks in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def poll(self) -> None:
        """Run a task."""
        if not self._worker.work():
            time.sleep(IDLE_SECONDS)

    def shutdown(self) -> None:
        """Do nothing, as no task is running between two polls."""


class External:
    """Leaves the tasks to workers that are started elsewhere, by hand or by a scheduler."""

    def poll(self) -> None:
        """Wait."""
        time.sleep(IDLE_SECONDS)

    def shutdown(self) -> None:
        """Do nothing, as workers end when the study does."""
