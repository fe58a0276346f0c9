"""Data sets that ``keras.datasets`` downloads, verifies and caches; their validation split is the end of train."""

from __future__ import annotations

from bench.data.cache import cache_folder, download_error, download_lock
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.validation import assemble, to_images, to_labels

MNIST = DatasetInfo(
    name="mnist",
    image_shape=(28, 28, 1),
    grey_levels=256,
    sizes={"train": 50_000, "validation": 10_000, "test": 10_000},
    classes=10,
    source="MNIST (LeCun, Cortes and Burges 1998), keras.datasets.mnist, CC BY-SA 3.0; "
    "validation is the last 10,000 training images.",
)
FASHION_MNIST = DatasetInfo(
    name="fashion_mnist",
    image_shape=(28, 28, 1),
    grey_levels=256,
    sizes={"train": 50_000, "validation": 10_000, "test": 10_000},
    classes=10,
    source="Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), keras.datasets.fashion_mnist, MIT licence; "
    "validation is the last 10,000 training images.",
)
CIFAR10 = DatasetInfo(
    name="cifar10",
    image_shape=(32, 32, 3),
    grey_levels=256,
    sizes={"train": 45_000, "validation": 5_000, "test": 10_000},
    classes=10,
    source="CIFAR-10 (Krizhevsky 2009), keras.datasets.cifar10, no licence stated; "
    "validation is the last 5,000 training images.",
)

CACHED_FILES = {
    "mnist": ("mnist.npz",),
    "fashion_mnist": tuple(
        f"fashion-mnist/{part}-ubyte.gz"
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ),
    "cifar10": ("cifar-10-batches-py-target_archive",),
}
"""Files of each downloaded data set in Keras's cache."""
_FILES_IN_WORDS = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/train-images-idx3-ubyte.gz, fashion-mnist/train-labels-idx1-ubyte.gz, "
    "fashion-mnist/t10k-images-idx3-ubyte.gz and fashion-mnist/t10k-labels-idx1-ubyte.gz",
    "cifar10": "cifar-10-python.tar.gz under the name cifar-10-batches-py-target_archive",
}


def load_mnist() -> Dataset:
    """MNIST: 50,000 / 10,000 / 10,000 images (28, 28, 1) in 0..255, with labels.

    Raises:
        DataError: the data is neither cached nor downloadable.
    """
    return _load(MNIST)


def load_fashion_mnist() -> Dataset:
    """Fashion-MNIST: 50,000 / 10,000 / 10,000 images (28, 28, 1) in 0..255, with labels.

    Raises:
        DataError: the data is neither cached nor downloadable.
    """
    return _load(FASHION_MNIST)


def load_cifar10() -> Dataset:
    """CIFAR-10: 45,000 / 5,000 / 10,000 images (32, 32, 3) in 0..255, with labels.

    Raises:
        DataError: the data is neither cached nor downloadable.
    """
    return _load(CIFAR10)


def _load(info: DatasetInfo) -> Dataset:
    import keras

    try:
        with download_lock():
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, info.name).load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise download_error(info.name, _FILES_IN_WORDS[info.name], cache_folder(), error) from error

    images = to_images(x_train, info.grey_levels, f"{info.name}: x_train")
    labels = to_labels(y_train, len(images), f"{info.name}: y_train")
    test_images = to_images(x_test, info.grey_levels, f"{info.name}: x_test")
    n = info.sizes["train"]
    splits = {
        "train": Split(images[:n], labels[:n]),
        "validation": Split(images[n:], labels[n:]),
        "test": Split(test_images, to_labels(y_test, len(test_images), f"{info.name}: y_test")),
    }
    return assemble(info, splits, info.name)
