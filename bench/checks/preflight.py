"""What a command checks before it makes anything: that all it will write to can be written, and all it needs fits.

Each check leaves everything as it was, so that a study that cannot start leaves no trace in one store for what is
wrong with another.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

from bench.core.databases import MLFLOW, OPTUNA, check_database, is_database, parsed, sqlite_file
from bench.core.errors import SettingsError, TrackingError
from bench.core.redaction import redact
from bench.data.dataset import DatasetInfo
from bench.data.registry import check_outside

LEAST_FREE_BYTES = 64 * 2**20
"""Free disk without which not even the databases of a study fit."""


def check_output(folder: Path) -> None:
    """Check that a command can write below a folder, which need not be there yet.

    Raises:
        SettingsError: it cannot, or the folder's name cannot stand in the address of a database.
    """
    unfit = [c for c in str(folder) if c in "?#" or unicodedata.category(c) in ("Cc", "Cs")]
    if unfit:
        raise SettingsError(
            f"output={str(folder)!r} holds {unfit[0]!r}, which the address of a database cannot hold: give another"
        )
    try:
        whole = folder.resolve()
        existing = next(path for path in (whole, *whole.parents) if path.exists())
        free = shutil.disk_usage(existing).free
    except (OSError, RuntimeError) as error:
        raise SettingsError(f"output={str(folder)!r} cannot be opened ({error}): give another") from error
    if not existing.is_dir():
        raise SettingsError(f"output={str(folder)!r}: {existing} is not a folder; one, or a new name, is accepted")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(f"output={str(folder)!r}: {existing} is not writable: give another")
    if free < LEAST_FREE_BYTES:
        raise SettingsError(
            f"output={str(folder)!r}: its disk has {free / 2**20:.0f} MiB left, and {LEAST_FREE_BYTES / 2**20:.0f} MiB "
            "are needed at the least: make room, or give another"
        )


def check_stores(tracking: str, storage: str | None, output: Path) -> None:
    """Check that a study can keep its runs and its search where it is told to; see also :func:`check_output`.

    Args:
        tracking: an MLflow tracking URI.
        storage: an Optuna storage; None for a command that searches nothing.
        output: the command's output folder, which will be made.

    Raises:
        TrackingError: a store cannot be reached, or is of something else.
    """
    check_tracking(tracking, output)
    if storage is None:
        return
    check_storage(storage, output)
    if _same(tracking, storage):
        raise TrackingError(
            f"the tracking store and the study storage are both {redact(storage)}: give each a database of its own"
        )


def check_measuring(extractor: str, outside_dataset: str | None, info: DatasetInfo) -> None:
    """Check that the feature extractor and the outside data fit the data, as far as can be told without either.

    Raises:
        SettingsError: one of them does not.
        DataError: there is no such outside data.
    """
    channels = info.image_shape[-1]
    if extractor == "inception_v3" and channels != 3:
        raise SettingsError(
            f"extractor='inception_v3' takes colour images of 3 channels, and {info.name} has {channels}: "
            "'classifier' takes any"
        )
    if outside_dataset is not None:
        check_outside(outside_dataset, info)


def check_tracking(uri: str, output: Path) -> None:
    """Check that runs can be logged to a tracking store; see :func:`check_stores`.

    Raises:
        TrackingError: they cannot.
    """
    if is_database(uri):
        held = check_database(uri, MLFLOW, "tracking store")
        _check_file(sqlite_file(parsed(uri)), output, f"tracking store {redact(uri)}")
        if not held:
            return
    # Here, for MLflow takes seconds to import, and a new study in a new folder needs none of it to begin.
    from bench.tracking.connection import connect

    connect(uri)


def check_storage(storage: str, output: Path) -> None:
    """Check that a search can be kept in an Optuna storage; see :func:`check_stores`.

    Raises:
        TrackingError: it cannot.
    """
    role = "study storage"
    journal = Path(storage) if storage.endswith(".journal") else None
    if storage.startswith("grpc://"):
        held = True
    else:
        held = check_database(storage, OPTUNA, role) if journal is None else journal.is_file()
        _check_file(journal or sqlite_file(parsed(storage)), output, f"{role} {redact(storage)}")
    if held:
        from bench.search.storage import count_searches

        count_searches(storage)


def _check_file(file: Path | None, output: Path, name: str) -> None:
    """Check that a file can be written, or made in a folder that is there or is the output folder."""
    if file is None:
        return
    try:
        folder = file.resolve().parent
        if file.exists() and not file.is_file():
            raise TrackingError(f"{name} cannot be used: it is not a file; the path of a file is accepted")
        if not folder.is_dir() and folder != output.resolve():
            raise TrackingError(f"{name} cannot be made: there is no folder {folder}; make it, or give another")
        locked = next((path for path in (file, folder) if path.exists() and not os.access(path, os.W_OK)), None)
    except (OSError, RuntimeError) as error:
        raise TrackingError(f"{name} cannot be opened: {error}") from error
    if locked is not None:
        raise TrackingError(f"{name} cannot be used: {locked} is not writable; give another")


def _same(tracking: str, storage: str) -> bool:
    """Whether both are one database."""
    if not is_database(tracking) or not is_database(storage):
        return False
    first, second = parsed(tracking), parsed(storage)
    files = sqlite_file(first), sqlite_file(second)
    if files[0] is not None and files[1] is not None:
        return files[0].resolve() == files[1].resolve()
    return (first.host, first.port, first.database) == (second.host, second.port, second.database)
