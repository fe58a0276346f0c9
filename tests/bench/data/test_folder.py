from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import DataError
from bench.data import registry
from bench.data.dataset import Dataset, Split
from bench.data.preparation import Preparation


def paint(file: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (5, 4), **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file, **options)


def values(dataset: Dataset) -> list[list[int]]:
    splits = (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
    return [split.images[:, 0, 0, 0].tolist() for split in splits]


@pytest.mark.parametrize("others", ["dogs/{}.jfif", "dogs/{}.PGM"])
def test_a_class_of_images_that_are_not_read_is_refused(tmp_path: Path, others: str) -> None:
    for i in range(12):
        paint(tmp_path / "cats" / f"{i}.png", i)
        other = tmp_path / others.format(i)
        other.parent.mkdir(exist_ok=True)
        other.write_bytes((tmp_path / "cats" / f"{i}.png").read_bytes())
    with pytest.raises(DataError, match=r"holds 12 images of formats that are not read, such as .*dogs.0\."):
        registry.describe(str(tmp_path))


@pytest.mark.parametrize("beside", ["labels/train/0.txt", "__MACOSX/x"])
def test_splits_in_a_folder_beside_others_are_not_pooled(tmp_path: Path, beside: str) -> None:
    """As of a detector's data, whose held-out images would be trained on."""
    for i in range(12):
        paint(tmp_path / "images" / ("train" if i < 8 else "val") / f"{i}.png", i)
    (tmp_path / beside).parent.mkdir(parents=True)
    (tmp_path / beside).write_text("0 1 1")
    with pytest.raises(DataError, match=r"images/train is called a split, .* \S+images itself is accepted"):
        registry.describe(str(tmp_path))
    assert registry.describe(str(tmp_path / "images")).sizes["validation"] == 4


def test_images_are_split_by_the_fixed_permutation(tmp_path: Path) -> None:
    for value in range(20):
        paint(tmp_path / f"{value:02d}.png", value)
    dataset = registry.load(str(tmp_path))
    assert dataset.info == registry.describe(str(tmp_path))
    assert dataset.info.image_shape == (4, 5, 1)
    assert (dataset.info.grey_levels, dataset.info.classes, dataset.info.class_names) == (256, 0, ())
    assert dataset.info.split_off == ("train", "validation", "test")
    assert dataset.tuning.train.labels is None
    train, validation, test = values(dataset)
    assert (len(train), len(validation), len(test)) == (14, 2, 4)
    assert sorted(train + validation + test) == list(range(20))
    assert values(registry.load(str(tmp_path))) == [train, validation, test]


def test_split_folders_formats_and_hidden_files(tmp_path: Path) -> None:
    suffixes = ["png", "bmp", "tif", "PNG", "tiff"]
    for value, suffix in enumerate(suffixes):
        paint(tmp_path / "train" / "deep" / "er" / f"{value}.{suffix}", value)
    paint(tmp_path / "Valid" / "a.png", 100)
    paint(tmp_path / "Valid" / "b.png", 101)
    paint(tmp_path / "test" / "b.jpg", 200)
    paint(tmp_path / "test" / "c.jpeg", 200)
    paint(tmp_path / "elsewhere" / "d.png", 250)
    (tmp_path / "train" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / ".cache" / "x.png").write_bytes(b"")
    (tmp_path / "train" / "notes.txt").write_text("notes")
    train, validation, test = values(registry.load(str(tmp_path)))
    assert sorted(train) == list(range(5))
    assert sorted(validation) == [100, 101]
    assert test == [200, 200]


def test_a_class_that_is_called_train_does_not_make_the_others_vanish(tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        for i in range(3):
            paint(tmp_path / name / f"{i}.png", i)
    with pytest.raises(DataError, match=r"bus and \S+train lie side by side: 'train' is a split"):
        registry.describe(str(tmp_path))
    (tmp_path / "train").rename(tmp_path / "railway")
    assert registry.describe(str(tmp_path)).classes == 3


def test_missing_splits_are_taken_from_train(tmp_path: Path) -> None:
    for value in range(12):
        paint(tmp_path / "train" / f"{value:02d}.png", value)
    assert registry.describe(str(tmp_path)).sizes == {"train": 8, "validation": 2, "test": 2}


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
    for value in range(6):
        paint(tmp_path / f"{value}.png", value % 2, "1")
    dataset = registry.load(str(tmp_path))
    assert dataset.info.grey_levels == 2
    assert sorted(value for split in values(dataset) for value in split) == [0, 0, 0, 1, 1, 1]


def test_name_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my scans"
    for value in range(6):
        paint(folder / f"{value}.png")
    monkeypatch.chdir(folder)
    assert registry.describe(".").name == "my-scans"


def test_built_in_names_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in range(6):
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


def write_deep_png(file: Path, colour_type: int) -> None:
    """A PNG of 5x4 pixels with 16 bits per value, which Pillow cannot write in colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\x12\x34" * 5 * channels) * 4))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


def deep_grey(folder: Path) -> None:
    write_deep_png(folder / "odd.png", 0)


def deep_colour(folder: Path) -> None:
    for file in folder.iterdir():
        write_deep_png(file, 2)
    write_deep_png(folder / "odd.png", 2)


def deep_alpha(folder: Path) -> None:
    write_deep_png(folder / "odd.png", 6)


def deep_transparent_grey(folder: Path) -> None:
    write_deep_png(folder / "odd.png", 4)


def several_frames(folder: Path) -> None:
    paint(folder / "odd.gif", save_all=True, append_images=[Image.new("L", (5, 4), 9)])


def not_an_image(folder: Path) -> None:
    (folder / "odd.png").write_text("hello")


def not_an_accepted_format(folder: Path) -> None:
    Image.new("L", (5, 4)).save(folder / "odd.ppm")
    (folder / "odd.ppm").rename(folder / "odd.png")


def write_tiff(file: Path, bits: int, samples: int, planes: bool) -> None:
    """An uncompressed TIFF of 5x4 pixels in colour, as other programs write and Pillow does not."""
    strips, size = (samples, bits // 8 * 20) if planes else (1, bits // 8 * 20 * samples)
    tags: dict[int, tuple[int, ...]] = {
        256: (5,),
        257: (4,),
        258: (bits,) * samples,
        259: (1,),
        262: (2,),
        273: (0,) * strips,
        277: (samples,),
        278: (4,),
        279: (size,) * strips,
        284: (2 if planes else 1,),
        **({338: (0,) * (samples - 3)} if samples > 3 else {}),
    }
    place = 8 + 2 + 12 * len(tags) + 4
    first = place + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = tuple(first + strip * size for strip in range(strips))
    entries, beyond = b"", b""
    for tag, values in tags.items():
        own = struct.pack(f"<{len(values)}I", *values)
        held = own if len(values) == 1 else struct.pack("<I", place + len(beyond))
        beyond += b"" if len(values) == 1 else own
        entries += struct.pack("<HHI", tag, 4, len(values)) + held
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    file.write_bytes(header + beyond + bytes(range(200)) * 2)


def deep_planes(folder: Path) -> None:
    write_tiff(folder / "odd.tif", 16, 3, planes=True)


def near_infrared(folder: Path) -> None:
    write_tiff(folder / "odd.tif", 8, 4, planes=False)


def link_out(folder: Path) -> None:
    paint(folder.parent / "outside.png")
    (folder / "odd.png").symlink_to(folder.parent / "outside.png")


def link_to_a_folder(folder: Path) -> None:
    (folder / "odd").symlink_to(folder.parent, target_is_directory=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            other_size,
            r"(6x4 grey.*5x4 grey|5x4 grey.*6x4 grey); images of one size.* --resize .* such as 4x4, brings",
        ),
        (other_kind, r"5x4 colour.*5x4 grey; images of one size and kind .* --grey makes all of them grey\.$"),
        (alpha, r"odd\.png has an alpha channel .* are accepted: .*convert\('RGB'\)\.save\(FILE\) removes it\.$"),
        (transparent_grey, r"odd\.png has an alpha channel or a transparent colour.*convert\('L'\)"),
        (deep_alpha, r"odd\.png has 16 bits per value"),
        (deep_transparent_grey, r"odd\.png has 16 bits per value"),
        (sixteen_bit, r"odd\.png has 16 bits per value .* 8 bits are accepted, or .* up to 65536 --grey-levels\.$"),
        (deep_grey, r"odd\.png has 16 bits per value"),
        (deep_colour, r"\.png has 16 bits per value"),
        (deep_planes, r"odd\.tif has 16 bits per value"),
        (near_infrared, r"odd\.tif has 4 values per pixel, of which 3 would be read"),
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
    for i in range(6):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    broken = tmp_path / "1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"1\.png cannot be read as an image"):
        registry.load(str(tmp_path))


@pytest.mark.parametrize("limit", [15, 5])
def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for value in range(6):
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
    paint(tmp_path / "learning" / "a.png")
    paint(tmp_path / "test" / "a.png")
    with pytest.raises(DataError, match=r"test stands without a folder .*train; both, or neither"):
        registry.load(str(tmp_path))


def test_links(tmp_path: Path) -> None:
    for value in range(6):
        paint(tmp_path / "real" / "train" / f"{value}.png", value)
    (tmp_path / "real" / "train" / "inside.png").symlink_to(tmp_path / "real" / "train" / "0.png")
    (tmp_path / "named").symlink_to(tmp_path / "real", target_is_directory=True)
    assert sum(registry.load(str(tmp_path / "named")).info.sizes.values()) == 7
    (tmp_path / "real" / "test").symlink_to(tmp_path / "real" / "train", target_is_directory=True)
    with pytest.raises(DataError, match="test is a link to a folder"):
        registry.load(str(tmp_path / "named"))


def test_value_above_the_grey_levels_names_the_file(tmp_path: Path) -> None:
    for value in range(10):
        paint(tmp_path / f"{value}.png", value)
    assert registry.load(str(tmp_path), Preparation(10)).info.grey_levels == 10
    with pytest.raises(DataError, match=r"9\.png holds the value 9; with 9 grey levels 0\.\.8 are accepted"):
        registry.load(str(tmp_path), Preparation(9))


def splits_of(dataset: Dataset) -> list[Split]:
    return [dataset.tuning.train, dataset.tuning.validation, dataset.open_test()]


def test_a_sub_folder_for_each_class_gives_labels(tmp_path: Path) -> None:
    for value in range(40):
        kind = ("dogs", "cats", "bären")[value % 3]
        paint(tmp_path / "pets" / kind / ("deeper" if value % 2 else ".") / f"{value:02d}.png", value)
    (tmp_path / "pets" / "notes").mkdir()
    dataset = registry.load(str(tmp_path / "pets"))
    assert dataset.info == registry.describe(str(tmp_path / "pets"))
    assert (dataset.info.classes, dataset.info.class_names) == (3, ("bären", "cats", "dogs"))
    for split in splits_of(dataset):
        assert split.labels is not None
        assert split.labels.tolist() == [2 - value % 3 for value in split.images[:, 0, 0, 0]]
    # A folder that holds nothing but one folder stands for that one.
    assert registry.load(str(tmp_path)).info.class_names == ("bären", "cats", "dogs")


def test_classes_inside_splits_have_the_same_labels_in_each(tmp_path: Path) -> None:
    for i, (split, kind) in enumerate((s, k) for s in ("Training", "val", "test") for k in ("dogs", "cats") * 2):
        paint(tmp_path / split / kind / f"{i}.png", kind == "dogs")
    dataset = registry.load(str(tmp_path))
    assert (dataset.info.class_names, dataset.info.split_off) == (("cats", "dogs"), ())
    assert all(split.labels.tolist() == split.images[:, 0, 0, 0].tolist() for split in splits_of(dataset))


def test_a_split_may_have_no_labels_or_lack_images_of_a_class(tmp_path: Path) -> None:
    for i in range(12):
        paint(tmp_path / "train" / ("cats", "dogs")[i % 2] / f"{i}.png", i % 2)
        paint(tmp_path / "test" / f"{i}.png")
        paint(tmp_path / "validation" / "cats" / f"{i}.png")
    (tmp_path / "validation" / "dogs").mkdir()
    train, validation, test = splits_of(registry.load(str(tmp_path)))
    assert sorted(train.labels) == [0] * 6 + [1] * 6
    assert validation.labels.tolist() == [0] * 12
    assert test.labels is None


@pytest.mark.parametrize("pattern", ["scans/{}.png", "train/all/{}.png", "{0}/{0}.png", "train/{0}/{0}.png"])
def test_sub_folders_that_are_no_classes(tmp_path: Path, pattern: str) -> None:
    for i in range(12):
        paint(tmp_path / pattern.format(i), i)
    assert registry.load(str(tmp_path)).info.classes == 0


def test_classes_in_the_only_sub_folder_of_each_split(tmp_path: Path) -> None:
    for i in range(12):
        paint(tmp_path / "train" / "all" / ("cats", "dogs")[i % 2] / f"{i}.png")
    assert registry.describe(str(tmp_path)).class_names == ("cats", "dogs")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["cats/{}.png", "dogs/{}.png", "{}.png"], r"lies beside the folder of .*; images in sub-folders, .* or no"),
        (["train/cats/{}.png", "train/{}.png"], r"lies beside the folder of .*cats"),
        (["train/{}.png", "test/{}.png", "{}.png"], r"holds images beside .*train, which would be left out; splits"),
        (
            ["train/cats/{}.png", "train/dogs/{}.png", "test/cats/{}.png"],
            r"train/dogs is a class, and .*test has no folder 'dogs'; the same classes in every split are accepted",
        ),
        (
            ["train/cats/{}.png", "train/dogs/{}.png", "test/cat/{}.png", "test/dogs/{}.png"],
            r"test/cat is a class, and .*train has no folder 'cat'",
        ),
        (
            ["train/{}.png", "test/cats/{}.png", "test/dogs/{}.png"],
            r"test has the classes cats, dogs, and .*train has none; classes in both, or in neither",
        ),
        (
            ["cats/train/{}.png", "cats/test/{}.png", "dogs/train/{}.png"],
            r"cats/(train|test) is a split inside a class",
        ),
    ],
)
def test_classes_that_are_not_clear_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for file in files:
        for i in range(6):
            paint(tmp_path / file.format(i))
    for read in (registry.describe, registry.load):
        with pytest.raises(DataError, match=message) as raised:
            read(str(tmp_path))
        assert "\n" not in str(raised.value)


def test_labels_leave_the_digest_of_the_images(tmp_path: Path) -> None:
    for value in range(20):
        paint(tmp_path / "a" / ("b" if value < 10 else "c") / f"{value:02d}.png", value)
        paint(tmp_path / "d" / f"{value:02d}.png", value)
    assert registry.load(str(tmp_path / "a")).digest == registry.load(str(tmp_path / "d")).digest
