"""``reparam-bench delete``: removes a study from MLflow, from Optuna's storage, and from the output folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from studies.cli import completion
from studies.cli.options import Output, Storage, TrackingUri
from studies.cli.stores import find_one


def command(
    study: Annotated[
        str, typer.Argument(help="A study's identifier, or a prefix of it.", autocompletion=completion.study_ids)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    output: Output = Path("runs"),
) -> None:
    """Remove a study and all its runs; the command that began it then begins it again.

    MLflow keeps the runs as deleted, until `mlflow gc`. Trials, checkpoints, evaluations and reports are gone for good.
    Registered models stay.
    """
    from bench.checks.preflight import check_output, check_storage, check_tracking
    from bench.core.errors import SettingsError
    from bench.execution.removal import Stores, remove
    from bench.study.definition import StudySettings

    check_output(output)
    settings = StudySettings(storage=storage, tracking_uri=tracking_uri, output=output)
    has_storage = storage is not None or _is_there(output / "optuna.journal")
    has_tracking = tracking_uri is not None or _is_there(output / "mlflow.db")
    stores = Stores(
        storage=settings.storage_url if has_storage else None,
        tracking=settings.tracking if has_tracking else None,
        output=output,
    )
    if stores.storage is not None:
        check_storage(stores.storage, output)
    if stores.tracking is not None:
        check_tracking(stores.tracking, output)
    study_id = find_one(study, stores.studies(), "")
    # A link among them is refused before anybody is asked.
    stores.folders(study_id)
    try:
        if not (yes or typer.confirm(f"Remove {study_id} with all its trials, runs and reports?")):
            raise typer.Exit(1)
    except typer.Abort as error:
        raise SettingsError(f"nobody confirmed that {study_id} is to be removed: give --yes") from error
    for line in remove(stores, study_id):
        typer.echo(line)


def _is_there(file: Path) -> bool:
    """Whether there is anything in the place of a store's file, also what cannot be one: its check says so.

    Raises:
        TrackingError: it is a link that leads nowhere, where opening the store would create an empty one.
    """
    from bench.core.errors import TrackingError

    if file.is_symlink() and not file.exists():
        raise TrackingError(
            f"{file} is a link to {file.readlink()}, which is not there: bring it back, or remove the link if what "
            "it held is gone for good"
        )
    return os.path.lexists(file)
