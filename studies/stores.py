"""The stores of an output folder, as the commands that read them find them."""

from __future__ import annotations

from pathlib import Path


def tracking_store(tracking_uri: str | None, output: Path) -> str:
    """The tracking store to read: the one given, or the output folder's.

    Raises:
        TrackingError: the folder has none.
    """
    from bench.errors import TrackingError

    database = output.resolve() / "mlflow.db"
    if tracking_uri is None and not database.is_file():
        raise TrackingError(f"{database} does not exist: run a study first, or give --output or --tracking-uri")
    return tracking_uri or f"sqlite:///{database}"
