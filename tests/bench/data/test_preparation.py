"""Images brought to one size, and colour to grey: of files, of arrays, and of data that comes with the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bench import register_dataset
from bench.core.errors import DataError
from bench.data import registry
from bench.data.preparation import Preparation, parse_size

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 9, 14, 3), np.uint8)


@pytest.mark.parametrize("size", ["32x48", "32X48", (32, 48), [32, 48]])
def test_sizes(size: object) -> None:
    assert parse_size(size) == (32, 48)
    assert parse_size("32") == parse_size(32) == (32, 32)


@pytest.mark.parametrize(
    "size", ["", "x", "0", "32x", "32x48x3", "-3", "4097", "1e3", (32,), (0, 3), (1.5, 2), None, True]
)
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="a size is HEIGHTxWIDTH, such as 32x48, or one number for both"):
        parse_size(size)


@pytest.mark.parametrize(
    "preparation", [Preparation(grey=True), Preparation(None, (6, 5)), Preparation(None, (7, 7), True)]
)
def test_arrays_and_files_become_the_same_as_by_pillow(tmp_path: Path, preparation: Preparation) -> None:
    def by_pillow(image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image)
        picture = picture.convert("L") if preparation.grey else picture
        if preparation.resize:
            picture = ImageOps.fit(picture, preparation.resize[::-1], Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(*picture.size[::-1], -1)

    expected = np.stack([by_pillow(image) for image in COLOUR])
    assert np.array_equal(preparation.apply(COLOUR), expected)
    np.savez(tmp_path / "arrays.npz", images=COLOUR)
    (tmp_path / "files").mkdir()
    for i, image in enumerate(COLOUR):
        Image.fromarray(image).save(tmp_path / "files" / f"{i:02d}.png")
    for path in ("arrays.npz", "files"):
        dataset = registry.load(str(tmp_path / path), preparation)
        assert dataset.info == registry.describe(str(tmp_path / path), preparation)
        assert dataset.info.image_shape == expected.shape[1:]
        assert dataset.digest != registry.load(str(tmp_path / path)).digest
        splits = (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
        found = {image.tobytes() for split in splits for image in split.images}
        assert found == {image.tobytes() for image in expected}


@given(levels=st.sampled_from([2, 17, 256, 4096, 65_536]), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_no_value_leaves_the_range_of_the_data(levels: int, size: tuple[int, int]) -> None:
    images = RNG.choice([0, levels - 1], (2, 7, 8, 3)).astype(np.uint8 if levels <= 256 else np.uint16)
    for grey in (False, True):
        prepared = Preparation(None, size, grey).apply(images)
        assert prepared.shape == (2, *size, 1 if grey else 3)
        assert prepared.dtype == images.dtype
        assert prepared.max() < levels


def test_images_of_sixteen_bits_become_those_of_eight_at_their_scale() -> None:
    wanted = Preparation(None, (4, 6), True)
    difference = wanted.apply(COLOUR.astype(np.uint16) * 257) / 257 - wanted.apply(COLOUR)
    assert np.abs(difference).max() <= 1


def test_files_of_mixed_sizes_and_kinds_become_one(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (9 + i, 8), (255, 0, 0)).save(tmp_path / f"{i}.png")
        Image.new("L", (8, 9 + i), 76).save(tmp_path / f"{i}.grey.png")
        Image.new("1", (8, 8), 1).save(tmp_path / f"{i}.bit.png")
    for only, way in ((Preparation(None, (8, 8)), "--grey makes"), (Preparation(grey=True), "--resize HEIGHTxWIDTH")):
        with pytest.raises(DataError, match=f"images of one size and kind are accepted.*{way}"):
            registry.describe(str(tmp_path), only)
    dataset = registry.load(str(tmp_path), Preparation(None, (8, 8), True))
    assert (dataset.info.image_shape, dataset.info.grey_levels) == ((8, 8, 1), 256)
    assert sorted({int(value) for value in np.unique(dataset.tuning.train.images)}) == [76, 255]


def test_images_of_one_bit_keep_their_two_levels(tmp_path: Path) -> None:
    for i in range(8):
        Image.new("1", (8 + i, 8), i % 2).save(tmp_path / f"{i}.png")
    assert registry.load(str(tmp_path), Preparation(None, (5, 5), True)).info.grey_levels == 2


def test_arrays_of_two_shapes_become_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=COLOUR, x_test=COLOUR[:, :8, :8, 0])
    with pytest.raises(DataError, match=r"different shapes: .* --resize 8x8 brings all to one size, and --grey"):
        registry.describe(str(tmp_path / "a.npz"))
    assert registry.load(str(tmp_path / "a.npz"), Preparation(None, (8, 8), True)).info.image_shape == (8, 8, 1)


@pytest.mark.usefixtures("own_registries")
def test_a_function_s_images_are_prepared_too() -> None:
    register_dataset("mine", source="here")(lambda: {"images": COLOUR})
    assert registry.load("mine", Preparation(None, (4, 4), True)).info.image_shape == (4, 4, 1)


def test_data_that_comes_with_the_project_is_named_after_what_was_done() -> None:
    wanted = Preparation(None, (4, 6))
    small = registry.load("digits", wanted)
    assert small.info == registry.describe("digits", wanted)
    assert (small.info.name, small.info.image_shape, small.info.classes) == ("digits-4x6", (4, 6, 1), 10)
    assert np.array_equal(small.tuning.train.labels, registry.load("digits").tuning.train.labels)
    assert registry.load("digits", Preparation(17, (8, 8), True)).info == registry.describe("digits")


def test_two_channels_cannot_become_grey() -> None:
    register = {"images": COLOUR[..., :2]}
    with pytest.raises(DataError, match="has 2 channels; --grey takes images of 3"):
        Preparation(grey=True).apply(register["images"])
