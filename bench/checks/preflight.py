"""Checks, before a command writes anything, that it can write what it will, and that its settings fit.

No check changes anything: a study that cannot start leaves nothing in one store because of another.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

from bench.core.databases import MLFLOW, OPTUNA, check_database, is_database, parse_url, sqlite_file
from bench.core.errors import SettingsError, TrackingError
from bench.core.redaction import redact
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.preparation import AS_STORED, Preparation
from bench.data.registry import BUILT_IN, check_outside, describe, load
from bench.evaluation.cost.energy import readable_meters
from bench.runtime.backend import check_backend
from bench.study.budget import check_budget, unknown_cost
from bench.study.definition import AUTO, PRUNERS, SAMPLERS, BoundStudy, Study, StudySettings

LEAST_FREE_BYTES = 64 * 2**20
"""Least free disk, for the databases of a study."""


def check_output(folder: Path, least_free: int = LEAST_FREE_BYTES) -> None:
    """Check that a command can write to a folder, or create it.

    Args:
        folder: the output folder.
        least_free: bytes that its disk must have left.

    Raises:
        SettingsError: it cannot, or the folder's name cannot be part of a database's address.
    """
    unfit = [c for c in str(folder) if c in "?#%" or unicodedata.category(c) in ("Cc", "Cs")]
    if unfit:
        raise SettingsError(
            f"output={str(folder)!r} holds {unfit[0]!r}, which the address of a database cannot contain: give another"
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
    if free < least_free:
        raise SettingsError(
            f"output={str(folder)!r}: its disk has {free / 2**20:.0f} MiB left, and {least_free / 2**20:.0f} MiB "
            "are needed: free some, or give another"
        )


def check_stores(tracking: str, storage: str | None, output: Path) -> None:
    """Check that a study can use its tracking server and its storage; see also :func:`check_output`.

    Args:
        tracking: an MLflow tracking URI.
        storage: an Optuna storage; None for a command without a search.
        output: the command's output folder, which will be created.

    Raises:
        TrackingError: one cannot be reached, or belongs to another program.
    """
    check_tracking(tracking, output)
    if storage is None:
        return
    check_storage(storage, output)
    if _same(tracking, storage):
        raise TrackingError(
            f"the tracking store and the study storage are both {redact(storage)}: give each a database of its own"
        )


def check_local_stores(tracking: str, storage: str, output: Path) -> None:
    """Check stores as :func:`check_stores` does, as far as they are files: no server is asked.

    Raises:
        TrackingError: one cannot be used.
    """
    local = [each for each in (tracking, storage) if each.startswith("sqlite:") or each.endswith(".journal")]
    if local == [tracking, storage]:
        check_stores(tracking, storage, output)
    elif tracking in local:
        check_tracking(tracking, output)
    elif storage in local:
        check_storage(storage, output)


def check_search(sampler: str, pruner: str) -> None:
    """Check that Optuna has the sampler and the pruner of these names.

    Raises:
        SettingsError: it does not, or one of them cannot be made without arguments.
    """
    if sampler not in SAMPLERS or pruner not in PRUNERS:
        from bench.search.sampler import build_pruner, build_sampler

        build_sampler(sampler, 0)
        build_pruner(pruner)


def check_study(
    study: Study, settings: StudySettings, sampler: str | None = None, pruner: str | None = None
) -> BoundStudy:
    """Check all that is known of a study before its images are read, without importing a framework.

    Args:
        study: the study.
        settings: its settings.
        sampler: the name of the sampler, if not that of the settings or of the study.
        pruner: the name of the pruner, if not that of the settings.

    Returns:
        The study with its data's metadata, whose digest is not known yet.

    Raises:
        SettingsError: a setting does not fit the data, or the backend is not installed.
        DataError: the data is missing or not of an accepted form.
    """
    check_promotions(study, settings)
    info = describe(settings.dataset, settings.preparation)
    planned = BoundStudy(study, settings, info, digest="not opened")
    check_evaluation(settings.extractor, settings.outside_dataset, info, settings.preparation)
    check_search(sampler or planned.sampler, pruner or settings.pruner)
    check_budget(planned)
    if settings.joules is not None and not readable_meters():
        raise SettingsError(unknown_cost("joules", settings.joules))
    if settings.backend != AUTO:
        check_backend(settings.backend)
    return planned


def check_promotions(study: Study, settings: StudySettings) -> None:
    """Check that the study has the arms of which trials are promoted, and that these have trials.

    Raises:
        SettingsError: it does not have one, or nothing of one is swept.
    """
    searched = {arm.name: bool(arm.sweep) for arm in study.arms}
    for each in settings.promotions:
        if each.arm not in searched:
            raise SettingsError(f"promote={str(each)!r}: {study.name} has the arms {', '.join(searched)}")
        if not searched[each.arm]:
            raise SettingsError(f"promote={str(each)!r}: nothing of {each.arm} is swept, and it has no trials")


def load_own_data(settings: StudySettings) -> Dataset | None:
    """The user's own data; None for a data set that comes with the project, which may have to be downloaded.

    Raises:
        DataError: an image cannot be read, or holds a value that is out of range.
    """
    return None if settings.dataset in BUILT_IN else load(settings.dataset, settings.preparation)


def check_evaluation(
    extractor: str, outside_dataset: str | None, info: DatasetInfo, preparation: Preparation = AS_STORED
) -> None:
    """Check that the feature extractor and the outside data fit the data, without loading them.

    Raises:
        SettingsError: one does not.
        DataError: there is no such outside data.
    """
    channels = info.image_shape[-1]
    if extractor == "inception_v3" and channels != 3:
        raise SettingsError(
            f"extractor='inception_v3' takes colour images of 3 channels, and {info.name} has {channels}: "
            "'classifier' takes any"
        )
    if outside_dataset is not None:
        check_outside(outside_dataset, info, preparation)


def check_tracking(uri: str, output: Path) -> None:
    """Check that a tracking server can be used; see :func:`check_stores`.

    Raises:
        TrackingError: it cannot.
    """
    if is_database(uri):
        held = check_database(uri, MLFLOW, "tracking store")
        _check_file(sqlite_file(parse_url(uri)), output, f"tracking store {redact(uri)}")
        if not held:
            return
    # Imported only here: MLflow takes seconds, and a new study in a new folder does not need it to begin.
    from bench.tracking.connection import connect

    connect(uri)


def check_storage(storage: str, output: Path) -> None:
    """Check that an Optuna storage can be used; see :func:`check_stores`.

    Raises:
        TrackingError: it cannot.
    """
    role = "study storage"
    journal = Path(storage) if storage.endswith(".journal") else None
    if storage.startswith("grpc://"):
        held = True
    else:
        held = check_database(storage, OPTUNA, role) if journal is None else journal.is_file()
        _check_file(journal or sqlite_file(parse_url(storage)), output, f"{role} {redact(storage)}")
    if held:
        from bench.search.storage import count_searches

        count_searches(storage)


def _check_file(file: Path | None, output: Path, name: str) -> None:
    """Check that a file can be written, or created in an existing folder or in the output folder."""
    if file is None:
        return
    try:
        folder = file.resolve().parent
        if file.exists() and not file.is_file():
            raise TrackingError(f"{name} cannot be used: it is not a file; the path of a file is accepted")
        if not folder.is_dir() and folder != output.resolve():
            raise TrackingError(f"{name} cannot be created: there is no folder {folder}; create it, or give another")
        locked = next((path for path in (file, folder) if path.exists() and not os.access(path, os.W_OK)), None)
    except (OSError, RuntimeError) as error:
        raise TrackingError(f"{name} cannot be opened: {error}") from error
    if locked is not None:
        raise TrackingError(f"{name} cannot be used: {locked} is not writable; give another")


def _same(tracking: str, storage: str) -> bool:
    """Whether both addresses are the same database."""
    if not is_database(tracking) or not is_database(storage):
        return False
    first, second = parse_url(tracking), parse_url(storage)
    files = sqlite_file(first), sqlite_file(second)
    if files[0] is not None and files[1] is not None:
        return files[0].resolve() == files[1].resolve()
    return (first.host, first.port, first.database) == (second.host, second.port, second.database)
