"""Data sets that are downloaded: the download is replaced, the cache and the messages are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.binarized_mnist import BINARIZED_MNIST, DIGEST, _save
from bench.data.dataset import Split
from bench.data.registry import describe, load


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folder = tmp_path / "datasets"
    folder.mkdir()
    return folder


def no_network(*_: object, **__: object) -> Any:
    raise Exception("URL fetch failure on https://example.org: None -- no route to host")  # bare, as Keras raises it


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_keras_data_sets(name: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    import keras

    module, info = getattr(keras.datasets, name), describe(name)
    n, shape = info.sizes["train"] + info.sizes["validation"], info.image_shape
    x_train = np.zeros((n, *shape[: 3 if name == "cifar10" else 2]), np.uint8)
    y_train = np.arange(n).reshape(-1, 1) % 10
    x_test, y_test = np.full_like(x_train[:10_000], 255), np.zeros(10_000, np.uint8)
    x_train[-info.sizes["validation"] :] = 7
    monkeypatch.setattr(module, "load_data", lambda: ((x_train, y_train), (x_test, y_test)))
    dataset = load(name)
    assert dataset.info == info
    assert dataset.tuning.train.images.shape == (info.sizes["train"], *shape)
    assert (dataset.tuning.validation.images == 7).all()
    assert not (dataset.tuning.train.images == 7).any()
    assert (dataset.open_test().images == 255).all()
    assert dataset.tuning.validation.labels is not None
    assert dataset.tuning.validation.labels[-1] == (n - 1) % 10

    monkeypatch.setattr(module, "load_data", lambda: ((x_train[:5], y_train[:5]), (x_test, y_test)))
    with pytest.raises(DataError, match=rf"{name}: the train images have shape \(5,.*is expected"):
        load(name)

    monkeypatch.setattr(module, "load_data", no_network)
    with pytest.raises(DataError, match=r"nor downloaded \(URL fetch failure.*\.npz file") as error:
        load(name)
    assert name in str(error.value)
    assert str(cache) in str(error.value)


def test_binarized_mnist_offline(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    import keras

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    with pytest.raises(DataError, match=r"binarized_mnist could neither.*binarized_mnist_train\.amat") as error:
        load("binarized_mnist")
    assert str(cache) in str(error.value)


def test_binarized_mnist_from_text_then_from_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path, shared_file: Callable[[str], Path]
) -> None:
    with np.load(shared_file("binarized_mnist.npz"), allow_pickle=False) as arrays:
        for part in ("train", "valid", "test"):
            digits = arrays[f"x_{part}"].reshape(-1, 784) + np.uint8(ord("0"))
            text = np.full((len(digits), 2 * 784), ord(" "), np.uint8)
            text[:, ::2], text[:, -1] = digits, ord("\n")
            text.tofile(cache / f"binarized_mnist_{part}.amat")
    parsed = load("binarized_mnist")
    assert parsed.digest == DIGEST
    assert parsed.info == BINARIZED_MNIST
    assert sorted(file.name for file in cache.iterdir() if file.suffix != ".amat") == ["binarized_mnist.npz"]

    for file in cache.glob("*.amat"):
        file.unlink()
    cached = load("binarized_mnist")
    assert cached.digest == DIGEST
    assert cached.info == BINARIZED_MNIST


def test_binarized_mnist_with_other_content(cache: Path) -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    np.savez_compressed(cache / "binarized_mnist.npz", x_train=images, x_valid=images, x_test=images)
    with pytest.raises(DataError, match=r"content digest is \w+; that of the published binarized_mnist"):
        load("binarized_mnist")


@pytest.mark.parametrize("text", ["", "<html>moved</html>", "0 1 1\n", "0 2 " * 392])
def test_binarized_mnist_with_a_wrong_text_file(cache: Path, text: str) -> None:
    for part in ("train", "valid", "test"):
        (cache / f"binarized_mnist_{part}.amat").write_text(text)
    with pytest.raises(DataError, match=r"binarized_mnist_train\.amat is not one of the published text files"):
        load("binarized_mnist")


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    split = Split(np.zeros((1, 28, 28, 1), np.uint8))
    (tmp_path / "absent").write_text("a file")
    with pytest.warns(UserWarning, match="cannot be written .*parsed every time"):
        _save(tmp_path / "absent" / "binarized_mnist.npz", {"train": split, "validation": split, "test": split})


def test_an_unfinished_cache_file_is_removed(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def fill_up(stream: Any, **_: object) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fill_up)
    split = Split(np.zeros((1, 28, 28, 1), np.uint8))
    with pytest.warns(UserWarning, match="No space left on device"):
        _save(cache / "binarized_mnist.npz", {"train": split, "validation": split, "test": split})
    assert not list(cache.iterdir())
