"""The user's own folder of images.

If the folder has a subfolder ``train``, then ``train``, ``validation`` (or ``valid``, ``val``) and ``test`` are the
splits, and everything else beside them is ignored. Without any of these all its images form one part. Missing splits
are made as :mod:`bench.data.splitting` says. Subfolders are searched recursively; hidden files and folders are skipped.

All images have one size and one kind: 1-bit, grey or colour. Pixels are used as stored: nothing is resized or rotated.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.splitting import ALL, permutation, select, split_sizes
from bench.data.validation import assemble, check_grey_levels, check_memory, short_name, to_images

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_PART_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class Kind(NamedTuple):
    """Size and mode, which all images of a folder must share."""

    width: int
    height: int
    mode: str
    """Pillow's mode once a palette is resolved: ``1`` (1-bit), ``L`` (grey) or ``RGB`` (colour)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 3 if self.mode == "RGB" else 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {({'1': '1-bit', 'L': 'grey', 'RGB': 'colour'})[self.mode]}"


def describe(folder: Path, grey_levels: int | None = None) -> DatasetInfo:
    """The metadata of the folder, from the headers of all its images.

    Args:
        folder: the folder.
        grey_levels: number of values that a pixel's channel can take; by default 2 for 1-bit images, otherwise 256.

    Raises:
        DataError: there are too few images, one is unreadable or has alpha, or they differ in size or kind.
    """
    return _describe(folder, _list_parts(folder), grey_levels)


def load(folder: Path, grey_levels: int | None = None) -> Dataset:
    """Load the images of the folder, in three splits, without labels.

    Args:
        folder: the folder.
        grey_levels: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or a value is outside 0..grey_levels-1.
    """
    parts = _list_parts(folder)
    info = _describe(folder, parts, grey_levels)
    splits = {}
    for split, (part, indices) in select({part: len(files) for part, files in parts.items()}, str(folder)).items():
        files = np.array(parts[part], dtype=object)[indices]
        images = np.empty((len(files), *info.image_shape), np.uint8 if info.grey_levels <= 256 else np.uint16)
        for image, file in zip(images, files, strict=True):
            image[:] = _read(file, info)
        splits[split] = Split(images)
    return assemble(info, splits, str(folder))


def _describe(folder: Path, parts: dict[str, list[Path]], grey_levels: int | None) -> DatasetInfo:
    sizes = split_sizes({part: len(files) for part, files in parts.items()}, str(folder))
    files = [file for part in parts.values() for file in part]
    kinds = map(_inspect, files)
    first = next(kinds)
    for file, kind in zip(files[1:], kinds, strict=True):
        if kind != first:
            raise DataError(f"{file} is {kind}, but {files[0]} is {first}; images of one size and kind are accepted.")
    check_memory(len(files) * int(np.prod(first.shape)), str(folder))
    if grey_levels is None:
        grey_levels = 2 if first.mode == "1" else 256
    return DatasetInfo(
        name=short_name(folder.resolve().name),
        image_shape=first.shape,
        grey_levels=check_grey_levels(grey_levels, str(folder)),
        sizes=sizes,
        classes=0,
        # File names need not be valid text.
        source=f"the user's own folder {folder.resolve().name.encode(errors='replace').decode()}",
    )


def _list_parts(folder: Path) -> dict[str, list[Path]]:
    """The image files of each part, in a fixed shuffled order."""
    tops: dict[str, Path] = {}
    for part, names in _PART_FOLDERS.items():
        present = [folder / name for name in names if (folder / name).is_dir()]
        if len(present) > 1:
            raise DataError(f"{present[0]} and {present[1]} mean the same; one of them is accepted.")
        if present:
            tops[part] = present[0]
    if tops and "train" not in tops:
        # Otherwise images that the user holds out would become training images.
        found = next(iter(tops.values()))
        raise DataError(f"{found} stands without a folder {folder / 'train'}; both, or neither, are accepted.")
    return {part: _list_images(top, folder) for part, top in (tops or {ALL: folder}).items()}


def _list_images(top: Path, folder: Path) -> list[Path]:
    files = sorted(_walk(top, folder.resolve()), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        raise DataError(f"{top} holds no image; files that end in {', '.join(SUFFIXES)} are accepted.")
    # Sorted, as the order must not depend on the file system; then shuffled, as a folder with one subfolder per class
    # begins with images of one class.
    return [files[i] for i in permutation(len(files))]


def _walk(top: Path, root: Path) -> Iterator[Path]:
    def raise_data_error(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be listed: {error.strerror}. A readable folder is accepted."
        ) from error

    if top.resolve() != root:  # The user's folder itself may be a link.
        _refuse_link(top)
    for parent, folders, names in os.walk(top, onerror=raise_data_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
        for path in (Path(parent, name) for name in folders):
            _refuse_link(path)
        for file in (Path(parent, name) for name in images):
            try:
                target = file.resolve()
            except (OSError, RuntimeError) as error:  # a link to itself
                raise DataError(f"{file} cannot be followed: {error}. Files are accepted.") from error
            if not target.is_relative_to(root):
                raise DataError(f"{file} links to {target}, outside {root}; images inside it are accepted.")
            # Not opened: reading a named pipe would block.
            if not file.is_file():
                raise DataError(f"{file} is a pipe, a device or a broken link; files are accepted.")
            yield file


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"{folder} is a link to a folder, which is not followed; a plain folder is accepted.")


@contextmanager
def _open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image; any error of Pillow and its decoders becomes a DataError that names the file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Only these decoders: Pillow would otherwise choose any by the content of the file.
            with Image.open(file, formats=_FORMATS) as image:
                yield image
    except DataError:
        raise
    except Exception as error:  # Decoders raise errors of many unrelated kinds.
        raise DataError(f"{file} cannot be read as an image: {error}. {', '.join(_FORMATS)} are accepted.") from error


def _kind(image: Image.Image, file: Path) -> Kind:
    if image.has_transparency_data:
        raise DataError(
            f"{file} has an alpha channel or a transparent colour; images without transparency are accepted."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{file} holds several frames; one image in each file is accepted.")
    mode = "RGB" if image.mode == "P" else image.mode
    if mode not in ("1", "L", "RGB"):
        raise DataError(f"{file} has the mode {mode}; 1-bit, 8-bit grey, RGB and palette images are accepted.")
    return Kind(*image.size, mode)


def _inspect(file: Path) -> Kind:
    with _open_image(file) as image:
        return _kind(image, file)


def _read(file: Path, info: DatasetInfo) -> npt.NDArray[np.integer]:
    """Pixels (height, width, channels)."""
    with _open_image(file) as image:
        kind = _kind(image, file)
        pixels: npt.NDArray[np.generic] = np.asarray(image.convert(kind.mode)).reshape(1, *kind.shape)
    if kind.shape != info.image_shape:
        raise DataError(f"{file} is now {kind}; it has changed while the folder was read.")
    images = to_images(pixels, info.grey_levels, str(file))
    return images.reshape(info.image_shape)
