"""A study as a list of all in a store shows it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

_QUESTION = re.compile(r'"question":\s*("(?:[^"\\]|\\.)*")')


class ListedStudy(NamedTuple):
    """A study in a list.

    Attributes:
        study_id: its identifier.
        began: the date on which it began, UTC, as ISO 8601 writes it; empty if it is not known.
        state: how it ended, or ``not ended``.
        question: what it asks; empty if somebody edited the tag that says it.
    """

    study_id: str
    began: str
    state: str
    question: str

    @classmethod
    def of(
        cls, study_id: str, start_time: int | None, status: str, state: str | None, about: str | None
    ) -> ListedStudy:
        """Make one of what its run in MLflow holds: times in milliseconds since 1970, MLflow's status and two tags."""
        began = question = ""
        with suppress(TypeError, ValueError, OverflowError, OSError):
            # A server answers with 0 where its database has none.
            began = datetime.fromtimestamp(start_time / 1000, UTC).date().isoformat() if start_time else ""
        # Of a long text the tag holds the beginning alone, in which the question stands.
        if found := _QUESTION.search(about or ""):
            with suppress(ValueError):
                question = str(json.loads(found.group(1)))
        return cls(study_id, began, "not ended" if status == "RUNNING" else state or status.lower(), question)
