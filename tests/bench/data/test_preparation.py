"""Images brought to one size, and colour to grey: of files, of arrays, and of data that comes with the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bench import register_dataset
from bench.core.errors import AlteredDataError, DataError
from bench.data import registry
from bench.data.dataset import Dataset
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


def chosen(n: int | None, dataset: str = "digits") -> Dataset:
    return registry.load(dataset, Preparation(train_images=n))


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_fewer_training_images_are_among_more_and_validation_and_test_stay() -> None:
    whole, large, small = chosen(None), chosen(300), chosen(40)
    assert [len(each.tuning.train) for each in (whole, large, small)] == [1259, 300, 40]
    assert rows(large.tuning.train.images)[:40] == rows(small.tuning.train.images)
    assert set(rows(large.tuning.train.images)) <= set(rows(whole.tuning.train.images))
    # No run of neighbours: a file may be sorted by class.
    assert len(set(small.tuning.train.labels)) > 5
    for each in (large, small):
        assert np.array_equal(each.tuning.validation.images, whole.tuning.validation.images)
        assert np.array_equal(each.open_test().images, whole.open_test().images)
        assert np.array_equal(each.open_test().labels, whole.open_test().labels)
    assert len({each.digest for each in (whole, large, small)}) == 3
    assert len({each.held_out_digest for each in (whole, large, small)}) == 1
    again = chosen(300)
    assert (again.digest, again.labels_digest) == (large.digest, large.labels_digest)


def test_the_labels_are_those_of_the_images() -> None:
    whole, small = chosen(None).tuning.train, chosen(40).tuning.train
    label = dict(zip(rows(whole.images), whole.labels, strict=True))
    assert [label[image] for image in rows(small.images)] == small.labels.tolist()


def test_what_is_known_of_fewer_training_images_says_so() -> None:
    small, whole = chosen(300), registry.describe("digits")
    assert small.info == registry.describe("digits", Preparation(train_images=300))
    assert (small.info.name, small.info.sizes["train"], small.info.chosen_from) == ("digits-300", 300, 1259)
    assert small.info.source.endswith("; here 300 of its 1,259 training images, always the same.")
    # All of them are the data set itself, however they are asked for.
    assert chosen(1259).info == whole
    assert chosen(1259).digest == chosen(None).digest
    resized = registry.describe("digits", Preparation(resize=(4, 4), train_images=300))
    assert (resized.name, resized.image_shape) == ("digits-4x4-300", (4, 4, 1))


@pytest.mark.usefixtures("own_registries")
def test_training_images_are_chosen_of_every_kind_of_data(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (40, 4, 4), np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=images, x_test=images[:5])
    (tmp_path / "files").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "files" / f"{i:02d}.png")
    register_dataset("mine", source="here")(lambda: {"images": images})
    for name in (str(tmp_path / "mine.npz"), str(tmp_path / "files"), "mine"):
        few, whole = chosen(7, name), chosen(None, name)
        assert few.info == registry.describe(name, Preparation(train_images=7))
        assert set(rows(few.tuning.train.images)) <= set(rows(whole.tuning.train.images))
        assert few.held_out_digest == whole.held_out_digest


@pytest.mark.parametrize("function", [registry.describe, registry.load])
def test_more_training_images_than_there_are_cannot_be_chosen(function: Callable[..., object]) -> None:
    message = (
        "^train_images=1260: digits has 1259 training images; 2 to 1259 are accepted, or train_images=None "
        r"\(--train-sizes all\) for every one$"
    )
    with pytest.raises(DataError, match=message):
        function("digits", Preparation(train_images=1260))


def test_data_outside_is_whole_whatever_is_trained_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "outside.npz", images=RNG.integers(0, 17, (12, 8, 8), np.uint8), grey_levels=17)
    few = Preparation(train_images=500)
    own = registry.check_outside(str(tmp_path / "outside.npz"), registry.describe("digits", few), few)
    assert own == Preparation()


def test_a_choice_keeps_watch_over_what_the_images_are_read_from_and_reads_them_for_no_digest() -> None:
    def altered() -> None:
        raise AlteredDataError("altered")

    whole = registry.load("digits")
    parts = whole.tuning.train, whole.tuning.validation, whole.open_test()
    watched = Dataset(whole.info, *parts, check=altered)
    few = Preparation(train_images=10).choose(watched)
    with pytest.raises(AlteredDataError):
        few.check()
    assert "digest" not in vars(watched)
