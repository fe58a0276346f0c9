"""Digests by which a file, or a value, is known again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def json_digest(value: object) -> str:
    """The SHA-256 of a value as JSON, whose order of keys does not count, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
