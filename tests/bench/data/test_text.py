"""Text as data: its alphabet, its windows, its splits, and what is no text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import DataError, SettingsError
from bench.core.sequences import UNKNOWN, to_text
from bench.data import registry, text
from bench.data.dataset import Dataset, Split
from bench.data.preparation import Preparation

PROSE = "".join(np.random.RandomState(0).choice([*"abc de\n"], 1003))
SMALL = Preparation(window=10)


def write(folder: Path, content: str | bytes, name: str = "my.txt") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


def splits(dataset: Dataset) -> list[Split]:
    return [dataset.tuning.train, dataset.tuning.validation, dataset.open_test()]


def read(dataset: Dataset) -> list[str]:
    """The text of each split."""
    return [to_text(split.images, dataset.info.symbols) for split in splits(dataset)]


def test_a_text_is_cut_into_windows_and_split_by_position(tmp_path: Path) -> None:
    dataset = registry.load(write(tmp_path, PROSE), SMALL)
    info = dataset.info
    assert info == registry.describe(str(tmp_path / "my.txt"), SMALL)
    assert (info.kind, info.encoding, info.unit, info.is_ordered) == ("text", "characters", "bits/character", False)
    assert (info.image_shape, info.dimensions, info.grey_levels) == ((1, 10, 1), 10, 7)
    assert info.symbols == tuple(sorted("abc de\n"))
    assert info.sizes == {"train": 70, "validation": 10, "test": 20}
    assert [split.images.shape for split in splits(dataset)] == [(70, 1, 10, 1), (10, 1, 10, 1), (20, 1, 10, 1)]
    assert all(split.images.dtype == np.uint8 and split.labels is None for split in splits(dataset))
    assert read(dataset) == [PROSE[:700], PROSE[700:800], PROSE[800:1000]]
    assert "what fills no window (3 in all) is left out" in info.source
    assert "as UTF-8 of 7 symbols (those of the training part)" in info.source


def test_splits_in_a_folder_beside_others_are_not_pooled(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path, PROSE, f"corpus/{split}/my.txt")
    write(tmp_path, "of what it is", "docs/readme.txt")
    with pytest.raises(DataError, match=r"corpus/(train|test) is called a split, .* \S+corpus itself is accepted"):
        registry.load(str(tmp_path), SMALL)
    assert registry.load(str(tmp_path / "corpus"), SMALL).info.sizes["test"] == 100


def test_training_windows_that_are_chosen_stay_in_their_order(tmp_path: Path) -> None:
    file = write(tmp_path, PROSE)
    few, whole = (registry.load(file, Preparation(window=10, train_images=n)) for n in (30, None))
    windows = read(whole)[0]
    places = [windows.index(read(few)[0][10 * i : 10 * i + 10]) for i in range(30)]
    assert places == sorted(places)


@settings(deadline=None, max_examples=60)
@given(content=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=60, max_size=300))
def test_any_text_comes_back_but_for_symbols_that_training_lacks(tmp_path_factory: object, content: str) -> None:
    content = "ab" + content
    windows = len(content) // 10
    test, validation = max(2, windows // 5), max(2, windows // 10)
    ends = [10 * (windows - test - validation), 10 * (windows - test), 10 * windows]
    known = {*content[: ends[0]]}
    expected = [content[: ends[0]], content[ends[0] : ends[1]], content[ends[1] : ends[2]]]
    parts = {"all": [text.to_codes(content)]}
    dataset = text.cut_text("x", "x", parts, SMALL, "x")
    assert read(dataset) == ["".join(c if c in known else UNKNOWN for c in part) for part in expected]
    assert max(split.images.max() for split in splits(dataset)) < dataset.info.grey_levels


def test_symbols_that_training_lacks_are_one_more_symbol_and_are_counted(tmp_path: Path) -> None:
    dataset = registry.load(write(tmp_path, "ab" * 350 + "aé" * 50 + "bü" * 100), SMALL)
    assert dataset.info.symbols == ("a", "b", UNKNOWN)
    assert read(dataset)[1:] == [f"a{UNKNOWN}" * 50, f"b{UNKNOWN}" * 100]
    assert "and U+FFFD for others: 50 of validation, 100 of test" in dataset.info.source
    assert UNKNOWN not in registry.load(write(tmp_path, "abé" * 400), SMALL).info.symbols


def test_more_than_256_symbols_are_wider_integers(tmp_path: Path) -> None:
    content = "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 4
    dataset = registry.load(write(tmp_path, content), SMALL)
    assert dataset.tuning.train.images.dtype == np.uint16
    assert "".join(read(dataset)) == content


def test_bytes_have_all_256_values(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8
    dataset = registry.load(write(tmp_path, content, "my.bin"), Preparation(window=16, text_unit="bytes"))
    info = dataset.info
    assert (info.grey_levels, info.symbols, info.encoding, info.unit) == (256, (), "bytes", "bits/byte")
    assert b"".join(split.images.tobytes() for split in splits(dataset)) == content


def test_any_file_is_text_if_its_unit_is_given(tmp_path: Path) -> None:
    for name, content in (("notes.md", PROSE), ("numbers.txt", "1 2 3\n" * 100), ("text8", PROSE)):
        file = write(tmp_path, content, name)
        with pytest.raises(DataError, match="cannot be read"):
            registry.describe(file, SMALL)
        assert registry.describe(file, Preparation(window=10, text_unit="characters")).kind == "text"


def test_numbers_keep_their_advice_and_prose_with_numbers_is_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"np\.loadtxt\('my\.txt'.*; --text-unit characters reads it as text\.$"):
        registry.describe(write(tmp_path, "0 1 2 3\n4 5 6 7\n"))
    for between in (",", ", ", ";"):
        with pytest.raises(DataError, match=rf"np\.loadtxt\('my\.txt', dtype=int, delimiter='{between[0]}'\)"):
            registry.describe(write(tmp_path, between.join("0123") + "\n" + between.join("4567") + "\n"))
    with pytest.raises(DataError, match=r"skiprows=1\); np\.savez\('my\.npz'"):
        registry.describe(write(tmp_path, "label a b c\n4 5 6 7\n"))
    with pytest.raises(DataError, match=r"np\.loadtxt\('my\.txt'\)\.astype\(int\); np\.savez"):
        registry.describe(write(tmp_path, "1.000e+00 2.000e+00\n3.0e+00 4.0e+00\n"))
    assert registry.describe(write(tmp_path, "1 apple\n" * 50), SMALL).kind == "text"
    assert registry.describe(write(tmp_path, "To be, or not\n2 5 7\n" * 50), SMALL).kind == "text"
    assert registry.describe(write(tmp_path, "3.14159265358979" * 20), SMALL).kind == "text"


def test_a_mark_of_utf_8_is_no_symbol_and_line_ends_stay(tmp_path: Path) -> None:
    dataset = registry.load(write(tmp_path, b"\xef\xbb\xbf" + b"ab\r\n" * 100), SMALL)
    assert dataset.info.symbols == ("\n", "\r", "a", "b")


def test_the_alphabet_is_part_of_the_data(tmp_path: Path) -> None:
    one, other = (registry.load(write(tmp_path, PROSE.replace("a", letter), f"{letter}.txt"), SMALL) for letter in "ab")
    assert one.digest != other.digest
    swapped = registry.load(write(tmp_path, PROSE.translate(str.maketrans("abcde", "vwxyz"))), SMALL)
    assert np.array_equal(swapped.tuning.train.images, one.tuning.train.images)
    assert swapped.digest != one.digest
    assert swapped.held_out_digest != one.held_out_digest


def test_files_of_a_folder_are_joined_by_name_and_no_window_holds_two(tmp_path: Path) -> None:
    write(tmp_path, "a" * 25 + "b" * 25 + "c" * 5, "books/1.txt")
    write(tmp_path, "c" * 54, "books/2.txt")
    write(tmp_path, "not read", "books/.hidden.txt")
    (tmp_path / "books").rename(tmp_path / "v1.5 books")
    dataset = registry.load(str(tmp_path / "v1.5 books"), SMALL)
    assert "".join(read(dataset)) == "a" * 25 + "b" * 25 + "c" * 50
    assert dataset.info.name == "v1-5-books"
    assert "what fills no window (9 in all)" in dataset.info.source


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("ptb.char.train.txt", "ptb.char.valid.txt", "ptb.char.test.txt"),
        ("train/x.txt", "val/x.txt", "test/x.txt"),
    ],
)
def test_splits_that_a_folder_names_are_kept(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, symbol in zip(names, "vwx", strict=True):
        write(tmp_path, "ab" * 30 + symbol * 30, f"given/{name}")
    dataset = registry.load(str(tmp_path / "given"), SMALL)
    assert dataset.info.sizes == {"train": 9, "validation": 9, "test": 9}
    assert dataset.info.split_off == ()
    assert read(dataset)[0] == "ab" * 30 + "v" * 30
    assert "split off" not in dataset.info.source


@pytest.mark.parametrize("others", [("readme.txt", "train.txt"), ("train-00.txt", "train-01.txt"), ("a.txt",)])
def test_a_text_called_test_is_not_trained_on_where_others_are_no_splits(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    for name in ("test.txt", *others):
        (tmp_path / name).write_text("held out or not, " * 100)
    with pytest.raises(DataError, match=r"test\.txt is called a split, and .* holds other texts than one of each"):
        registry.load(str(tmp_path), SMALL)


def test_a_missing_split_is_taken_from_the_end_of_train(tmp_path: Path) -> None:
    write(tmp_path, PROSE[:600], "given/train.txt")
    write(tmp_path, PROSE[600:700], "given/test.txt")
    dataset = registry.load(str(tmp_path / "given"), SMALL)
    assert read(dataset) == [PROSE[:500], PROSE[500:600], PROSE[600:700]]
    assert "validation split off by position" in dataset.info.source


def test_notes_beside_images_are_no_text(tmp_path: Path) -> None:
    from PIL import Image

    write(tmp_path, PROSE, "scans/notes.txt")
    for i in range(6):
        Image.new("L", (8, 8), i).save(tmp_path / "scans" / f"{i}.png")
    assert registry.describe(str(tmp_path / "scans")).kind == "image"


BAD: dict[str, tuple[str | bytes, Preparation, str]] = {
    "empty": ("", SMALL, r"my\.txt is empty; text is accepted"),
    "only a mark": (b"\xef\xbb\xbf", SMALL, r"my\.txt is empty"),
    "one symbol": ("a" * 1000, SMALL, r"its training part holds one symbol alone, 'a'; two or more"),
    "one byte": (b"\n" * 1000, Preparation(window=10, text_unit="bytes"), r"one symbol alone, byte 10"),
    "Latin-1": ("Müller ".encode("latin-1") * 99, SMALL, r"no UTF-8: byte 1 is 0xfc .*--text-unit bytes"),
    "UTF-16": (PROSE.encode("utf-16"), SMALL, r"is UTF-16, by its first two bytes: save it as UTF-8"),
    "cut within a character": (PROSE.encode() + "é".encode()[:1], SMALL, r"no UTF-8: byte 1,003 is 0xc3"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0" * 99, SMALL, r"no UTF-8: byte 0 is 0x89"),
    "a binary of ASCII": (b"MZ\0\0" * 99, SMALL, r"is no text: byte 2 is 0.*--text-unit bytes"),
    "too short": ("abcde" * 11, SMALL, r"too few windows of 10 characters \(5 in all\).* smaller --window\.$"),
    "shorter than a window": ("abc", Preparation(), r"too few windows of 64 characters \(0 in all\)"),
    "too large an alphabet": (
        "".join(map(chr, range(0x4E00, 0x4E00 + 600))) * 2,
        SMALL,
        r"holds 600 different characters; up to 400 .* --text-unit bytes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    content, preparation, message = BAD[name]
    with pytest.raises(DataError, match=message):
        registry.describe(write(tmp_path, content), preparation)


def test_a_text_larger_than_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "big.txt"
    with file.open("wb") as stream:
        stream.truncate(2 * 2**30)
    with pytest.raises(DataError, match=r"24\.0 GiB; up to .*Give less text\."):
        registry.describe(str(file))


@pytest.mark.parametrize("setting", [{"resize": (8, 8)}, {"grey": True}, {"grey_levels": 7}, {"speakers": True}])
def test_settings_of_other_data_are_refused(tmp_path: Path, setting: dict[str, object]) -> None:
    option = f"--{next(iter(setting)).replace('_', '-')} is for (images|sound): leave it out"
    with pytest.raises(DataError, match=rf"my\.txt holds text, and {option}"):
        registry.describe(write(tmp_path, PROSE), Preparation(**setting))


@pytest.mark.parametrize("function", [registry.describe, registry.load])
def test_images_have_no_windows(function: object) -> None:
    with pytest.raises(DataError, match="digits holds images, and --window is for text and sound"):
        function("digits", Preparation(window=8))


def test_outside_text_is_read_in_the_alphabet_of_the_study(tmp_path: Path) -> None:
    own = registry.describe(write(tmp_path, PROSE, "own.txt"), SMALL)
    outside = write(tmp_path, "bad\n" * 100, "other.txt")
    reading = registry.check_outside(outside, own, SMALL)
    dataset = registry.load(outside, reading)
    assert dataset.info.symbols == own.symbols
    assert "".join(read(dataset)) == "bad\n" * 100
    # One symbol alone is text too, where the alphabet is another's.
    assert registry.check_outside(write(tmp_path, "a" * 100, "same.txt"), own, SMALL).symbols == own.symbols
    with pytest.raises(DataError, match=r"holds 'z', which is not in the alphabet of the data that it is compared"):
        registry.check_outside(write(tmp_path, "zoo" * 100, "zoo.txt"), own, SMALL)
    with pytest.raises(SettingsError, match=r"outside_dataset='digits' is images, and own is text"):
        registry.check_outside("digits", own, SMALL)
    with pytest.raises(SettingsError, match=r"own.txt' is text, and digits is images"):
        registry.check_outside(str(tmp_path / "own.txt"), registry.describe("digits"), Preparation(resize=(8, 8)))
    in_bytes = Preparation(window=10, text_unit="bytes")
    with pytest.raises(SettingsError, match=r"own.txt' has windows of 10 characters, an alphabet of 7: .* 10 bytes"):
        registry.check_outside(str(tmp_path / "own.txt"), registry.describe(outside, in_bytes), SMALL)


def test_outside_text_may_hold_others_where_the_alphabet_has_a_symbol_for_them(tmp_path: Path) -> None:
    own = registry.describe(write(tmp_path, "ab" * 350 + "é" * 300, "own.txt"), SMALL)
    outside = write(tmp_path, "abz" * 100, "other.txt")
    dataset = registry.load(outside, registry.check_outside(outside, own, SMALL))
    assert "".join(read(dataset)) == f"ab{UNKNOWN}" * 100


def test_fewer_training_windows_keep_alphabet_validation_and_test(tmp_path: Path) -> None:
    file = write(tmp_path, PROSE)
    whole, few = (registry.load(file, Preparation(window=10, train_images=n)) for n in (None, 20))
    assert few.info.symbols == whole.info.symbols
    assert (few.info.name, few.info.sizes["train"]) == ("my-20", 20)
    assert few.held_out_digest == whole.held_out_digest
    assert "here 20 of its 70 training windows" in few.info.source
    with pytest.raises(DataError, match="my has 70 training windows; 2 to 70 are accepted"):
        registry.describe(file, Preparation(window=10, train_images=71))
