"""Shares one copy of a data set's images among all processes of a machine, by memory-mapped files."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.core.errors import AlteredDataError
from bench.core.private_files import make_private
from bench.data.dataset import Dataset, DatasetInfo, Split

_SPLITS = ("train", "validation", "test")


def share(dataset: Dataset, folder: Path) -> Dataset:
    """Write a data set's arrays for :func:`open_shared`, unless they are there; all of them appear at once.

    Returns:
        The copy, whose ``check`` raises AlteredDataError once it is altered.

    Raises:
        AlteredDataError: a copy that is there was altered.
    """
    name = _name(dataset.digest, dataset.labels_digest)
    if not (folder / name).is_dir():
        _write(dataset, folder, name)
    return _open_copy(dataset.info, dataset.digest, dataset.labels_digest, folder / name)


def _write(dataset: Dataset, folder: Path, name: str) -> None:
    final = folder / name
    make_private(folder)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix="."))
    try:
        tuning = dataset.tuning
        for name, split in zip(_SPLITS, (tuning.train, tuning.validation, dataset.open_test()), strict=True):
            np.save(temporary / f"{name}.npy", split.images, allow_pickle=False)
            if split.labels is not None:
                np.save(temporary / f"{name}_labels.npy", split.labels, allow_pickle=False)
        for file in temporary.iterdir():
            file.chmod(0o444)
        temporary.rename(final)
    except BaseException as error:
        # An interruption too would leave a copy of all images.
        shutil.rmtree(temporary, ignore_errors=True)
        if not isinstance(error, OSError) or not final.is_dir():
            raise


def open_shared(info: DatasetInfo, digest: str, labels: str, folder: Path) -> Dataset | None:
    """The memory-mapped data set of these digests; None if it is not shared in ``folder``.

    Args:
        info: its metadata.
        digest: :attr:`Dataset.digest`.
        labels: :attr:`Dataset.labels_digest`.
        folder: where it may be.

    Raises:
        AlteredDataError: the copy was altered since; so does the data set's ``check`` later.
    """
    found = folder / _name(digest, labels)
    return _open_copy(info, digest, labels, found) if found.is_dir() else None


def _open_copy(info: DatasetInfo, digest: str, labels: str, found: Path) -> Dataset:
    train, validation, test = (_open(found, name) for name in _SPLITS)
    opened = _state(found)

    def is_intact() -> bool:
        copy = Dataset(info, train, validation, test)
        return (copy.digest, copy.labels_digest) == (digest, labels)

    def check() -> None:
        nonlocal opened
        now = _state(found)
        if now == opened:
            return
        # What is mapped belongs to the files that were opened. Backups and `touch` change their times alone.
        if [each.file for each in now] != [each.file for each in opened] or not is_intact():
            raise _altered(found)
        opened = now

    if not is_intact():
        raise _altered(found)
    return Dataset(info, train, validation, test, digest, check)


@dataclass(frozen=True, order=True)
class _File:
    """A file, and what changes where it is written: whoever sets its time back cannot set that of the change back."""

    file: tuple[str, int]
    seen: tuple[int, int, int]


def _state(folder: Path) -> list[_File]:
    """The files of a folder; of one that was removed, nothing is left."""
    try:
        found = [(file.name, file.stat()) for file in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(
        _File((name, stat.st_ino), (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)) for name, stat in found
    )


def _altered(folder: Path) -> AlteredDataError:
    return AlteredDataError(
        f"{folder}, the copy of the images that the study's processes share, was altered: remove that folder, and the "
        "same command writes it again; runs under way are repeated"
    )


def _name(digest: str, labels: str) -> str:
    return f"{digest}-{labels}" if labels else digest


def _open(folder: Path, name: str) -> Split:
    labels = folder / f"{name}_labels.npy"
    # A page that is written would be this process's own, and none is: TensorFlow takes in place only what may be.
    images = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
    images.flags.writeable = False
    return Split(
        images,
        np.load(labels, allow_pickle=False) if labels.exists() else None,
    )
