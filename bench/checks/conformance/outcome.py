"""How a check ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """One check of one family.

    Attributes:
        family: the family's name.
        backend: the Keras backend it ran on.
        check: the check's name.
        outcome: how it ended.
        detail: what was found, or why it failed or was skipped.
    """

    family: str
    backend: str
    check: str
    outcome: Outcome
    detail: str


class FailedError(Exception):
    """A check failed; the message says what was found and what would be accepted."""


class SkippedError(Exception):
    """A check does not apply; the message says why."""
