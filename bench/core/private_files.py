"""Folders that no other user reads."""

from __future__ import annotations

from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


def make_private(folder: Path) -> None:
    """Make a folder for this user alone; one that is there stays as it is.

    Folders above it that are missing are made as the user's own commands make them.
    """
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
