"""The user's own .npz file, or .npy file.

An .npz file holds ``x_train`` and optionally ``x_validation`` (or ``x_valid``, ``x_val``) and ``x_test``; or one array
``images`` (or ``x``) alone, as a .npy file does. Missing splits are made as :mod:`bench.data.splitting` says.
Each array has shape (n, height, width) or (n, height, width, channels) and holds integers or booleans.
Optional: labels under the same names with ``y`` for ``x`` (``labels`` for ``images``), and the number ``grey_levels``.
Other arrays in the file are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data import alignment
from bench.data.dataset import Dataset, DatasetInfo, Images, Split
from bench.data.npz_archive import ArrayFile, ArraySource
from bench.data.preparation import AS_STORED, Preparation
from bench.data.splitting import ALL, SPLITS, missing_splits, select, split_sizes
from bench.data.validation import (
    assemble,
    check_grey_levels,
    check_image_dtype,
    check_labels,
    check_memory,
    check_range,
    check_shape,
    pixel_dtype,
    short_name,
    to_images,
    to_labels,
)

_IMAGE_NAMES = {
    "train": ("x_train",),
    "validation": ("x_validation", "x_valid", "x_val"),
    "test": ("x_test",),
    ALL: ("images", "x"),
}
_LABEL_NAMES = {
    "train": ("y_train",),
    "validation": ("y_validation", "y_valid", "y_val"),
    "test": ("y_test",),
    ALL: ("labels", "y"),
}
MOST_LISTED = 12
"""Largest number of array names in an error."""
DATA_NAMES = frozenset(
    ["grey_levels", *(name for names in (*_IMAGE_NAMES.values(), *_LABEL_NAMES.values()) for name in names)]
)
"""The arrays of a file that are read where it holds several."""
_ACCEPTED = "x_train (with optional x_validation and x_test), or images alone"


def describe(path: Path, preparation: Preparation = AS_STORED) -> DatasetInfo:
    """The metadata of the file, from its headers, its labels and, if the grey levels are unknown, its pixels.

    Args:
        path: the .npz or .npy file.
        preparation: how images are read. Grey levels are by default the file's ``grey_levels``; without it 2 if no
            image of train and validation has a value above 1, and 256 otherwise.

    Raises:
        DataError: the file is unreadable, an array is missing, or has a wrong shape or dtype.
    """
    with ArrayFile(path) as file:
        preparation.check_kind("image", str(path))
        return describe_arrays(file, preparation)


def load(path: Path, preparation: Preparation = AS_STORED) -> Dataset:
    """Load the images of the file, in three splits.

    Args:
        path: the .npz or .npy file.
        preparation: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or a value is outside 0..grey_levels-1.
    """
    with ArrayFile(path) as file:
        preparation.check_kind("image", str(path))
        return load_arrays(file, preparation)


def load_arrays(arrays: ArraySource, preparation: Preparation) -> Dataset:
    """Make images of named arrays, in three splits; see :func:`load`."""
    info = describe_arrays(arrays, preparation)
    names, where = _find(arrays, _IMAGE_NAMES), str(arrays.path)
    lengths = {part: arrays.header(name).shape[0] for part, name in names.items()}
    labels = {
        part: to_labels(arrays.read(name), lengths[part], arrays.where(name))
        for part, name in _find(arrays, _LABEL_NAMES).items()
    }
    selections = select(lengths, where)
    images = {
        split: alignment.empty((info.sizes[split], *info.image_shape), pixel_dtype(info.grey_levels))
        for split in SPLITS
    }
    for part, name in names.items():
        targets = {split: images[split] for split in SPLITS if selections[split].part == part}
        indices = {split: selections[split].indices for split in targets}
        _scatter(arrays, name, info.grey_levels, preparation, targets, indices)
    splits = {
        split: Split(images[split], labels[part][indices] if part in labels else None)
        for split, (part, indices) in selections.items()
    }
    return assemble(info, splits, where)


def _scatter(
    arrays: ArraySource,
    name: str,
    grey_levels: int,
    preparation: Preparation,
    targets: dict[str, Images],
    indices: dict[str, slice | npt.NDArray[np.intp]],
) -> None:
    """Read an array's images into the splits that have them, a few at a time: its memory is never taken twice."""
    n = arrays.header(name).shape[0]
    places = {split: np.full(n, -1, np.intp) for split in targets}
    for split, chosen in indices.items():
        places[split][chosen] = np.arange(len(targets[split]))
    start = 0
    for block in _checked_blocks(arrays, name, grey_levels):
        some = preparation.apply(to_images(block, grey_levels, arrays.where(name)))
        for split, target in targets.items():
            place = places[split][start : start + len(some)]
            target[place[place >= 0]] = some[place >= 0]
        start += len(some)


