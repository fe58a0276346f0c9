from __future__ import annotations

import io
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.core.errors import DataError
from bench.data.preparation import Preparation
from bench.data.registry import describe, load

Save = Callable[..., str]
RNG = np.random.default_rng(0)


def grey(n: int = 12, levels: int = 256, shape: tuple[int, ...] = (4, 5)) -> np.ndarray:
    images = RNG.integers(0, levels, (n, *shape), dtype=np.uint8)
    images[:, 0, 0] = levels - 1
    return images


def test_mnist_file(shared_file: Callable[[str], Path]) -> None:
    path = str(shared_file("mnist.npz"))
    dataset = load(path)
    assert dataset.info == describe(path)
    assert dataset.info.sizes == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert dataset.info.image_shape == (28, 28, 1)
    assert (dataset.info.grey_levels, dataset.info.classes, dataset.info.name) == (256, 10, "mnist")


def test_binarized_mnist_file(shared_file: Callable[[str], Path]) -> None:
    from bench.data.binarized_mnist import BINARIZED_MNIST, DIGEST

    dataset = load(str(shared_file("binarized_mnist.npz")))
    assert dataset.digest == DIGEST
    assert dataset.info.grey_levels == 2
    assert dataset.info.sizes == BINARIZED_MNIST.sizes


def test_cifar10_file(shared_file: Callable[[str], Path]) -> None:
    info = describe(str(shared_file("cifar10_4000.npz")))
    assert info.sizes == {"train": 2917, "validation": 583, "test": 500}
    assert (info.image_shape, info.grey_levels, info.classes) == ((32, 32, 3), 256, 0)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_round_trip(data: st.DataObject) -> None:
    levels = data.draw(st.sampled_from([2, 3, 17, 256, 257, 65_536]))
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
    validation_name = data.draw(st.sampled_from(["x_validation", "x_valid", "x_val", None]))
    stored = data.draw(st.sampled_from([np.uint16, np.int32, np.dtype(">u4"), np.int64]))

    def draw(n: int) -> np.ndarray:
        return data.draw(hnp.arrays(stored, (n, *shape), elements=st.integers(0, levels - 1)))

    arrays = {"x_train": draw(data.draw(st.integers(4, 9))), "x_test": draw(data.draw(st.integers(2, 4)))}
    if validation_name:
        arrays[validation_name] = draw(data.draw(st.integers(2, 4)))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "my data.npz"))
        np.savez_compressed(path, grey_levels=levels, **arrays)
        dataset, again = load(path), load(path, Preparation(levels))
        assert dataset.info == describe(path) == again.info
    train, validation, test = dataset.tuning.train.images, dataset.tuning.validation.images, dataset.open_test().images
    assert (dataset.info.grey_levels, dataset.info.image_shape) == (levels, shape)
    assert {split.dtype for split in (train, validation, test)} == {np.dtype(np.uint8 if levels <= 256 else np.uint16)}
    assert np.array_equal(test, arrays["x_test"])
    if validation_name:
        assert np.array_equal(train, arrays["x_train"])
        assert np.array_equal(validation, arrays[validation_name])
    else:
        taken = np.concatenate([train, validation]).astype(stored)
        assert sorted(map(bytes, taken)) == sorted(map(bytes, arrays["x_train"]))
    assert dataset.digest == again.digest


def test_images_alone_are_split_with_their_labels(save_npz: Save) -> None:
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1)
    dataset = load(save_npz(images=images, labels=np.arange(100)))
    splits = (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
    assert [len(split) for split in splits] == [70, 10, 20]
    assert all(np.array_equal(split.images.ravel(), split.labels) for split in splits)
    assert set(np.concatenate([split.images.ravel() for split in splits])) == set(range(100))
    assert dataset.info.classes == 100


def test_labels_are_optional_for_each_split(save_npz: Save) -> None:
    dataset = load(
        save_npz(x_train=grey(), y_train=np.arange(12) % 3, x_val=grey(2), x_test=grey(2), y_test=[[4], [0]])
    )
    assert dataset.tuning.train.labels is not None
    assert dataset.tuning.validation.labels is None
    assert np.array_equal(dataset.open_test().labels, [4, 0])
    assert dataset.info.classes == 5


@pytest.mark.parametrize(
    ("train", "validation", "given", "expected"),
    [
        (grey(levels=2), grey(levels=2), None, 2),
        (grey(levels=2).astype(bool), grey(levels=2).astype(bool), None, 2),
        (np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.int64), None, 2),
        (grey(levels=2), grey(levels=3), None, 256),
        (grey(levels=3), grey(levels=2), None, 256),
        (grey(levels=3), grey(levels=2), 3, 3),
        (grey(levels=2), grey(levels=2), 65_536, 65_536),
    ],
)
def test_grey_levels(
    save_npz: Save, train: np.ndarray, validation: np.ndarray, given: int | None, expected: int
) -> None:
    path = save_npz(x_train=train, x_validation=validation, x_test=grey(levels=2))
    assert load(path, Preparation(given)).info.grey_levels == describe(path, Preparation(given)).grey_levels == expected


