"""The data sets by name: the built-in ones, the user's own .npz files, folders of images and functions.

A built-in data set is one module with its :class:`DatasetInfo` and its loader, and one line in ``_LOADERS``; a user's
is a function that :func:`register_dataset` registers.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy.typing as npt

from bench.core.errors import DataError, SettingsError
from bench.core.extensions import mark_as_code
from bench.data import folder, npz
from bench.data.binarized_mnist import BINARIZED_MNIST, load_binarized_mnist
from bench.data.bundled import DIGITS, load_digits
from bench.data.cache import cache_folder
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.keras_datasets import (
    CACHED_FILES,
    CIFAR10,
    FASHION_MNIST,
    MNIST,
    load_cifar10,
    load_fashion_mnist,
    load_mnist,
)
from bench.data.npz import describe_arrays, load_arrays
from bench.data.npz_archive import ArraysInMemory

_LOADERS: dict[str, tuple[DatasetInfo, Callable[[], Dataset]]] = {
    info.name: (info, loader)
    for info, loader in (
        (DIGITS, load_digits),
        (MNIST, load_mnist),
        (FASHION_MNIST, load_fashion_mnist),
        (CIFAR10, load_cifar10),
        (BINARIZED_MNIST, load_binarized_mnist),
    )
}
BUILT_IN: tuple[str, ...] = tuple(_LOADERS)
"""Names of the built-in data sets."""
Arrays = Mapping[str, npt.ArrayLike]
ArraysFunction = TypeVar("ArraysFunction", bound=Callable[[], Arrays])


def register_dataset(
    name: str, *, source: str, grey_levels: int | None = None
) -> Callable[[ArraysFunction], ArraysFunction]:
    """Register a function of the user's as a data set; it decorates the function.

    The function returns integer arrays by name, as an ``.npz`` file holds them: ``x_train`` and, where there are,
    ``x_validation``, ``x_test``, ``y_train``, …, or ``images`` alone. It must return the same at each call, in every
    process: a study is refused if its data has changed.

    Args:
        name: by which ``--dataset`` and :func:`bench.run_study` find it: letters, digits, ``_`` and ``-``.
        source: where the data comes from, and its licence.
        grey_levels: number of values that a pixel's channel can take; by default the data says it.

    Raises:
        DataError: a built-in data set has this name, or it is no name.
    """
    if name in BUILT_IN or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise DataError(f"a data set cannot be registered as {name!r}: letters, digits, _ and -, and not a built-in's")

    def register(function: ArraysFunction) -> ArraysFunction:
        mark_as_code(Path(inspect.getsourcefile(function) or name))
        arrays = cache(lambda: ArraysInMemory(name, function(), source))
        _REGISTERED[name] = (
            lambda given: describe_arrays(arrays(), given or grey_levels),
            lambda given: load_arrays(arrays(), given or grey_levels),
        )
        return function

    return register


_REGISTERED: dict[str, tuple[Callable[[int | None], DatasetInfo], Callable[[int | None], Dataset]]] = {}


def is_at_hand(built_in: str) -> bool:
    """Whether a built-in data set can be loaded without downloading anything; no file is opened to find out."""
    files = {**CACHED_FILES, "binarized_mnist": ("binarized_mnist.npz",)}.get(built_in, ())
    return all((cache_folder() / file).exists() for file in files)


def describe(dataset: str, grey_levels: int | None = None) -> DatasetInfo:
    """What is known of a data set before its images are loaded.

    For a built-in data set nothing is opened; for the user's own data, headers and, of an .npz file, labels and the
    pixels that tell the grey levels.

    Args:
        dataset: a built-in name, or a path to an .npz file or a folder of images. A folder or a file that has the
            name of a built-in data set is reached as ``./name``.
        grey_levels: number of values that a pixel's channel can take, where the user's own data does not say it.

    Raises:
        DataError: no such data set, or the user's own data is not of an accepted form.
    """
    if dataset in _LOADERS:
        info, _ = _LOADERS[dataset]
        _check_built_in_grey_levels(info, grey_levels)
        return info
    if dataset in _REGISTERED:
        return _REGISTERED[dataset][0](grey_levels)
    path = _existing_path(dataset)
    return folder.describe(path, grey_levels) if path.is_dir() else npz.describe(path, grey_levels)


def load(dataset: str, grey_levels: int | None = None) -> Dataset:
    """The images of a data set, checked, in three splits.

    The splits are disjoint by index: no image of the source is in two of them. Images that the source itself holds
    twice, as real data often does, may still meet across splits; they are not searched for.

    Args:
        dataset: as for :func:`describe`.
        grey_levels: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or the data can neither be found in the cache nor downloaded, or a pixel
            is outside 0..grey_levels-1.
    """
    if dataset in _LOADERS:
        info, loader = _LOADERS[dataset]
        _check_built_in_grey_levels(info, grey_levels)
        return loader()
    if dataset in _REGISTERED:
        return _REGISTERED[dataset][1](grey_levels)
    path = _existing_path(dataset)
    return folder.load(path, grey_levels) if path.is_dir() else npz.load(path, grey_levels)


def _check_built_in_grey_levels(info: DatasetInfo, grey_levels: int | None) -> None:
    if grey_levels not in (None, info.grey_levels):
        raise DataError(
            f"{info.name} has {info.grey_levels} grey levels, not {grey_levels}; "
            "leave grey_levels out, it is for your own data."
        )


def _existing_path(dataset: str) -> Path:
    try:
        # The name is logged, and logs and databases hold text.
        dataset.encode()
        path = Path(dataset).expanduser()
        # Path("") is the current folder, which nobody means.
        if dataset.strip() and path.exists():
            # Not opened: reading a named pipe would block.
            if not path.is_file() and not path.is_dir():
                raise DataError(f"the data set {dataset!r} is a pipe or a device; a file or a folder is accepted.")
            return path
    except UnicodeEncodeError as error:
        raise DataError(f"the data set {dataset!r} has a name that is no text: rename it.") from error
    except (OSError, RuntimeError) as error:
        raise DataError(f"the data set {dataset!r} cannot be opened: {error}.") from error
    close = difflib.get_close_matches(dataset.lower().replace("-", "_"), BUILT_IN, n=1)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    raise DataError(
        f"there is no data set {dataset!r}, neither built in nor as a file or folder.{suggestion} Accepted are "
        f"{', '.join(BUILT_IN)}, or the path to an .npz file or a folder of images."
    )


def check_outside(dataset: str, info: DatasetInfo) -> None:
    """Check that the images of another data set are of the kind that ``info`` describes.

    Raises:
        DataError: there is no such data set.
        SettingsError: its images have another shape or number of grey levels.
    """
    other = describe(dataset)
    if (other.image_shape, other.grey_levels) != (info.image_shape, info.grey_levels):
        mine, others = (
            f"{'x'.join(map(str, each.image_shape))} with {each.grey_levels} grey levels" for each in (info, other)
        )
        raise SettingsError(f"outside_dataset={dataset!r} has images {others}: those of {info.name} are {mine}")
