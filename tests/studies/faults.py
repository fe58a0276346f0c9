"""Files with something wrong in them, for tests of what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Make = Callable[[Path], object]
"""Makes a file or a folder."""

ANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Of tests whose every example leaves nothing behind for the next."""


def raw(content: bytes) -> Make:
    """A file of these bytes."""
    return lambda path: path.write_bytes(content)


def database(*statements: str) -> Make:
    """An SQLite database, new or changed."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return make


def any_bytes(data: st.DataObject, whole: bytes) -> bytes:
    """Random bytes, or ``whole`` cut short, or with some of its bytes replaced."""
    kind = data.draw(st.sampled_from(["random", "cut", "changed"]))
    if kind == "random":
        return data.draw(st.binary(max_size=300))
    if kind == "cut":
        return whole[: data.draw(st.integers(0, len(whole)))]
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + 2] = data.draw(st.binary(min_size=1, max_size=4))
    return bytes(content)
