"""The user's own folder of images; :mod:`bench.data.folder_layout` says what its sub-folders mean.

Missing splits are made as :mod:`bench.data.splitting` says. All images have one size and one kind: 1-bit, grey or
colour, or are brought to it as :mod:`bench.data.preparation` says. Otherwise pixels are used as stored: nothing is
rotated.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data import alignment
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.folder_layout import Part, list_parts, valid_text
from bench.data.preparation import AS_STORED, Preparation
from bench.data.splitting import missing_splits, select, split_sizes
from bench.data.validation import (
    MOST_GREY_LEVELS,
    assemble,
    check_grey_levels,
    check_memory,
    pixel_dtype,
    short_name,
    to_images,
)

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 258, 277
"""Tags of TIFF."""


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


def describe(folder: Path, preparation: Preparation = AS_STORED) -> DatasetInfo:
    """The metadata of the folder, from the headers of all its images.

    Args:
        folder: the folder.
        preparation: how images are read; they have by default 2 grey levels if all are 1-bit, otherwise 256.

    Raises:
        DataError: there are too few images, one is unreadable or has alpha, they differ in size or kind, or it is not
            clear which sub-folders are classes.
    """
    return _describe(folder, list_parts(folder), preparation)[0]


def load(folder: Path, preparation: Preparation = AS_STORED) -> Dataset:
    """Load the images of the folder, in three splits, with labels if its sub-folders are classes.

    Args:
        folder: the folder.
        preparation: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or a value is outside 0..grey_levels-1.
    """
    parts = list_parts(folder)
    info, mode = _describe(folder, parts, preparation)
    splits = {}
    counts = {part: len(found.files) for part, found in parts.items()}
    for split, (part, indices) in select(counts, str(folder)).items():
        files = np.array(parts[part].files, dtype=object)[indices]
        images = alignment.empty((len(files), *info.image_shape), pixel_dtype(info.grey_levels))
        for image, file in zip(images, files, strict=True):
            image[:] = _read(file, info, mode, preparation)
        labels = parts[part].labels
        splits[split] = Split(images, None if labels is None else labels[indices])
    return assemble(info, splits, str(folder))


def _describe(folder: Path, parts: dict[str, Part], preparation: Preparation) -> tuple[DatasetInfo, str]:
    """The metadata, and the mode in which images are read."""
    where = str(folder)
    preparation.check_kind("image", where)
    counts = {part: len(found.files) for part, found in parts.items()}
    sizes = split_sizes(counts, where)
    files = [file for found in parts.values() for file in found.files]
    kinds = [_inspect(file) for file in files]
    if preparation.grey and {kind.mode for kind in kinds} != {"1"}:
        kinds = [kind._replace(mode="L") for kind in kinds]
    fixed = kinds if preparation.resize is None else [kind._replace(width=0, height=0) for kind in kinds]
    odd = next((i for i, kind in enumerate(fixed) if kind != fixed[0]), None)
    if odd is not None:
        raise DataError(
            f"{files[odd]} is {kinds[odd]}, but {files[0]} is {kinds[0]}; images of one size and kind are accepted."
            f"{_ways_out(kinds)}"
        )
    image_shape = preparation.shape(kinds[0].shape, where)
    grey_levels = preparation.grey_levels or (2 if kinds[0].mode == "1" else 256)
    check_grey_levels(grey_levels, where)
    check_memory(len(files) * int(np.prod(image_shape)) * pixel_dtype(grey_levels).itemsize, where)
    class_names = next((found.class_names for found in parts.values() if found.class_names), ())
    info = DatasetInfo(
        name=short_name(folder.resolve().name),
        image_shape=image_shape,
        grey_levels=grey_levels,
        sizes=sizes,
        classes=len(class_names),
        # File names need not be valid text.
        source=f"the user's own folder {valid_text(folder.resolve().name)}",
        class_names=class_names,
        split_off=missing_splits(counts),
    )
    return info, kinds[0].mode


def _ways_out(kinds: list[Kind]) -> str:
    """The options that bring images of several kinds to one."""
    ways = []
    if len({(kind.height, kind.width) for kind in kinds}) > 1:
        side = min(min(kind.height, kind.width) for kind in kinds)
        ways.append(f"--resize HEIGHTxWIDTH, such as {side}x{side}, brings all to one size")
    if len({kind.mode for kind in kinds}) > 1:
        ways.append("--grey makes all of them grey")
    return f" {', and '.join(ways)}."


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
    # Before its transparency: what removes that drops the lower 8 bits.
    if image.mode.startswith("I") or _has_16_bits(image):
        raise DataError(
            f"{file} has 16 bits per value or more; 8 bits are accepted, or a .npz or .npy file of whole numbers, "
            f"which may have up to {MOST_GREY_LEVELS} --grey-levels."
        )
    if image.has_transparency_data:
        opaque = "L" if image.mode in ("L", "LA", "La") else "RGB"
        raise DataError(
            f"{file} has an alpha channel or a transparent colour; images without transparency are accepted: in "
            f"Python, Image.open(FILE).convert('RGBA').convert({opaque!r}).save(FILE) removes it."
        )
    samples = _tiff_tags(image).get(_SAMPLES_PER_PIXEL, len(image.getbands()))
    if samples != len(image.getbands()):
        raise DataError(
            f"{file} has {samples} values per pixel, of which {len(image.getbands())} would be read; 1-bit, 8-bit "
            "grey, RGB and palette images are accepted."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{file} holds several frames; one image in each file is accepted.")
    mode = "RGB" if image.mode == "P" else image.mode
    if mode not in ("1", "L", "RGB"):
        raise DataError(f"{file} has the mode {mode}; 1-bit, 8-bit grey, RGB and palette images are accepted.")
    return Kind(*image.size, mode)


def _has_16_bits(image: Image.Image) -> bool:
    """Whether the file has 16 bits per value, of which Pillow drops the lower 8 where it is in colour."""
    if max(_tiff_tags(image).get(_BITS_PER_SAMPLE, (8,))) > 8:
        return True
    return any(";16" in str(part) for tile in getattr(image, "tile", []) for part in tile)


def _tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF, which Pillow does not hold the mode to; none of another format."""
    found: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return found


def _inspect(file: Path) -> Kind:
    with _open_image(file) as image:
        return _kind(image, file)


def _read(file: Path, info: DatasetInfo, mode: str, preparation: Preparation) -> npt.NDArray[np.integer]:
    """Pixels (height, width, channels), read in a mode and prepared."""
    with _open_image(file) as image:
        kind = _kind(image, file)._replace(mode=mode)
        pixels: npt.NDArray[np.generic] = np.asarray(image.convert(mode)).reshape(1, *kind.shape)
    prepared = preparation.apply(to_images(pixels, info.grey_levels, str(file)))
    if prepared.shape[1:] != info.image_shape:
        raise DataError(f"{file} is now {kind}; it has changed while the folder was read.")
    return prepared.reshape(info.image_shape)
