"""Checkpoints: the state of a training on disk, from which another process resumes bitwise."""

from __future__ import annotations

import glob
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import CheckpointError, DataError
from bench.core.private_files import make_private
from bench.core.results import EvaluationRecord
from bench.data.npz_archive import ArrayFile
from bench.training.history import TrainingLog
from bench.training.kept_state import Arrays, all_variables

if TYPE_CHECKING:
    # It imports Keras, which a process that only reads or removes checkpoints does not need.
    from models.base.likelihood_model import LikelihoodModel

log = logging.getLogger(__name__)

LARGEST_SHARE = 0.01
"""Share of the training time that saving may take."""
FIRST_SECONDS = 0.05
"""Assumed duration of the first save."""
_HEADER = "header"
_BEST = "best_"
"""Prefix of the best evaluation's arrays."""
_MILESTONE = re.compile(r"milestone_(?P<evaluation>\d+)_(?P<name>.+)")
"""Names of the arrays of milestones."""
_State = tuple[TrainingLog, dict[str, npt.NDArray[np.generic]]]


class _Identity(BaseModel):
    """The training that a checkpoint belongs to; no other one resumes from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_hash: str
    seed: int
    code_version: str


class _Header(BaseModel):
    """What a checkpoint holds beside arrays, as JSON, with pictures in base64."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    identity: _Identity
    log: TrainingLog


class Checkpoint:
    """The latest saved state of one training: all variables of model and optimizer, the log, and the best weights.

    The order of the images and the noise follow from the seed, the position and the seed generators, which are model
    variables: training resumes bitwise, if the device computes deterministically.

    The file is an .npz without pickle, and replaced atomically. A file that cannot be read, or belongs to another
    training, is ignored with a warning.

    Args:
        path: the file.
        config_hash: hash of the run's configuration.
        seed: the run's seed.
        code_version: version of the code that trains.
    """

    def __init__(self, path: Path, config_hash: str, seed: int, code_version: str) -> None:
        self.path = path
        self.identity = _Identity(config_hash=config_hash, seed=seed, code_version=code_version)
        self.best: Arrays = {}
        self.milestones: dict[int, Arrays] = {}
        self._warned = False
        self._state: _State | None = None
        self._is_read = False
        self._saved_at = time.perf_counter()
        self._seconds_to_save = FIRST_SECONDS

    def records(self) -> list[EvaluationRecord]:
        """The records of the evaluations that are not repeated; empty without a usable checkpoint.

        The next :meth:`restore` resumes from the same state, even if a process that lost this trial saves meanwhile.
        """
        if not self._is_read:
            self._state, self._is_read = self._read(), True
        return [] if self._state is None else list(self._state[0].records)

    def restore(self, model: LikelihoodModel) -> TrainingLog | None:
        """Restore a model and its optimizer, which must be built.

        Returns:
            The log up to the checkpoint; None, and the model unchanged, without a usable checkpoint.

        Raises:
            CheckpointError: a half-written file of an earlier process cannot be removed.
        """
        self._remove_unfinished()
        self.records()
        state, self._state, self._is_read = self._state, None, False
        if state is None:
            return None
        training_log, arrays = state
        best = {name.removeprefix(_BEST): arrays.pop(name) for name in list(arrays) if name.startswith(_BEST)}
        milestones: dict[int, Arrays] = {}
        for found in [found for name in arrays if (found := _MILESTONE.fullmatch(name))]:
            milestones.setdefault(int(found["evaluation"]), {})[found["name"]] = arrays.pop(found.string)
        variables = all_variables(model)
        expected = {name: (tuple(each.shape), str(each.dtype)) for name, each in variables.items()}
        if expected != {name: (each.shape, str(each.dtype)) for name, each in arrays.items()}:
            self._warn("its variables are not those of the model")
            return None
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.best, self.milestones = best, milestones
        return training_log

    def save(
        self,
        model: LikelihoodModel,
        training_log: TrainingLog,
        best: Arrays,
        milestones: Mapping[int, Arrays] = MappingProxyType({}),
        is_last: bool = False,
    ) -> None:
        """Save the state after an evaluation, unless saving would exceed its share of the training time.

        Args:
            model: the model that trains.
            training_log: its log so far.
            best: the weights of the best evaluation.
            milestones: the best weights after some of the evaluations.
            is_last: whether training stops here, to be continued later: the state is saved in any case.

        Raises:
            CheckpointError: the file cannot be written; the previous one is unchanged.
        """
        began = time.perf_counter()
        if not is_last and self._seconds_to_save > LARGEST_SHARE * (began - self._saved_at):
            return
        header = _Header(identity=self.identity, log=training_log).model_dump_json().encode()
        # np.savez converts one variable at a time: there is no second copy of all.
        kept = {f"{_BEST}{name}": array for name, array in best.items()}
        kept |= {f"milestone_{n}_{name}": array for n, own in milestones.items() for name, array in own.items()}
        self._write({_HEADER: np.frombuffer(header, np.uint8), **all_variables(model), **kept})
        self._saved_at = time.perf_counter()
        self._seconds_to_save = self._saved_at - began

    def remove(self) -> None:
        """Remove the checkpoint and half-written files; a training that has not restored it begins at its start.

        Raises:
            CheckpointError: one cannot be removed.
        """
        self._remove_unfinished()
        with self._checkpoint_errors("removed"):
            self.path.unlink(missing_ok=True)
        self._state, self._is_read = None, True

    def remove_longer(self, evaluations: int) -> None:
        """Remove the checkpoint of a training that was given a larger budget, if it has come beyond this one's.

        Its weights have seen more images than a training of so many evaluations may.

        Raises:
            CheckpointError: it cannot be removed.
        """
        if len(self.records()) > evaluations:
            self.remove()

    def _write(self, content: dict[str, Any]) -> None:
        folder = self.path.parent
        with self._checkpoint_errors("written"):
            make_private(folder)
            prefix = f".{self.path.name}."
            with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix, suffix=".tmp", delete=False) as file:
                try:
                    np.savez(file, allow_pickle=False, **content)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(self.path)
                finally:
                    Path(file.name).unlink(missing_ok=True)
            # The folder too: otherwise the new name may be lost in a power cut.
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _read(self) -> _State | None:
        """The log and all arrays; the archive checks their checksums."""
        if not self.path.is_file():
            return None
        try:
            with ArrayFile(self.path) as archive:
                if _HEADER not in archive.names:
                    raise DataError(f"{self.path} has no header")
                # Arrays are not compressed: one that claims more bytes than the file is forged.
                if max(archive.header(name).n_bytes for name in archive.names) > self.path.stat().st_size:
                    raise DataError(f"{self.path} declares an array that is larger than the file")
                arrays = {name: archive.read(name) for name in archive.names}
            header = _Header.model_validate_json(arrays.pop(_HEADER).tobytes())
        except (DataError, OSError, ValidationError) as error:
            self._warn(str(error).splitlines()[0])
            return None
        if header.identity != self.identity:
            self._warn(f"it is of another training: {header.identity}, not {self.identity}")
            return None
        return header.log, arrays

    def _remove_unfinished(self) -> None:
        """Remove what a process that was killed while saving has left."""
        with self._checkpoint_errors("tidied up"):
            for file in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.tmp"):
                file.unlink(missing_ok=True)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            log.warning("checkpoint %s is ignored, training starts again: %s", self.path, reason)
        self._warned = True

    @contextmanager
    def _checkpoint_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {self.path} cannot be {action}: {error.strerror or error}"
            ) from error
