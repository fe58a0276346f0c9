"""Removes a study from its storage, its tracking store and its output folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from bench.core.errors import SettingsError
from bench.core.redaction import redact
from bench.search.storage import open_storage
from bench.search.study_record import list_studies, removal
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.deletion import all_runs, delete_runs, deleted_studies
from bench.tracking.outbox.outbox import remove_study
from bench.tracking.reading.studies import list_studies as list_logged

REPORT_FOLDERS = ("figures", "images", "tables")
"""What a report fills, besides its own folder."""
EVALUATION_FOLDERS = ("tables", "images", "sequences")
"""Folders within that of an evaluation."""


@dataclass(frozen=True)
class Stores:
    """Where a study may be.

    Attributes:
        storage: the address of Optuna's storage; None if there is none.
        tracking: the tracking URI; None if there is no such store.
        output: the output folder.
    """

    storage: str | None
    tracking: str | None
    output: Path

    def studies(self) -> list[str]:
        """Identifiers of the studies in storage or tracking store, also of those whose runs are deleted.

        Raises:
            TrackingError: one cannot be reached.
        """
        found = [] if self.storage is None else list_studies(open_storage(self.storage))
        if self.tracking is not None:
            client = connect(self.tracking)
            with raise_tracking_errors(self.tracking):
                found += [*list_logged(self.tracking), *deleted_studies(client)]
        return list(dict.fromkeys(found))

    def folders(self, study_id: str) -> list[Path]:
        """The folders of a study alone, which exist below the output folder, besides its outbox.

        Raises:
            SettingsError: the identifier, which anyone can write into a tracking store, is a path; or one of the
                folders, or the outbox, is a link.
            TrackingError: the tracking store, which knows the study's runs, cannot be reached.
        """
        check_identifier(study_id)
        own = [self.output / kind / study_id for kind in ("checkpoints", "reports")]
        # Measurements of gradients, which a study of estimators keeps for each of its settings.
        own += self.output.glob(f"gradients/{escape(study_id)}-*")
        own.append(self.output / "reports" / f"{study_id}-gradients")
        own += self._evaluations(study_id)
        for folder in (self.output / "outbox" / study_id, *own):
            check_folder(folder)
        return [*filter(Path.is_dir, own)]

    def _evaluations(self, study_id: str) -> list[Path]:
        """What `evaluate` left of the study's runs, deleted ones among them: a removal may have been interrupted."""
        folder = self.output / "evaluations"
        kept = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        if not kept or self.tracking is None:
            return []
        client = connect(self.tracking)
        with raise_tracking_errors(self.tracking):
            return [folder / run for run in all_runs(client, study_id) if run in kept]


def check_identifier(study_id: str) -> None:
    """Check that a study's identifier can name a folder.

    Raises:
        SettingsError: the identifier, which anyone can write into a tracking store, is a path.
    """
    if study_id in ("", "..") or Path(study_id).name != study_id:
        raise SettingsError(f"{study_id!r} is no identifier of a study: it has no / and no .. in it")


def check_folder(folder: Path, *inner: str) -> None:
    """Check that a folder of one study or run, which a command fills or removes, is not elsewhere.

    Args:
        folder: the folder, which need not exist. A link above it, which serves all studies, is its user's choice.
        inner: names of folders within it that are filled too.

    Raises:
        SettingsError: one of them is a link.
    """
    for each in (folder, *(folder / name for name in inner)):
        if each.is_symlink():
            raise SettingsError(
                f"{each} is a link to {each.readlink()}, where nothing is written or removed: remove the link (what it "
                f"leads to stays); to have such folders on another disk, move all of {folder.parent} there, and make "
                "that the link"
            )


def remove(stores: Stores, study_id: str) -> Iterator[str]:
    """Remove a study; repeating this after an interruption removes what is left.

    Args:
        stores: where it is.
        study_id: its identifier.

    Yields:
        What is removed, in lines.

    Raises:
        SettingsError: a process works on the study, or a folder of it is a link; nothing is removed.
        OutboxError: a process logs what is to be removed.
        TrackingError: a store cannot be reached.
    """
    folders = stores.folders(study_id)
    with ExitStack() as stack:
        remove_trials: Callable[[], int] | None = None
        if stores.storage is not None:
            opened = open_storage(stores.storage)
            if study_id in list_studies(opened):
                remove_trials = stack.enter_context(removal(opened, study_id))
        waiting = remove_study(stores.output / "outbox", study_id)
        if waiting:
            yield f"outbox    {waiting} runs that waited for upload"
        # What can be restored before what cannot.
        if stores.tracking is not None:
            client = connect(stores.tracking)
            with raise_tracking_errors(stores.tracking):
                runs = delete_runs(client, study_id)
            yield (
                f"MLflow    {runs} runs, which MLflow hides (State: Deleted) and keeps until `mlflow gc`"
                if runs
                else f"MLflow    no runs in {redact(stores.tracking)}: if another store has them, give --tracking-uri"
            )
        if remove_trials is not None:
            yield f"storage   {remove_trials()} trials and final runs"
        else:
            where = "there is none" if stores.storage is None else f"{redact(stores.storage)} does not have it"
            yield f"storage   {where}: if another has its trials, give --storage"
        for folder in folders:
            shutil.rmtree(folder)
            yield f"folder    {folder}"
