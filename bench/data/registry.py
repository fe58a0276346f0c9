"""The data sets by name: the built-in ones, the user's own files, folders and functions.

A built-in data set of images is one module with its :class:`DatasetInfo` and its loader, and one line in ``_LOADERS``;
text and sound by name are in :mod:`bench.data.named_sequences`; a user's is a function that :func:`register_dataset`
registers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import numpy.typing as npt

from bench.core.errors import DataError, SettingsError
from bench.core.extensions import mark_as_code
from bench.core.sequences import Kind
from bench.data import audio, folder, npz, text
from bench.data.binarized_mnist import BINARIZED_MNIST, load_binarized_mnist
from bench.data.bundled import DIGITS, load_digits
from bench.data.cache import cache_folder
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.folder_layout import IMAGES, RECORDINGS, find_sought
from bench.data.keras_datasets import (
    CACHED_FILES,
    CIFAR10,
    FASHION_MNIST,
    MNIST,
    load_cifar10,
    load_fashion_mnist,
    load_mnist,
)
from bench.data.named_sequences import SEQUENCES
from bench.data.npz import describe_arrays, load_arrays
from bench.data.npz_archive import ArraysInMemory
from bench.data.other_formats import SOUNDS, TEXTS, holds_numbers
from bench.data.preparation import AS_STORED, IN_WORDS, Preparation

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
BUILT_IN: tuple[str, ...] = (*_LOADERS, *SEQUENCES)
"""Names of the built-in data sets."""
Arrays = Mapping[str, npt.ArrayLike]
ArraysFunction = TypeVar("ArraysFunction", bound=Callable[[], Arrays])


def register_dataset(
    name: str, *, source: str, grey_levels: int | None = None
) -> Callable[[ArraysFunction], ArraysFunction]:
    """Decorate a function to register it as a data set.

    The function returns integer arrays by name, as an ``.npz`` file holds them: ``x_train`` and, where there are,
    ``x_validation``, ``x_test``, ``y_train``, …, or ``images`` alone. It must return the same arrays at each call, in
    every process: a study whose data has changed is refused.

    Args:
        name: its name for ``--dataset`` and :func:`bench.run_study`: letters, digits, ``_`` and ``-``.
        source: where the data comes from, and its licence.
        grey_levels: number of values that a pixel's channel can take; by default 2 where no value is above 1, else 256.

    Raises:
        DataError: a built-in data set has this name, or the name is invalid.
    """
    if name in BUILT_IN or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise DataError(f"a data set cannot be registered as {name!r}: letters, digits, _ and -, and not a built-in's")

    def register(function: ArraysFunction) -> ArraysFunction:
        mark_as_code(function)
        arrays = cache(lambda: _arrays_of(name, function, source))

        def with_levels(given: Preparation) -> Preparation:
            return replace(given, grey_levels=given.grey_levels or grey_levels)

        _REGISTERED[name] = (
            lambda given: describe_arrays(arrays(), with_levels(given)),
            lambda given: load_arrays(arrays(), with_levels(given)),
        )
        return function

    return register


def _arrays_of(name: str, function: Callable[[], Arrays], source: str) -> ArraysInMemory:
    try:
        found = function()
    except Exception as error:  # The function is the user's: it may raise anything.
        raise DataError(f"the data set {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(found, Mapping):
        raise DataError(
            f"the function of the data set {name!r} returned {type(found).__name__}: a mapping of arrays by name, such "
            "as x_train, is accepted"
        )
    try:
        return ArraysInMemory(name, found, source)
    except (TypeError, ValueError) as error:
        raise DataError(f"the data set {name!r} holds what is no array: {error}") from error


_REGISTERED: dict[str, tuple[Callable[[Preparation], DatasetInfo], Callable[[Preparation], Dataset]]] = {}


def is_cached(built_in: str) -> bool:
    """Whether a built-in data set can be loaded without a download; opens no file."""
    if built_in in SEQUENCES:
        return SEQUENCES[built_in].is_cached
    files = {**CACHED_FILES, "binarized_mnist": ("binarized_mnist.npz",)}.get(built_in, ())
    return all((cache_folder() / file).exists() for file in files)


def describe(dataset: str, preparation: Preparation = AS_STORED) -> DatasetInfo:
    """The metadata of a data set, without loading its images.

    Nothing is opened for a built-in data set of images; for the user's own data headers are read and, of an .npz file,
    labels and pixels until the number of grey levels is known. Text is read whole, as its alphabet is not known before.

    Args:
        dataset: a name, or the path of an .npz or .npy file, a text, a recording, or a folder of images, of texts or of
            recordings. ``./name`` is a file or folder that has the name of a built-in data set.
        preparation: how the data is read.

    Raises:
        DataError: no such data set, the user's own data is not of an accepted form, or it has too few training images.
    """
    return preparation.describe_chosen(_describe(dataset, preparation))


def _describe(dataset: str, preparation: Preparation) -> DatasetInfo:
    if dataset in SEQUENCES:
        return SEQUENCES[dataset].describe(preparation)
    if dataset in {**_LOADERS, **_REGISTERED}:
        preparation.check_kind("image", dataset)
    if dataset in _LOADERS:
        info, _ = _LOADERS[dataset]
        _check_built_in_grey_levels(info, preparation.grey_levels)
        return preparation.describe(info)
    if dataset in _REGISTERED:
        return _REGISTERED[dataset][0](preparation)
    path = _existing_path(dataset)
    return _reader(path, preparation).describe(path, preparation)


def load(dataset: str, preparation: Preparation = AS_STORED) -> Dataset:
    """Load and check the images of a data set, in three splits.

    The splits are disjoint by index: no image of the source is in two of them. Duplicates within the source, which are
    common in real data, may be in different splits; they are not searched for.

    Args:
        dataset: as for :func:`describe`.
        preparation: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or the data is neither cached nor downloadable, or a pixel is outside
            0..grey_levels-1.
    """
    return preparation.choose(_load(dataset, preparation))


def _load(dataset: str, preparation: Preparation) -> Dataset:
    if dataset in SEQUENCES:
        return SEQUENCES[dataset].load(preparation)
    if dataset in {**_LOADERS, **_REGISTERED}:
        preparation.check_kind("image", dataset)
    if dataset in _LOADERS:
        info, loader = _LOADERS[dataset]
        _check_built_in_grey_levels(info, preparation.grey_levels)
        return preparation.apply_to_all(loader())
    if dataset in _REGISTERED:
        return _REGISTERED[dataset][1](preparation)
    path = _existing_path(dataset)
    return _reader(path, preparation).load(path, preparation)


class _Reader(Protocol):
    """A module that reads the user's own file or folder."""

    def describe(self, path: Path, preparation: Preparation) -> DatasetInfo:
        """Its metadata."""

    def load(self, path: Path, preparation: Preparation) -> Dataset:
        """Its data."""


