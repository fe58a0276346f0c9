"""Checks of every data source; each error says what was found and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data.dataset import Dataset, DatasetInfo, Images, Labels, Split
from bench.data.other_formats import square_side
from bench.data.splitting import SPLITS

MOST_BYTES = 16 * 2**30
"""Largest data set that is accepted, in bytes of its arrays, which are held in memory."""
MOST_GREY_LEVELS = 2**16
MOST_CHANNELS = 4
MOST_CLASSES = 2**16


def short_name(name: str) -> str:
    """``name`` reduced to letters, digits, ``_`` and ``-``, so that it fits a file name and an identifier."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "data"


def check_grey_levels(grey_levels: int, where: str) -> int:
    """Check and return a number of grey levels.

    Raises:
        DataError: it is not in 2..65536.
    """
    if not 2 <= grey_levels <= MOST_GREY_LEVELS:
        raise DataError(f"{where}: grey_levels is {grey_levels}; 2 to {MOST_GREY_LEVELS} are accepted.")
    return grey_levels


def check_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    """Check the shape of images (n, height, width[, channels]), and return (height, width, channels).

    Raises:
        DataError: the array has another number of axes, no image, an empty image, or too many channels.
    """
    if len(shape) not in (3, 4):
        raise DataError(
            f"{where} has shape {shape}; (n, height, width) or (n, height, width, channels) is accepted."
            f"{_unflatten(shape)}"
        )
    if shape[0] == 0:
        raise DataError(f"{where} is empty: its shape is {shape}; one image or more is accepted.")
    height, width, channels = shape[1:] if len(shape) == 4 else (*shape[1:], 1)
    if height < 1 or width < 1 or not 1 <= channels <= MOST_CHANNELS:
        raise DataError(
            f"{where} has shape {shape}, so {height}x{width} pixels with {channels} channels; 1 to {MOST_CHANNELS} "
            f"channels on the last axis and one pixel or more are accepted.{_move_channels(shape)}"
        )
    return height, width, channels


