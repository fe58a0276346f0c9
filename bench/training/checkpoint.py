"""The state of a training that is under way, on disk: another process goes on from it as if nothing had happened."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import CheckpointError, DataError
from bench.core.results import EvaluationRecord
from bench.data.npz_archive import NpzArchive
from bench.training.best_state import Arrays
from bench.training.history import TrainingLog

if TYPE_CHECKING:
    # It brings Keras along, which whoever only looks at checkpoints or removes them does without.
    from models.base.likelihood_model import LikelihoodModel

log = logging.getLogger(__name__)

LARGEST_SHARE = 0.01
"""Of the time that training takes, for saving."""
FIRST_SECONDS = 0.05
"""Taken for the duration of a save before one was made."""
_HEADER = "header"
_BEST = "best_"
"""Begins the names of the best evaluation's arrays."""


_Content = tuple[TrainingLog, dict[str, npt.NDArray[np.generic]]]
"""The log and all arrays."""


class _Identity(BaseModel):
    """Which training a checkpoint is of: none but the very same may go on from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_hash: str
    seed: int
    code_version: str


class _Header(BaseModel):
    """What a checkpoint holds beside arrays, as JSON, in which pictures are base64."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    identity: _Identity
    log: TrainingLog


class Checkpoint:
    """The latest saved state of one training: every variable of model and optimizer, its log, and its best weights.

    Data order and noise are functions of the seed, of the position and of the seed generators, which are among the
    model's variables, so that training goes on bitwise as if it had not been interrupted, where the device computes
    repeatably. Running means of the loss are left out: each epoch begins them anew.

    The file is an .npz without pickle. It is replaced whole: whatever happens while one is written, the earlier one
    stays. A file that cannot be read, or is of another training, is logs of in a warning and otherwise as none.

    Args:
        path: the file.
        config_hash: hash of the run's configuration.
        seed: the run's seed.
        code_version: version of the code that trains.
    """

    def __init__(self, path: Path, config_hash: str, seed: int, code_version: str) -> None:
        self.path = path
        self.identity = _Identity(config_hash=config_hash, seed=seed, code_version=code_version)
        self._warned = False
        self.best: Arrays = {}
        self._latest: _Content | None = None
        self._is_read = False
        self._saved_at = time.perf_counter()
        self._seconds_to_save = FIRST_SECONDS

    def records(self) -> list[EvaluationRecord]:
        """The records of the epochs that need not be trained again; none if there is no checkpoint to go on from.

        They are those that the next :meth:`restore` goes on from, whatever is saved in the meantime by a process that
        was stopped, and goes on though its work was taken away.
        """
        content = self._content()
        return [] if content is None else list(content[0].records)

    def restore(self, model: LikelihoodModel) -> TrainingLog | None:
        """Put a model and its optimizer where they were when the checkpoint was saved.

        Args:
            model: of the training's configuration, its optimizer built.

        Returns:
            The log up to then, or None, the model untouched, if there is no checkpoint to go on from.

        Raises:
            CheckpointError: what an earlier process left half-written cannot be removed.
        """
        self._remove_unfinished()
        content = self._content()
        self._latest, self._is_read = None, False
        if content is None:
            return None
        training_log, arrays = content
        best = {name.removeprefix(_BEST): arrays.pop(name) for name in list(arrays) if name.startswith(_BEST)}
        variables = _variables(model)
        expected = {name: (tuple(each.shape), str(each.dtype)) for name, each in variables.items()}
        if expected != {name: (each.shape, str(each.dtype)) for name, each in arrays.items()}:
            self._warn("its variables are not those of the model")
            return None
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.best = best
        return training_log

    def save(self, model: LikelihoodModel, training_log: TrainingLog, best: Arrays) -> None:
        """Save the state after an epoch, unless saving so soon would take too great a share of the time.

        A training that is over within seconds is never saved: it is done again as soon as it would be read.

        Args:
            model: the model that trains.
            training_log: its log up to now.
            best: the state of its best evaluation, by name; a later :meth:`restore` leaves it in :attr:`best`.

        Raises:
            CheckpointError: the file cannot be written; the one before is as it was.
        """
        began = time.perf_counter()
        if self._seconds_to_save > LARGEST_SHARE * (began - self._saved_at):
            return
        header = _Header(identity=self.identity, log=training_log).model_dump_json().encode()
        # Variables become arrays one by one, as they are written, without another copy of all.
        kept = {f"{_BEST}{name}": array for name, array in best.items()}
        self._write({_HEADER: np.frombuffer(header, np.uint8), **_variables(model), **kept})
        self._saved_at = time.perf_counter()
        self._seconds_to_save = self._saved_at - began

    def remove(self) -> None:
        """Remove the checkpoint, if there is one, and what was left half-written.

        Raises:
            CheckpointError: it cannot be removed.
        """
        self._remove_unfinished()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("removed", error) from error

    def _write(self, content: dict[str, Any]) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=folder, prefix=self._unfinished_prefix, suffix=".tmp", delete=False
            ) as file:
                try:
                    np.savez(file, allow_pickle=False, **content)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(self.path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            _sync_folder(folder)
        except OSError as error:
            raise self._failed("written", error) from error

    def _content(self) -> _Content | None:
        """What is read once, until it is restored."""
        if not self._is_read:
            self._latest, self._is_read = self._read(), True
        return self._latest

    def _read(self) -> _Content | None:
        """The log and all arrays, each checked against its sum."""
        if not self.path.is_file():
            return None
        try:
            with NpzArchive(self.path) as archive:
                if _HEADER not in archive.names:
                    raise DataError(f"{self.path} has no header")
                # Nothing is compressed: an array of more bytes than the file is a forgery, and is not made room for.
                if max(archive.header(name).n_bytes for name in archive.names) > self.path.stat().st_size:
                    raise DataError(f"{self.path} says of an array that it is larger than the file")
                arrays = {name: archive.read(name) for name in archive.names}
            header = _Header.model_validate_json(arrays.pop(_HEADER).tobytes())
        except (DataError, OSError, ValidationError) as error:
            self._warn(str(error).splitlines()[0])
            return None
        if header.identity != self.identity:
            self._warn(f"it is of another training: {header.identity}, not {self.identity}")
            return None
        return header.log, arrays

    @property
    def _unfinished_prefix(self) -> str:
        return f".{self.path.name}."

    def _remove_unfinished(self) -> None:
        """Remove what a process that was killed while it saved has left."""
        if not self.path.parent.is_dir():
            return
        try:
            for file in self.path.parent.iterdir():
                if file.name.startswith(self._unfinished_prefix) and file.suffix == ".tmp":
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("tidied up", error) from error

    def _warn(self, reason: str) -> None:
        if not self._warned:
            log.warning("checkpoint %s is ignored, training begins anew: %s", self.path, reason)
        self._warned = True

    def _failed(self, what: str, error: OSError) -> CheckpointError:
        return CheckpointError(f"the checkpoint {self.path} cannot be {what}: {error.strerror or error}")


def _variables(model: LikelihoodModel) -> dict[str, Any]:
    """Every variable that an epoch hands on to the next, by a name that is the same in every process."""
    owners = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{owner}_{i}": variable for owner, own in owners.items() for i, variable in enumerate(own)}


def _sync_folder(folder: Path) -> None:
    """Have the folder itself on disk: a file that was moved into place is in it even after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