def test_argument_overrules_the_grey_levels_of_the_file(save_npz: Save) -> None:
    assert describe(save_npz(images=grey(levels=5), grey_levels=8)).grey_levels == 8
    assert describe(save_npz(images=grey(levels=5), grey_levels=8), Preparation(5)).grey_levels == 5


def test_other_arrays_are_not_opened(save_npz: Save) -> None:
    names = np.array([{"a": 1}], dtype=object)
    assert load(save_npz(images=grey(), names=names)).info.sizes["train"] == 8


def test_fortran_order(save_npz: Save) -> None:
    images = grey(20, shape=(4, 5, 3))
    assert load(save_npz(images=np.asfortranarray(images))).digest == load(save_npz(images=images)).digest


def test_name_fits_a_file_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "my scans (2024), ü.npz", images=grey())
    info = describe(str(tmp_path / "my scans (2024), ü.npz"))
    assert info.name == "my-scans-2024"
    assert str(tmp_path) not in info.source


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("float", {"x_train": grey() / 255}, r"x_train has dtype float64; integer grey levels.*np\.round\(255 \* x\)"),
    ("objects", {"images": np.array([[[{}]]] * 9, dtype=object)}, "images has dtype object.*never opened"),
    ("text", {"images": np.array([[["a"]]] * 9)}, "images has dtype <U1; integer grey levels"),
    ("missing", {"x_test": grey(), "z": grey()}, "holds the arrays x_test, z; x_train .* are accepted"),
    ("both", {"x_train": grey(), "images": grey()}, "holds x_train, images; .* not both"),
    ("twice", {"x_train": grey(), "x_val": grey(), "x_valid": grey()}, "holds x_valid, x_val, which mean the same"),
    ("flat", {"images": grey().reshape(12, 20)}, r"images has shape \(12, 20\); \(n, height, width\) or"),
    ("flat squares", {"images": np.zeros((12, 64), np.uint8)}, r"type x\.reshape\(-1, 8, 8\)\."),
    ("flat digits", {"images": np.zeros((12, 784), np.uint8)}, r"type x\.reshape\(-1, 28, 28\)\."),
    (
        "flat colours",
        {"images": np.zeros((12, 3072), np.uint8)},
        r"x\.reshape\(-1, 32, 32, 3\).*np\.moveaxis\(x\.reshape\(-1, 3, 32, 32\), 1, -1\)",
    ),
    ("flat others", {"images": np.zeros((12, 20), np.uint8)}, r"type x\.reshape\(-1, HEIGHT, WIDTH\)"),
    (
        "channels first",
        {"images": grey(9, shape=(3, 32, 32))},
        r"3x32 pixels with 32 channels; 1 to 4 channels.* type np\.moveaxis\(x, 1, -1\)",
    ),
    ("images last", {"images": np.zeros((32, 32, 3, 900), np.uint8)}, r"type np\.moveaxis\(x, -1, 0\)"),
    ("signed bytes", {"images": np.int8([[[-128]], [[127]]] * 9)}, r"value -128; .*\(x\.astype\(int\) \+ 128\)"),
    (
        "signed",
        {"images": np.int16([[[-1000]], [[3000]]] * 9)},
        r"\+ 1000\)\.astype\(np\.uint16\), and give --grey-levels 4001\.$",
    ),
    ("twelve bits", {"images": np.int16([[[0]], [[4095]]] * 9)}, r"more of them: --grey-levels 4096 or more\.$"),
    ("twenty bits", {"images": np.int32([[[0]], [[2**20]]] * 9)}, r"Up to 65536 levels are accepted: divide"),
    (
        "labels but of train",
        {"x_train": grey(), "x_test": grey(), "y_test": np.zeros(12, int)},
        "y_test without y_train",
    ),
    ("empty train", {"x_train": grey(0), "x_test": grey()}, r"x_train is empty: its shape is \(0, 4, 5\)"),
    ("empty test", {"x_train": grey(), "x_test": grey(0)}, "x_test is empty"),
    ("no pixels", {"images": grey()[:, :0]}, r"images has shape \(12, 0, 5\), so 0x5 pixels"),
    ("sizes", {"x_train": grey(), "x_test": grey(shape=(4, 6))}, r"x_train \(4, 5, 1\), x_test \(4, 6, 1\); one shape"),
    ("too few", {"images": grey(5)}, r"too few images \(5 in all\) .*2 or more"),
    ("one of test", {"x_train": grey(), "x_test": grey(1)}, r"too few images \(12 in train, 1 in test\)"),
    ("label count", {"images": grey(), "labels": np.zeros(11, int)}, r"labels has shape \(11,\) for 12 images"),
    ("label dtype", {"images": grey(), "labels": np.zeros(12)}, "labels has dtype float64; integer class labels"),
    ("label sign", {"images": grey(), "labels": np.full(12, -1)}, "labels holds the label -1"),
    ("labels alone", {"x_train": grey(), "y_test": [1]}, "y_test are labels without images; x_test is missing"),
    (
        "above",
        {"x_train": grey(), "x_test": grey().astype(int) + 1},
        "x_test holds the value 256; with 256 grey levels .*--grey-levels 257 or more",
    ),
    ("negative", {"x_train": grey().astype(int) - 300}, "x_train holds the value -"),
    ("file's levels", {"images": grey(), "grey_levels": 17}, "images holds the value 255; with 17 grey levels 0..16"),
    ("levels", {"images": grey(), "grey_levels": 1}, "grey_levels is 1; 2 to 65536 are accepted"),
    ("level array", {"images": grey(), "grey_levels": [2, 3]}, r"grey_levels has shape \(2,\) and dtype int64"),
]


