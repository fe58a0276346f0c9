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


def study_named(uri: str, name: str) -> str:
    """The identifier of the one study in a store that a name is, or is the beginning of.

    Raises:
        TrackingError: the store cannot be reached, or no study or several are meant.
    """
    from bench.errors import TrackingError
    from bench.redaction import redact
    from bench.tracking.read import list_studies

    known = list_studies(uri)
    meant = [name] if name in known else [study_id for study_id in known if study_id.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise TrackingError(f"{name!r} is the beginning of {', '.join(meant)}: give more of it")
    held = f"it holds {', '.join(known)}" if known else "it holds none"
    raise TrackingError(f"no study {name!r} in {redact(uri)}: {held}")