def _reader(path: Path, preparation: Preparation) -> _Reader:
    """The module that reads the user's own file or folder.

    Raises:
        DataError: it is unreadable, holds images and recordings, or a setting is for another kind of data.
    """
    if path.is_dir():
        sought = find_sought(path)
        if sought == RECORDINGS:
            return audio
        if sought != IMAGES:
            return text
    elif path.suffix.lower() in SOUNDS:
        return audio
    elif preparation.text_unit or (path.suffix.lower() in TEXTS and not holds_numbers(path)):
        return text
    return folder if path.is_dir() else npz


def _kind(dataset: str, preparation: Preparation) -> Kind:
    """What a data set is of."""
    if dataset in SEQUENCES:
        return SEQUENCES[dataset].kind
    if dataset in _LOADERS or dataset in _REGISTERED:
        return "image"
    reader = _reader(_existing_path(dataset), preparation)
    return "text" if reader is text else "audio" if reader is audio else "image"


def _check_built_in_grey_levels(info: DatasetInfo, grey_levels: int | None) -> None:
    if grey_levels not in (None, info.grey_levels):
        raise DataError(
            f"{info.name} has {info.grey_levels} grey levels, not {grey_levels}; "
            "leave grey_levels out, it is for your own data."
        )


def _existing_path(dataset: str) -> Path:
    try:
        # Logs and databases need valid text.
        dataset.encode()
        path = Path(dataset).expanduser()
        # Path("") is the current folder.
        if dataset.strip() and path.exists():
            # Not opened: reading a named pipe would block.
            if not path.is_file() and not path.is_dir():
                raise DataError(f"the data set {dataset!r} is a pipe or a device; a file or a folder is accepted.")
            return path
    except UnicodeEncodeError as error:
        raise DataError(f"the data set {dataset!r} has a name that is not valid text: rename it.") from error
    except (OSError, RuntimeError) as error:
        raise DataError(f"the data set {dataset!r} cannot be opened: {error}.") from error
    close = difflib.get_close_matches(dataset.lower().replace("-", "_"), BUILT_IN, n=1)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    raise DataError(
        f"there is no data set {dataset!r}, neither built in nor as a file or folder.{suggestion} Accepted are "
        f"{', '.join(BUILT_IN)}, or the path to an .npz or .npy file, a text (.txt), a recording (.wav, .flac) or a "
        "folder of images, texts or recordings."
    )


def check_outside(dataset: str, info: DatasetInfo, preparation: Preparation = AS_STORED) -> Preparation:
    """Check that the images of another data set have the shape and grey levels of ``info``.

    Args:
        dataset: as for :func:`describe`.
        info: the data that it is compared with.
        preparation: how the images of ``info`` are read.

    Returns:
        How the other images are read: of the same size and kind, all of them, with grey levels of their own. Text is
        read in the alphabet of ``info``, sound at its rate.

    Raises:
        DataError: there is no such data set, or it is text that its alphabet cannot write.
        SettingsError: it is of another kind, or its images have another shape or number of grey levels.
    """
    own_levels = replace(preparation, grey_levels=None, train_images=None, speakers=False)
    if info.kind != "image":
        own_levels = replace(own_levels, window=info.image_shape[1], sample_rate=info.sample_rate)
    if info.encoding == "characters":
        own_levels = replace(own_levels, symbols=info.symbols)
    if (kind := _kind(dataset, preparation)) != info.kind:
        raise SettingsError(
            f"outside_dataset={dataset!r} is {IN_WORDS[kind]}, and {info.name} is {IN_WORDS[info.kind]}: likelihoods "
            "of other kinds of data are not comparable"
        )
    other = describe(dataset, own_levels)
    if _meaning(other) != _meaning(info):
        mine, others = map(_in_words, (info, other))
        noun = "images " if info.kind == "image" else ""
        raise SettingsError(f"outside_dataset={dataset!r} has {noun}{others}: those of {info.name} are {mine}")
    return own_levels


def _meaning(info: DatasetInfo) -> tuple[object, ...]:
    """What two data sets must share for the likelihoods of one model to be comparable."""
    return info.image_shape, info.grey_levels, info.kind, info.encoding, info.symbols, info.sample_rate


def _in_words(info: DatasetInfo) -> str:
    if info.kind != "image":
        return info.form
    return f"{'x'.join(map(str, info.image_shape))} with {info.grey_levels} grey levels"
