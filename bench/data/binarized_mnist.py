"""``binarized_mnist``: MNIST with a fixed binarisation, on which the VAE literature reports nats."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.core.files import replacing
from bench.data import npz
from bench.data.cache import cache_folder, download_error, download_lock
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.preparation import Preparation
from bench.data.splitting import SPLITS
from bench.data.validation import assemble

BINARIZED_MNIST = DatasetInfo(
    name="binarized_mnist",
    image_shape=(28, 28, 1),
    grey_levels=2,
    sizes={"train": 50_000, "validation": 10_000, "test": 10_000},
    classes=0,
    source="Binarised MNIST, the fixed binarisation of Larochelle and Murray (2011), www.cs.toronto.edu/~larocheh; "
    "derived from MNIST, CC BY-SA 3.0.",
)
DIGEST = "d1a9c7298d70d630e36a069942dacddd0fb04462c584c69f4ae27fb5f5ad54ae"
"""``Dataset.digest`` of the published data. The files come without a checksum and over plain HTTP."""

_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
_FILE_PARTS = {"train": "train", "validation": "valid", "test": "test"}


def load_binarized_mnist() -> Dataset:
    """Binarised MNIST: 50,000 / 10,000 / 10,000 images (28, 28, 1) in {0, 1}, without labels.

    The three published text files are downloaded and parsed once, then cached as ``binarized_mnist.npz`` beside them.

    Raises:
        DataError: the data is neither cached nor downloadable, or is not the published data.
    """
    cached = cache_folder() / "binarized_mnist.npz"
    with download_lock():
        if cached.exists():
            return _verify(npz.load(cached, Preparation(grey_levels=2)), cached)
        files = {split: _fetch(f"binarized_mnist_{part}.amat") for split, part in _FILE_PARTS.items()}
        splits = {split: Split(_parse(file)) for split, file in files.items()}
        folder = files["train"].parent
        dataset = _verify(assemble(BINARIZED_MNIST, splits, str(folder)), folder)
        _save(cached, splits)
    return dataset


def _verify(found: Dataset, where: Path) -> Dataset:
    if found.digest != DIGEST:
        raise DataError(
            f"{where}: the content digest is {found.digest}; that of the published binarized_mnist, {DIGEST}, is "
            "accepted. Remove the binarized_mnist files there to download them again."
        )
    tuning = found.tuning
    return Dataset(BINARIZED_MNIST, tuning.train, tuning.validation, found.open_test())


def _fetch(name: str) -> Path:
    file = cache_folder() / name
    if file.exists():
        return file
    import keras

    try:
        return Path(keras.utils.get_file(name, f"{_URL}/{name}", cache_dir=str(cache_folder().parent)))
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        files = " and ".join(f"binarized_mnist_{part}.amat" for part in _FILE_PARTS.values())
        raise download_error("binarized_mnist", files, cache_folder(), error) from error


def _parse(file: Path) -> npt.NDArray[np.uint8]:
    """Images (n, 28, 28, 1) of a text file with one image per line: 784 digits 0 or 1, separated by spaces."""
    try:
        text = np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    pixels = text[text > ord(" ")] - np.uint8(ord("0"))
    if pixels.size == 0 or pixels.size % BINARIZED_MNIST.dimensions or pixels.max() > 1:
        raise DataError(
            f"{file} is not one of the published text files, which hold 784 digits 0 or 1 in each line. "
            "Remove it to download it again."
        )
    return pixels.reshape(-1, *BINARIZED_MNIST.image_shape)


def _save(file: Path, splits: dict[str, Split]) -> None:
    """Write an .npz file atomically."""
    train, validation, test = (splits[split].images for split in SPLITS)
    try:
        with replacing(file) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, x_train=train, x_validation=validation, x_test=test)
    except OSError as error:
        warnings.warn(f"{file} cannot be written ({error}): the text files are parsed every time.", stacklevel=3)
