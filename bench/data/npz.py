"""The user's own .npz file.

It holds ``x_train`` and optionally ``x_validation`` (or ``x_valid``, ``x_val``) and
``x_test``; or one array ``images`` (or ``x``) alone. Missing splits are made as :mod:`bench.data.splitting` says.
Each array has shape (n, height, width) or (n, height, width, channels) and holds integers or booleans.
Optional: labels under the same names with ``y`` for ``x`` (``labels`` for ``images``), and the number ``grey_levels``.
Other arrays in the file are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.core.errors import DataError
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.npz_archive import ArraySource, NpzArchive
from bench.data.splitting import ALL, select, split_sizes
from bench.data.validation import (
    assemble,
    check_grey_levels,
    check_image_dtype,
    check_labels,
    check_memory,
    check_shape,
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
_ACCEPTED = "x_train (with optional x_validation and x_test), or images alone"


def describe(path: Path, grey_levels: int | None = None) -> DatasetInfo:
    """The metadata of the file, from its headers, its labels and, if ``grey_levels`` is unknown, its pixels.

    Args:
        path: the .npz file.
        grey_levels: number of values that a pixel's channel can take. By default the file's ``grey_levels``; without
            it 2 if no image of train and validation has a value above 1, and 256 otherwise.

    Raises:
        DataError: the file is unreadable, an array is missing, or has a wrong shape or dtype.
    """
    with NpzArchive(path) as archive:
        return describe_arrays(archive, grey_levels)


def load(path: Path, grey_levels: int | None = None) -> Dataset:
    """Load the images of the file, in three splits.

    Args:
        path: the .npz file.
        grey_levels: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or a value is outside 0..grey_levels-1.
    """
    with NpzArchive(path) as archive:
        return load_arrays(archive, grey_levels)


def load_arrays(archive: ArraySource, grey_levels: int | None) -> Dataset:
    """Make images of named arrays, in three splits; see :func:`load`."""
    info = describe_arrays(archive, grey_levels)
    images = {
        part: to_images(archive.read(name), info.grey_levels, archive.where(name))
        for part, name in _find(archive, _IMAGE_NAMES).items()
    }
    labels = {
        part: to_labels(archive.read(name), len(images[part]), archive.where(name))
        for part, name in _find(archive, _LABEL_NAMES).items()
    }
    splits = {
        split: Split(images[part][indices], labels[part][indices] if part in labels else None)
        for split, (part, indices) in select({part: len(images[part]) for part in images}, str(archive.path)).items()
    }
    return assemble(info, splits, str(archive.path))


def describe_arrays(archive: ArraySource, grey_levels: int | None) -> DatasetInfo:
    """The metadata of named arrays; see :func:`describe`."""
    arrays = _find(archive, _IMAGE_NAMES)
    if not {"train", ALL} & arrays.keys():
        raise DataError(f"{archive.path} holds the arrays {_join_names(archive.names)}; {_ACCEPTED}, are accepted.")
    if len(arrays) > 1 and ALL in arrays:
        raise DataError(f"{archive.path} holds {_join_names(arrays.values())}; {_ACCEPTED}, are accepted, not both.")

    headers = {part: archive.header(name) for part, name in arrays.items()}
    image_shapes = {}
    for part, name in arrays.items():
        check_image_dtype(headers[part].dtype, archive.where(name))
        image_shapes[name] = check_shape(headers[part].shape, archive.where(name))
    if len(set(image_shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in image_shapes.items())
        raise DataError(f"{archive.path} holds images of different shapes: {found}; one shape for all is accepted.")
    check_memory(sum(header.n_bytes for header in headers.values()), str(archive.path))

    parts = {part: header.shape[0] for part, header in headers.items()}
    return DatasetInfo(
        name=short_name(archive.path.stem),
        image_shape=next(iter(image_shapes.values())),
        grey_levels=_grey_levels(archive, [arrays[part] for part in arrays if part != "test"], grey_levels),
        sizes=split_sizes(parts, str(archive.path)),
        classes=_classes(archive, parts),
        source=archive.source,
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
    binary = all(chunk.max() <= 1 for name in arrays for chunk in archive.chunks(name))
    return 2 if binary else 256


def _classes(archive: ArraySource, parts: dict[str, int]) -> int:
    classes = 0
    for part, name in _find(archive, _LABEL_NAMES).items():
        where = archive.where(name)
        if part not in parts:
            raise DataError(f"{where} are labels without images; {_IMAGE_NAMES[part][0]} is missing.")
        header = archive.header(name)
        check_labels(header.shape, header.dtype, parts[part], where)
        classes = max(classes, int(to_labels(archive.read(name), parts[part], where).max()) + 1)
    return classes


def _join_names(names: Iterable[str]) -> str:
    listed = list(names)
    shown = listed if len(listed) <= MOST_LISTED else [*listed[:MOST_LISTED], f"{len(listed) - MOST_LISTED:,} more"]
    return ", ".join(shown) or "none"
