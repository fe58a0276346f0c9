"""Lists the studies of an SQLite tracking store without MLflow, whose import alone takes seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from bench.tracking.reading.listed import ListedStudy

_STUDIES = """
SELECT studies.value, runs.start_time, runs.status, states.value, abouts.value FROM tags AS studies
JOIN tags AS roles ON roles.run_uuid = studies.run_uuid AND roles.key = 'reparam.role' AND roles.value = 'study'
JOIN runs ON runs.run_uuid = studies.run_uuid
LEFT JOIN tags AS states ON states.run_uuid = studies.run_uuid AND states.key = 'reparam.state'
LEFT JOIN tags AS abouts ON abouts.run_uuid = studies.run_uuid AND abouts.key = 'reparam.study'
WHERE studies.key = 'reparam.study_id' AND runs.lifecycle_stage = 'active' ORDER BY runs.start_time DESC
"""


def peek_studies(database: Path) -> list[ListedStudy]:
    """The studies in an MLflow database, newest first; none if it is missing or unreadable."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            return [ListedStudy.of(*row) for row in connection.execute(_STUDIES)]
    except sqlite3.Error:
        return []