@pytest.mark.parametrize(("arrays", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_arrays(save_npz: Save, arrays: dict[str, Any], message: str) -> None:
    path = save_npz(**arrays)
    with pytest.raises(DataError, match=message) as error:
        load(path)
    assert path in str(error.value)


@pytest.mark.parametrize("grey_levels", [-1, 0, 1, 65_537])
def test_bad_grey_levels(save_npz: Save, grey_levels: int) -> None:
    with pytest.raises(DataError, match=f"grey_levels is {grey_levels}; 2 to 65536 are accepted"):
        load(save_npz(images=grey()), Preparation(grey_levels))


def test_an_npy_file_is_the_images_alone(tmp_path: Path, save_npz: Save) -> None:
    images = grey(20)
    np.save(tmp_path / "data.npy", images)
    found = load(str(tmp_path / "data.npy"))
    assert found.digest == load(save_npz(images=images)).digest
    assert found.info.split_off == ("train", "validation", "test")
    np.save(tmp_path / "data.npy", np.asfortranarray(images))
    assert load(str(tmp_path / "data.npy")).digest == found.digest


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}] * 9, dtype=object), "dtype object.*never opened"),
        (grey().reshape(12, 20), r"shape \(12, 20\)"),
        (np.float32(grey()), "dtype float32"),
    ],
)
def test_a_bad_npy_file(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(DataError, match=rf"data\.npy has {message}"):
        load(str(tmp_path / "data.npy"))


def test_a_damaged_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", grey())
    content = (tmp_path / "data.npy").read_bytes()
    (tmp_path / "data.npy").write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"data\.npy cannot be read: it holds 239 bytes, but its shape .* takes 240"):
        load(str(tmp_path / "data.npy"))
    (tmp_path / "data.npy").write_bytes(content[:8])
    with pytest.raises(DataError, match=r"data\.npy cannot be read: EOF"):
        load(str(tmp_path / "data.npy"))


def test_truncated_file(save_npz: Save) -> None:
    path = Path(save_npz(images=grey(50)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        load(str(path))


def test_damaged_pixels(save_npz: Save) -> None:
    path = Path(save_npz(images=grey(500)))
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataError, match="images cannot be read"):
        load(str(path))


def test_unreadable_file(save_npz: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_npz(images=grey())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(DataError, match=r"data\.npz cannot be read: .*Permission denied"):
        load(path)


def forge(path: Path, shape: tuple[int, ...], data: bytes = b"", version: tuple[int, int] = (1, 0)) -> str:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    content = bytearray(header.getvalue())
    content[6:8] = bytes(version)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", bytes(content) + data)
    return str(path)


@pytest.mark.parametrize("read", [describe, load])
def test_declared_size_is_checked_before_reading(tmp_path: Path, read: Callable[[str], object]) -> None:
    with pytest.raises(
        DataError, match=r"images cannot be read: it holds 0 bytes, but its shape .* takes 1,000,000,000"
    ):
        read(forge(tmp_path / "bomb.npz", (10**6, 1000, 1000)))


def test_a_size_that_the_whole_archive_lies_about_is_checked_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(forge(tmp_path / "bomb.npz", (10**6, 64, 64)))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    header = int.from_bytes(content[directory + 24 : directory + 28], "little")
    content[directory + 24 : directory + 28] = (header + 4096 * 10**6).to_bytes(4, "little")
    path.write_bytes(content)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    with pytest.raises(DataError, match=r"the arrays take 3\.8 GiB; up to 1\.0 GiB are accepted"):
        load(str(path))


def test_available_memory_is_checked(save_npz: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(DataError, match="the memory available now"):
        load(save_npz(images=grey()))


@pytest.mark.parametrize(
    ("shape", "version", "message"),
    [
        ((9, 4, 5), (1, 0), "images cannot be read"),
        ((-9, 4, 5), (1, 0), r"its header gives the shape \(-9, 4, 5\)"),
        ((9, 4, 5), (3, 0), r"version \(3, 0\)"),
    ],
)
def test_forged_header(tmp_path: Path, shape: tuple[int, ...], version: tuple[int, int], message: str) -> None:
    path = forge(tmp_path / "data.npz", shape, b"\x01" * 30, version)
    with pytest.raises(DataError, match=message):
        load(path)


def test_loading_takes_the_memory_of_the_images_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=np.zeros((40, 512, 512, 4), np.uint8))
    tracemalloc.start()
    try:
        data = load(str(tmp_path / "data.npz"), Preparation(256))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(data.info.sizes.values()) == 40
    assert peak < 1.5 * 40 * 2**20