def _unflatten(shape: tuple[int, ...]) -> str:
    """What to type if images are rows of numbers."""
    if len(shape) != 2:
        return ""
    if side := square_side(shape[1]):
        return f" If each row is an image, type x.reshape(-1, {side}, {side})."
    if shape[1] % 3 == 0 and (side := square_side(shape[1] // 3)):
        return (
            f" If each row is an image, type x.reshape(-1, {side}, {side}, 3), or where its channels come one after "
            f"the other np.moveaxis(x.reshape(-1, 3, {side}, {side}), 1, -1)."
        )
    return " If each row is an image, type x.reshape(-1, HEIGHT, WIDTH)."


def _move_channels(shape: tuple[int, ...]) -> str:
    """What to type if another axis than the last has the channels."""
    if len(shape) == 4 and 1 <= shape[1] <= MOST_CHANNELS:
        return " If the channels come first, type np.moveaxis(x, 1, -1)."
    if len(shape) == 4 and 1 <= shape[2] <= MOST_CHANNELS:
        return " If the images come last, type np.moveaxis(x, -1, 0)."
    return ""


def check_image_dtype(dtype: np.dtype[np.generic], where: str) -> None:
    """Check that an array of images holds integers or booleans.

    Raises:
        DataError: it holds anything else.
    """
    if dtype.kind in "bui":
        return
    advice = {
        "O": "Object arrays need pickle, which can run code, and are never opened: save a plain integer array.",
        "f": "Convert values in 0..1 with np.round(255 * x).astype(np.uint8), in -1..1 with "
        "np.round(127.5 * (x + 1)).astype(np.uint8), whole values with x.astype(np.uint8).",
    }.get(dtype.kind, "Save the grey levels as uint8.")
    raise DataError(f"{where} has dtype {dtype}; integer grey levels, counted from 0, are accepted. {advice}")


def check_labels(shape: tuple[int, ...], dtype: np.dtype[np.generic], n: int, where: str) -> None:
    """Check that an array of labels has one integer for each of ``n`` images: shape (n,) or (n, 1).

    Raises:
        DataError: it has another shape or dtype.
    """
    if shape not in ((n,), (n, 1)):
        raise DataError(
            f"{where} has shape {shape} for {n} images; one label for each image, shape ({n},), is accepted."
        )
    if dtype.kind not in "ui":
        raise DataError(f"{where} has dtype {dtype}; integer class labels, counted from 0, are accepted.")


def check_memory(n_bytes: int, where: str, advice: str = "Give fewer or smaller images.") -> None:
    """Check that arrays of ``n_bytes`` can be held in memory.

    Args:
        n_bytes: their bytes.
        where: the source; errors name it.
        advice: how to go on, if they cannot.

    Raises:
        DataError: they are larger than ``MOST_BYTES`` or than the memory available now.
    """
    import psutil

    most = min(MOST_BYTES, psutil.virtual_memory().available)
    if n_bytes > most:
        raise DataError(
            f"{where}: the arrays take {n_bytes / 2**30:.1f} GiB; up to {most / 2**30:.1f} GiB are accepted "
            f"(the memory available now, at most {MOST_BYTES / 2**30:.0f} GiB). {advice}"
        )


def pixel_dtype(grey_levels: int) -> np.dtype[np.generic]:
    """The type of pixels: uint8, or uint16 above 256 grey levels."""
    return np.dtype(np.uint8 if grey_levels <= 256 else np.uint16)


def check_range(low: int, high: int, grey_levels: int, where: str) -> None:
    """Check that values from ``low`` to ``high`` are in 0..grey_levels-1.

    Raises:
        DataError: they are not; the message says what to type.
    """
    value = low if low < 0 else high
    if 0 <= value < grey_levels:
        return
    if low < 0:
        begin = 128 if low >= -128 and high < 128 else -low
        levels = begin + high + 1
        advice = f"Grey levels count from 0: type (x.astype(int) + {begin}).astype(np.uint{8 if levels <= 256 else 16})"
        advice += f", and give --grey-levels {levels}." if levels > 256 else "."
    elif high < MOST_GREY_LEVELS:
        advice = f"Set grey_levels if the data has more of them: --grey-levels {high + 1} or more."
    else:
        advice = f"Up to {MOST_GREY_LEVELS} levels are accepted: divide the values."
    raise DataError(
        f"{where} holds the value {value}; with {grey_levels} grey levels 0..{grey_levels - 1} are accepted. {advice}"
    )


def to_images(array: npt.NDArray[np.generic], grey_levels: int, where: str) -> Images:
    """Check and convert images to (n, height, width, channels) as uint8, or as uint16 above 256 grey levels.

    Args:
        array: integers or booleans (n, height, width) or (n, height, width, channels).
        grey_levels: number of values that a pixel's channel can take.
        where: the array; errors name it.

    Raises:
        DataError: wrong shape or dtype, or a value outside 0..grey_levels-1.
    """
    image_shape = check_shape(array.shape, where)
    check_image_dtype(array.dtype, where)
    check_range(int(array.min()), int(array.max()), grey_levels, where)
    return array.reshape(len(array), *image_shape).astype(pixel_dtype(grey_levels), copy=False)


def to_labels(array: npt.NDArray[np.generic], n: int, where: str) -> Labels:
    """Check and convert labels to (n,) as int64.

    Raises:
        DataError: wrong shape or dtype, or a label outside 0..65535.
    """
    check_labels(array.shape, array.dtype, n, where)
    labels = array.reshape(n)
    for label in (int(labels.min()), int(labels.max())):
        if not 0 <= label < MOST_CLASSES:
            raise DataError(
                f"{where} holds the label {label}; class labels counted from 0, up to {MOST_CLASSES - 1}, are accepted."
            )
    return labels.astype(np.int64)


def assemble(info: DatasetInfo, splits: Mapping[str, Split], where: str) -> Dataset:
    """Build the data set ``info`` of ``splits``.

    Raises:
        DataError: the images do not have the shapes and sizes of ``info``.
    """
    for name in SPLITS:
        found, expected = splits[name].images.shape, (info.sizes[name], *info.image_shape)
        if found != expected:
            raise DataError(f"{where}: the {name} images have shape {found}; {expected} is expected.")
    return Dataset(info, splits["train"], splits["validation"], splits["test"])
