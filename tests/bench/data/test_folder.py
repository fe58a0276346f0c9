from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import DataError
from bench.data import registry
from bench.data.dataset import Dataset


def paint(file: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (5, 4), **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file, **options)


def values(dataset: Dataset) -> list[list[int]]:
    splits = (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
    return [split.images[:, 0, 0, 0].tolist() for split in splits]


def test_images_are_split_by_the_fixed_permutation(tmp_path: Path) -> None:
    for value in range(20):
        paint(tmp_path / f"class{value % 2}" / f"{value:02d}.png", value)
    dataset = registry.load(str(tmp_path))
    assert dataset.info == registry.describe(str(tmp_path))
    assert dataset.info.image_shape == (4, 5, 1)
    assert (dataset.info.grey_levels, dataset.info.classes) == (256, 0)
    train, validation, test = values(dataset)
    assert (len(train), len(validation), len(test)) == (14, 2, 4)
    assert sorted(train + validation + test) == list(range(20))
    assert values(registry.load(str(tmp_path))) == [train, validation, test]


def test_split_folders_formats_and_hidden_files(tmp_path: Path) -> None:
    suffixes = ["png", "bmp", "tif", "PNG", "tiff"]
    for value, suffix in enumerate(suffixes):
        paint(tmp_path / "train" / "deep" / "er" / f"{value}.{suffix}", value)
    paint(tmp_path / "valid" / "a.png", 100)
    paint(tmp_path / "test" / "b.jpg", 200)
    paint(tmp_path / "test" / "c.jpeg", 200)
    paint(tmp_path / "elsewhere" / "d.png", 250)
    (tmp_path / "train" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / ".cache" / "x.png").write_bytes(b"")
    (tmp_path / "train" / "notes.txt").write_text("notes")
    train, validation, test = values(registry.load(str(tmp_path)))
    assert sorted(train) == list(range(5))
    assert validation == [100]
    assert test == [200, 200]


def test_missing_splits_are_taken_from_train(tmp_path: Path) -> None:
    for value in range(12):
        paint(tmp_path / "train" / f"{value:02d}.png", value)
    assert registry.describe(str(tmp_path)).sizes == {"train": 9, "validation": 1, "test": 2}


def test_palette_counts_as_colour(tmp_path: Path) -> None:
    for i in range(3):
        colour = Image.new("RGB", (5, 4), (10, 20, 30 + i))
        colour.save(tmp_path / f"{i}.png")
        colour.quantize(4).save(tmp_path / f"{i}.palette.png")
        colour.save(tmp_path / f"{i}.gif")
        colour.save(tmp_path / f"{i}.webp", lossless=True)
    dataset = registry.load(str(tmp_path))
    assert dataset.info.image_shape == (4, 5, 3)
    assert sum(dataset.info.sizes.values()) == 12
    assert dataset.tuning.train.images[0, 0, 0, :2].tolist() == [10, 20]


def test_one_bit_images_have_two_levels(tmp_path: Path) -> None:
    for value in range(4):
        paint(tmp_path / f"{value}.png", value % 2, "1")
    dataset = registry.load(str(tmp_path))
    assert dataset.info.grey_levels == 2
    assert sorted(value for split in values(dataset) for value in split) == [0, 0, 1, 1]


def test_name_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my scans"
    for value in range(3):
        paint(folder / f"{value}.png")
    monkeypatch.chdir(folder)
    assert registry.describe(".").name == "my-scans"


def test_built_in_names_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in range(3):
        paint(tmp_path / "digits" / f"{value}.png")
    monkeypatch.chdir(tmp_path)
    assert registry.describe("digits").grey_levels == 17
    assert registry.describe("./digits").grey_levels == 256


def other_size(folder: Path) -> None:
    paint(folder / "odd.png", size=(6, 4))


def other_kind(folder: Path) -> None:
    paint(folder / "odd.png", mode="RGB")


def alpha(folder: Path) -> None:
    paint(folder / "odd.png", mode="RGBA")


def transparent_grey(folder: Path) -> None:
    paint(folder / "odd.png", transparency=0)


def sixteen_bit(folder: Path) -> None:
    paint(folder / "odd.png", mode="I;16")


def several_frames(folder: Path) -> None:
    paint(folder / "odd.gif", save_all=True, append_images=[Image.new("L", (5, 4), 9)])


def not_an_image(folder: Path) -> None:
    (folder / "odd.png").write_text("hello")


def not_an_accepted_format(folder: Path) -> None:
    Image.new("L", (5, 4)).save(folder / "odd.ppm")
    (folder / "odd.ppm").rename(folder / "odd.png")


def link_out(folder: Path) -> None:
    paint(folder.parent / "outside.png")
    (folder / "odd.png").symlink_to(folder.parent / "outside.png")


def link_to_a_folder(folder: Path) -> None:
    (folder / "odd").symlink_to(folder.parent, target_is_directory=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_size, r"6x4 grey.*5x4 grey; images of one size"),
        (other_kind, r"5x4 colour.*5x4 grey; images of one size"),
        (alpha, r"odd\.png has an alpha channel"),
        (transparent_grey, r"odd\.png has an alpha channel or a transparent colour"),
        (sixteen_bit, r"odd\.png has the mode I;16"),
        (several_frames, r"odd\.gif holds several frames"),
        (not_an_image, r"odd\.png cannot be read as an image"),
        (not_an_accepted_format, r"odd\.png cannot be read as an image.*BMP, GIF"),
        (link_out, r"odd\.png links to .*outside\.png, outside"),
        (link_to_a_folder, r"odd is a link to a folder"),
    ],
)
def test_bad_images(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    folder = tmp_path / "scans"
    for value in range(9):
        paint(folder / f"{value}.png", value)
    spoil(folder)
    for read in (registry.describe, registry.load):
        with pytest.raises(DataError, match=message):
            read(str(folder))


def test_truncated_pixels_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for i in range(3):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    broken = tmp_path / "1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"1\.png cannot be read as an image"):
        registry.load(str(tmp_path))


@pytest.mark.parametrize("limit", [15, 5])
def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for value in range(3):
        paint(tmp_path / f"{value}.png")
    with pytest.raises(DataError, match=r"cannot be read as an image.*decompression bomb"):
        registry.describe(str(tmp_path))


def test_no_images_too_few_and_ambiguous_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image; files that end in \.bmp, .*\.webp are accepted"):
        registry.load(str(tmp_path))
    paint(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"too few images \(1 in all\)"):
        registry.load(str(tmp_path))
    for name in ("train", "val", "valid"):
        paint(tmp_path / name / "a.png")
    with pytest.raises(DataError, match="mean the same; one of them is accepted"):
        registry.load(str(tmp_path))
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train holds no image"):
        registry.load(str(tmp_path / "empty"))


def test_test_folder_without_train_folder(tmp_path: Path) -> None:
    paint(tmp_path / "training" / "a.png")
    paint(tmp_path / "test" / "a.png")
    with pytest.raises(DataError, match=r"test stands without a folder .*train; both, or neither"):
        registry.load(str(tmp_path))


def test_links(tmp_path: Path) -> None:
    for value in range(4):
        paint(tmp_path / "real" / "train" / f"{value}.png", value)
    (tmp_path / "real" / "train" / "inside.png").symlink_to(tmp_path / "real" / "train" / "0.png")
    (tmp_path / "named").symlink_to(tmp_path / "real", target_is_directory=True)
    assert sum(registry.load(str(tmp_path / "named")).info.sizes.values()) == 5
    (tmp_path / "real" / "test").symlink_to(tmp_path / "real" / "train", target_is_directory=True)
    with pytest.raises(DataError, match="test is a link to a folder"):
        registry.load(str(tmp_path / "named"))


def test_value_above_the_grey_levels_names_the_file(tmp_path: Path) -> None:
    for value in range(10):
        paint(tmp_path / f"{value}.png", value)
    assert registry.load(str(tmp_path), grey_levels=10).info.grey_levels == 10
    with pytest.raises(DataError, match=r"9\.png holds the value 9; with 9 grey levels 0\.\.8 are accepted"):
        registry.load(str(tmp_path), grey_levels=9)