def check_arrays(arrays: ArraySource, preparation: Preparation) -> DatasetInfo:
    """The metadata of named arrays, all of whose values are in range.

    Raises:
        DataError: as for :func:`load`, or there are too few training images.
    """
    info = describe_arrays(arrays, preparation)
    for name in _find(arrays, _IMAGE_NAMES).values():
        for _ in _checked_blocks(arrays, name, info.grey_levels):
            pass
    return preparation.describe_chosen(info)


def _checked_blocks(arrays: ArraySource, name: str, grey_levels: int) -> Iterator[npt.NDArray[np.generic]]:
    for block in arrays.blocks(name):
        if not 0 <= int(block.min()) <= int(block.max()) < grey_levels:
            # What to do depends on all values.
            ranges = [(int(each.min()), int(each.max())) for each in arrays.blocks(name)]
            check_range(min(low for low, _ in ranges), max(high for _, high in ranges), grey_levels, arrays.where(name))
        yield block


def describe_arrays(arrays: ArraySource, preparation: Preparation) -> DatasetInfo:
    """The metadata of named arrays; see :func:`describe`."""
    found = _find(arrays, _IMAGE_NAMES)
    if not {"train", ALL} & found.keys():
        raise DataError(f"{arrays.path} holds the arrays {_join_names(arrays.names)}; {_ACCEPTED}, are accepted.")
    if len(found) > 1 and ALL in found:
        raise DataError(f"{arrays.path} holds {_join_names(found.values())}; {_ACCEPTED}, are accepted, not both.")

    headers = {part: arrays.header(name) for part, name in found.items()}
    image_shapes = {}
    for part, name in found.items():
        check_image_dtype(headers[part].dtype, arrays.where(name))
        stored = check_shape(headers[part].shape, arrays.where(name))
        image_shapes[name] = preparation.shape(stored, arrays.where(name))
    image_shape = next(iter(image_shapes.values()))
    if len(set(image_shapes.values())) > 1:
        shapes = ", ".join(f"{name} {shape}" for name, shape in image_shapes.items())
        least = "x".join(str(min(shape[axis] for shape in image_shapes.values())) for axis in (0, 1))
        raise DataError(
            f"{arrays.path} holds images of different shapes: {shapes}; one shape for all is accepted. --resize {least}"
            " brings all to one size, and --grey makes colour grey."
        )
    parts = {part: header.shape[0] for part, header in headers.items()}
    # Two bytes hold any grey level; an array in Fortran's order is read whole.
    pixels = math.prod(image_shape) * sum(min(2, each.dtype.itemsize) * each.shape[0] for each in headers.values())
    whole = sum(header.n_bytes for header in headers.values() if header.fortran_order)
    check_memory(pixels + whole, str(arrays.path))
    return DatasetInfo(
        name=short_name(arrays.path.stem),
        image_shape=image_shape,
        grey_levels=_grey_levels(arrays, [found[part] for part in found if part != "test"], preparation.grey_levels),
        sizes=split_sizes(parts, str(arrays.path)),
        classes=_classes(arrays, parts),
        source=arrays.source,
        split_off=missing_splits(parts),
    )


def _find(archive: ArraySource, accepted: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The name of the array of each part that the file holds."""
    found = {}
    for part, names in accepted.items():
        present = [name for name in names if name in archive.names]
        if len(present) > 1:
            raise DataError(
                f"{archive.path} holds {_join_names(present)}, which mean the same; one of them is accepted."
            )
        if present:
            found[part] = present[0]
    return found


def _grey_levels(archive: ArraySource, arrays: list[str], given: int | None) -> int:
    if given is not None:
        return check_grey_levels(given, str(archive.path))
    if "grey_levels" in archive.names:
        header, where = archive.header("grey_levels"), archive.where("grey_levels")
        if header.shape not in ((), (1,)) or header.dtype.kind not in "ui":
            raise DataError(f"{where} has shape {header.shape} and dtype {header.dtype}; one integer is accepted.")
        return check_grey_levels(int(archive.read("grey_levels").item()), where)
    # Stops at the first value above 1, which is early in images with grey levels.
    binary = all(block.max() <= 1 for name in arrays for block in archive.blocks(name))
    return 2 if binary else 256


def _classes(archive: ArraySource, parts: dict[str, int]) -> int:
    classes = 0
    found = _find(archive, _LABEL_NAMES)
    for part, name in found.items():
        where = archive.where(name)
        if part not in parts:
            raise DataError(f"{where} are labels without images; {_IMAGE_NAMES[part][0]} is missing.")
        header = archive.header(name)
        check_labels(header.shape, header.dtype, parts[part], where)
        classes = max(classes, int(to_labels(archive.read(name), parts[part], where).max()) + 1)
    if found and not {"train", ALL} & found.keys():
        raise DataError(
            f"{archive.path} holds {_join_names(found.values())} without y_train; both, or none, is accepted."
        )
    return classes


def _join_names(names: Iterable[str]) -> str:
    listed = list(names)
    shown = listed if len(listed) <= MOST_LISTED else [*listed[:MOST_LISTED], f"{len(listed) - MOST_LISTED:,} more"]
    return ", ".join(shown) or "none"
