"""Shares one copy of a data set's images among all processes of a machine, by memory-mapped files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset, DatasetInfo, Split

_SPLITS = ("train", "validation", "test")


def share(dataset: Dataset, folder: Path) -> None:
    """Write a data set's arrays for :func:`open_shared`, unless they are there; all of them appear at once."""
    final = folder / dataset.digest
    if final.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix="."))
    try:
        tuning = dataset.tuning
        for name, split in zip(_SPLITS, (tuning.train, tuning.validation, dataset.open_test()), strict=True):
            np.save(temporary / f"{name}.npy", split.images, allow_pickle=False)
            if split.labels is not None:
                np.save(temporary / f"{name}_labels.npy", split.labels, allow_pickle=False)
        temporary.rename(final)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not final.is_dir():
            raise


def open_shared(info: DatasetInfo, digest: str, folder: Path) -> Dataset | None:
    """The memory-mapped data set of this digest; None if it is not shared in ``folder``."""
    found = folder / digest
    if not found.is_dir():
        return None
    train, validation, test = (_open(found, name) for name in _SPLITS)
    return Dataset(info, train, validation, test, digest)


def _open(folder: Path, name: str) -> Split:
    labels = folder / f"{name}_labels.npy"
    # A page that is written would be this process's own, and none is: TensorFlow takes in place only what may be.
    images = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
    images.flags.writeable = False
    return Split(
        images,
        np.load(labels, allow_pickle=False) if labels.exists() else None,
    )
