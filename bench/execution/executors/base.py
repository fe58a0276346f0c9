"""What the coordinator asks of those that do the work."""

from __future__ import annotations

import time
from typing import Protocol

from bench.execution.worker import IDLE_SECONDS, Worker


class Crew(Protocol):
    """Who does the work."""

    def tend(self) -> None:
        """Do a piece of work, or see to those that do it; it returns within about a second, or after the piece.

        Raises:
            StudyStoppedError: no one is able to work.
        """

    def dismiss(self) -> None:
        """Have all work end; what is not finished is marked as interrupted. It may be called again."""


class OwnHands:
    """This process does the work itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def tend(self) -> None:
        """Do a slot."""
        if not self._worker.work():
            time.sleep(IDLE_SECONDS)

    def dismiss(self) -> None:
        """Nothing: between two slots, no work is under way."""


class Others:
    """Workers that were started elsewhere, by hand or by a scheduler."""

    def tend(self) -> None:
        """Wait."""
        time.sleep(IDLE_SECONDS)

    def dismiss(self) -> None:
        """Nothing: they see that the study is over."""
