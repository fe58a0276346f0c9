"""Text and sound by name: what is there, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.core.sequences import to_text
from bench.data import named_sequences
from bench.data.preparation import Preparation
from bench.data.registry import BUILT_IN, SEQUENCES, describe, is_cached, load
from tests.bench.data.sounds import save


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folder = tmp_path / "datasets"
    folder.mkdir()
    return folder


def test_the_text_that_comes_with_python() -> None:
    from pydoc_data.topics import topics

    dataset = load("python_topics")
    assert dataset.info == describe("python_topics")
    assert is_cached("python_topics")
    beginning = to_text(dataset.tuning.train.images[:100], dataset.info.symbols)
    assert beginning == "\n\n".join(topics[name] for name in sorted(topics))[:6400]
    assert load("python_topics", Preparation(text_unit="bytes")).info.unit == "bits/byte"
    assert "PSF licence, as UTF-8 of" in dataset.info.source


@pytest.mark.parametrize("name", [name for name in SEQUENCES if name != "python_topics"])
def test_what_is_missing_is_named_with_its_place_source_and_licence(name: str, cache: Path) -> None:
    assert name in BUILT_IN
    assert not is_cached(name)
    for function in (describe, load):
        with pytest.raises(
            DataError, match=rf"{name} is not in the cache: put .*https?://.*\(.*(CC|LDC).*\) at "
        ) as error:
            function(name)
        assert str(cache / SEQUENCES[name].file) in str(error.value)


def test_ptb_is_its_characters_without_the_spaces_between_them(cache: Path) -> None:
    folder = cache / "ptb_characters"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"ptb.char.{part}.txt").write_text(" n o _ i t \n w a s n ' t _ b l a c k _ m o n d a y \n" * 20)
    dataset = load("ptb_characters", Preparation(window=26))
    assert dataset.info.sizes == {"train": 20, "validation": 20, "test": 20}
    assert to_text(dataset.tuning.train.images[0], dataset.info.symbols) == "no it\nwasn't black monday\n"
    (folder / "ptb.char.test.txt").unlink()
    with pytest.raises(DataError, match=r"ptb\.char\.test\.txt cannot be read"):
        load("ptb_characters")


def test_text8_is_split_as_it_is_published(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "text8").write_bytes(b"not it")
    with pytest.raises(DataError, match=r"text8 holds 6 bytes; text8 holds 100,000,000"):
        load("text8")
    monkeypatch.setattr(named_sequences, "_TEXT8_PERCENT", 1000)
    letters = np.frombuffer(b" abcdefghijklmnopqrstuvwxyz", np.uint8)
    np.resize(letters, 10**5).tofile(cache / "text8")
    info = describe("text8", Preparation(window=100))
    assert info.sizes == {"train": 900, "validation": 50, "test": 50}
    assert "".join(info.symbols) == letters.tobytes().decode()


def digits(folder: Path) -> None:
    for digit in range(3):
        for place, speaker in enumerate(("ann", "bob", "cid")):
            for number in range(12):
                level = 60 * place + 20 * digit + number
                save(folder / f"{digit}_{speaker}_{number}.wav", np.full(250, (level - 128) / 128), width=1)


def test_spoken_digits_are_split_by_their_numbers_and_labelled(cache: Path) -> None:
    digits(cache / "free-spoken-digit-dataset" / "recordings")
    wanted = Preparation(window=100, sound_encoding="linear")
    dataset = load("free_spoken_digits", wanted)
    assert dataset.info == describe("free_spoken_digits", wanted)
    assert dataset.info.sizes == {"train": 36, "validation": 90, "test": 90}
    assert dataset.info.class_names == tuple("0123456789")
    for split, numbers in ((dataset.tuning.train, [10, 11]), (dataset.open_test(), [0, 1, 2, 3, 4])):
        levels = split.images[:, 0, 0, 0].astype(int)
        assert sorted(set(levels % 20)) == numbers
        assert (split.labels == levels % 60 // 20).all()


def test_spoken_digits_by_speaker(cache: Path) -> None:
    digits(cache / "free-spoken-digit-dataset" / "recordings")
    dataset = load("free_spoken_digits", Preparation(window=100, sound_encoding="linear", speakers=True))
    speakers = [
        set((split.images[:, 0, 0, 0] // 60).tolist())
        for split in (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
    ]
    assert sorted(map(len, speakers)) == [1, 1, 1]
    assert set.union(*speakers) == {0, 1, 2}
    assert dataset.info.classes == 0


def test_a_folder_of_other_recordings_is_no_spoken_digits(cache: Path) -> None:
    save(cache / "free-spoken-digit-dataset" / "x.wav", np.zeros(100))
    with pytest.raises(DataError, match=r"holds no recording called DIGIT_SPEAKER_NUMBER\.wav"):
        describe("free_spoken_digits")
