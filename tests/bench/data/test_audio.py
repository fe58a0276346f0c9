"""Recordings as data: their windows, splits, rates and labels, and what is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import resample_poly

from bench.core.errors import DataError, SettingsError
from bench.core.sequences import encode_waveform
from bench.data import audio, registry
from bench.data.dataset import Dataset, Split
from bench.data.preparation import Preparation
from tests.bench.data.sounds import save, tone, wav

SMALL = Preparation(window=100)
NOISE = np.random.RandomState(0).uniform(-1, 1, 4050)


def splits(dataset: Dataset) -> list[Split]:
    return [dataset.tuning.train, dataset.tuning.validation, dataset.open_test()]


def constant(folder: Path, lengths: dict[str, int]) -> None:
    """Recordings of one amplitude each, by which their windows are known: file i has level 10 i + 5."""
    for i, (name, length) in enumerate(lengths.items()):
        save(folder / name, np.full(length, (10 * i + 5 - 128) / 128), width=1)


def levels(dataset: Dataset) -> list[dict[int, int]]:
    """How many windows of each level are in each split."""
    found = []
    for split in splits(dataset):
        assert (split.images == split.images[:, :, :1]).all()
        values, counts = np.unique(split.images[:, 0, 0, 0], return_counts=True)
        found.append(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return found


LINEAR = Preparation(window=100, sound_encoding="linear")


@pytest.mark.parametrize("encoding", ["mu-law", "linear"])
def test_one_recording_is_cut_into_windows_and_split_by_position(tmp_path: Path, encoding: str) -> None:
    save(tmp_path / "my voice.wav", NOISE, rate=16_000)
    wanted = Preparation(window=100, sound_encoding=encoding)
    dataset = registry.load(str(tmp_path / "my voice.wav"), wanted)
    info = dataset.info
    assert info == registry.describe(str(tmp_path / "my voice.wav"), wanted)
    assert (info.name, info.kind, info.encoding, info.unit, info.is_ordered) == (
        "my-voice",
        "audio",
        encoding,
        "bits/sample",
        True,
    )
    assert (info.image_shape, info.grey_levels, info.sample_rate, info.symbols) == ((1, 100, 1), 256, 16_000, ())
    assert info.sizes == {"train": 28, "validation": 4, "test": 8}
    found = np.concatenate([split.images.reshape(-1) for split in splits(dataset)])
    stored = np.rint(NOISE * 2**15).clip(-(2**15), 2**15 - 1) / 2**15
    assert np.array_equal(found, encode_waveform(stored[:4000], encoding))
    assert f"1 recording at 16,000 Hz, {encoding} to 256 levels, in windows of 100 samples" in info.source
    assert "split off by position; what fills no window (50 samples in all) is left out" in info.source


def test_levels_do_not_depend_on_the_blocks_in_which_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "x.wav", NOISE)
    whole = registry.load(str(tmp_path / "x.wav"), SMALL).digest
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 17)
    assert registry.load(str(tmp_path / "x.wav"), SMALL).digest == whole


def test_linear_levels_of_eight_bits_are_those_of_the_file(tmp_path: Path) -> None:
    save(tmp_path / "x.wav", NOISE, width=1)
    dataset = registry.load(str(tmp_path / "x.wav"), LINEAR)
    found = b"".join(split.images.tobytes() for split in splits(dataset))
    assert found == (tmp_path / "x.wav").read_bytes()[44:4044]


def test_flac_is_the_same_data_as_wav(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for kind in ("wav", "flac"):
        (tmp_path / kind).mkdir()
        for i in range(6):
            sound = np.rint(NOISE[: 900 + 100 * i] * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
            soundfile.write(tmp_path / kind / f"{i}.{kind}", sound, 8000)
    assert len({registry.load(str(tmp_path / kind), SMALL).digest for kind in ("wav", "flac")}) == 1


def test_no_file_is_in_two_splits(tmp_path: Path) -> None:
    constant(tmp_path, {f"{i}.wav": 100 * (i % 7 + 1) + 30 for i in range(24)})
    dataset = registry.load(str(tmp_path), LINEAR)
    assert dataset.info == registry.describe(str(tmp_path), LINEAR)
    found = levels(dataset)
    assert sum(map(len, found)) == 24
    # All windows of a file are in its split.
    assert {level: n for split in found for level, n in split.items()} == {10 * i + 5: i % 7 + 1 for i in range(24)}
    sizes = list(dataset.info.sizes.values())
    assert np.abs(np.array(sizes) / sum(sizes) - [0.7, 0.1, 0.2]).max() < 0.05
    assert "split off by file" in dataset.info.source
    assert levels(registry.load(str(tmp_path), LINEAR)) == found


def test_the_longest_of_three_files_is_trained_on(tmp_path: Path) -> None:
    constant(tmp_path, {"a.wav": 200, "b.wav": 3000, "c.wav": 300})
    assert levels(registry.load(str(tmp_path), LINEAR)) == [{15: 30}, {5: 2}, {25: 3}]


def test_two_files_are_split_by_position(tmp_path: Path) -> None:
    constant(tmp_path / "v1.5", {"a.wav": 1000, "b.wav": 1000})
    dataset = registry.load(str(tmp_path / "v1.5"), LINEAR)
    assert dataset.info.name == "v1-5"
    assert dataset.info.sizes == {"train": 14, "validation": 2, "test": 4}
    assert "split off by position" in dataset.info.source


def test_sub_folders_are_classes_and_windows_have_their_file_s(tmp_path: Path) -> None:
    constant(tmp_path, {f"{name}/{i}.wav": 250 for name in ("no", "yes") for i in range(10)})
    dataset = registry.load(str(tmp_path), LINEAR)
    assert (dataset.info.classes, dataset.info.class_names) == (2, ("no", "yes"))
    for split in splits(dataset):
        assert (split.labels == (split.images[:, 0, 0, 0] >= 105)).all()


def test_classes_that_validation_lacks_are_none_as_a_network_learns_them_from_train_and_validation(
    tmp_path: Path,
) -> None:
    names = ("train/no", "train/yes", "valid", "test")
    constant(tmp_path, {f"{name}/{i}.wav": 250 for name in names for i in range(3)})
    dataset = registry.load(str(tmp_path), LINEAR)
    assert (dataset.info.classes, dataset.info.has_features, dataset.tuning.train.labels) == (0, False, None)


def test_recordings_of_formats_that_are_not_read_are_never_passed_over(tmp_path: Path) -> None:
    constant(tmp_path, {f"{i}.wav": 250 for i in range(6)})
    for name in ("a.mp3", "b.ogg"):
        (tmp_path / name).write_bytes(b"ID3")
    with pytest.raises(DataError, match=r"holds 2 recordings of formats that are not read, such as .*a\.mp3; \.flac, "):
        registry.describe(str(tmp_path), LINEAR)
    for i in range(6):
        (tmp_path / f"{i}.wav").unlink()
    with pytest.raises(DataError, match=r"holds 2 recordings of formats .*: ffmpeg -i FILE my\.wav makes one"):
        registry.describe(str(tmp_path), LINEAR)


def test_no_speaker_is_in_two_splits(tmp_path: Path) -> None:
    constant(tmp_path, {f"{name}/{i}.wav": 250 for name in "abcde" for i in range(4)})
    wanted = Preparation(window=100, sound_encoding="linear", speakers=True)
    dataset = registry.load(str(tmp_path), wanted)
    assert dataset.info == registry.describe(str(tmp_path), wanted)
    assert (dataset.info.classes, dataset.tuning.train.labels) == (0, None)
    speakers = [speaker for found in levels(dataset) for speaker in {(level - 5) // 40 for level in found}]
    assert sorted(speakers) == [0, 1, 2, 3, 4]
    assert "split off by speaker" in dataset.info.source
    for name in "cde":
        shutil.rmtree(tmp_path / name)
    with pytest.raises(DataError, match=r"has 2 speakers of a window or more; 3 or more are accepted"):
        registry.describe(str(tmp_path), wanted)
    with pytest.raises(DataError, match=r"\d\.wav lies in no sub-folder; a sub-folder for each speaker is accepted"):
        registry.describe(str(tmp_path / "a"), wanted)
    constant(tmp_path, {"one.wav": 2500})
    with pytest.raises(DataError, match="--speakers takes a folder with a sub-folder for each speaker"):
        registry.describe(str(tmp_path / "one.wav"), wanted)


def test_speakers_of_splits_that_a_folder_names_are_others(tmp_path: Path) -> None:
    names = ("train/a", "train/b", "valid/c", "test/d/chapter")
    constant(tmp_path, {f"{name}/{i}.wav": 250 for name in names for i in range(2)})
    wanted = Preparation(window=100, sound_encoding="linear", speakers=True)
    assert list(map(len, levels(registry.load(str(tmp_path), wanted)))) == [4, 2, 2]
    shutil.move(tmp_path / "test" / "d", tmp_path / "test" / "b")
    with pytest.raises(DataError, match="the speaker b is in train and in test; in one of them is accepted"):
        registry.describe(str(tmp_path), wanted)


def test_speakers_may_have_a_recording_each(tmp_path: Path) -> None:
    constant(tmp_path, {f"{name}/{name}.wav": 250 for name in "abcdef"})
    wanted = Preparation(window=100, sound_encoding="linear", speakers=True)
    assert sum(map(len, levels(registry.load(str(tmp_path), wanted)))) == 6


def test_splits_that_a_folder_names_are_kept_and_a_missing_one_is_whole_files(tmp_path: Path) -> None:
    constant(tmp_path / "all", {f"{part}/{i}.wav": 300 for part in ("train", "valid", "test") for i in range(2)})
    assert levels(registry.load(str(tmp_path / "all"), LINEAR)) == [{5: 3, 15: 3}, {25: 3, 35: 3}, {45: 3, 55: 3}]
    constant(tmp_path / "two", {f"{part}/{i}.wav": 300 for part in ("train", "test") for i in range(6)})
    found = levels(registry.load(str(tmp_path / "two"), LINEAR))
    assert [len(each) for each in found] == [5, 1, 6]
    assert min(found[2]) == 65


def test_recordings_of_several_rates_are_brought_to_the_lowest(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.5, 8000), rate=8000)
    for name, rate in (("b.wav", 16_000), ("c.wav", 44_100)):
        save(tmp_path / name, np.stack([tone(0.5, rate)] * 2, axis=1), rate=rate)
    dataset = registry.load(str(tmp_path), SMALL)
    assert dataset.info == registry.describe(str(tmp_path), SMALL)
    assert dataset.info.sample_rate == 8000
    assert "3 recordings at 8,000, 16,000, 44,100 Hz, resampled to 8,000 Hz" in dataset.info.source
    # Away from the ends, where the filter meets silence, all three are one tone.
    expected = encode_waveform(tone(0.5, 8000), "mu-law")[:4000].reshape(-1, 100).astype(int)
    for split in splits(dataset):
        assert np.abs(split.images[2:-2, 0, :, 0].astype(int) - expected[2:-2]).max() <= 3


def test_a_wanted_rate_is_scipy_s_polyphase_filter(tmp_path: Path) -> None:
    save(tmp_path / "x.wav", NOISE, rate=12_000, width=8, is_float=True)
    wanted = Preparation(window=100, sample_rate=8000)
    dataset = registry.load(str(tmp_path / "x.wav"), wanted)
    found = np.concatenate([split.images.reshape(-1) for split in splits(dataset)])
    assert np.array_equal(found, encode_waveform(resample_poly(NOISE, 2, 3)[:2700], "mu-law"))
    assert dataset.info.sample_rate == 8000


def test_files_shorter_than_a_window_are_left_out_and_said(tmp_path: Path) -> None:
    constant(tmp_path, {"a.wav": 300, "b.wav": 300, "c.wav": 300, "d.wav": 99, "e.wav": 0})
    dataset = registry.load(str(tmp_path), LINEAR)
    assert sum(dataset.info.sizes.values()) == 9
    expected = "2 of the recordings are shorter than a window; what fills no window (99 samples in all) is left out."
    assert dataset.info.source.endswith(expected)


def test_rate_and_encoding_are_part_of_the_data(tmp_path: Path) -> None:
    silence = np.zeros(2000)
    for name, rate in (("a.wav", 8000), ("b.wav", 16_000)):
        save(tmp_path / name, silence, rate=rate)
    digests = {
        registry.load(str(tmp_path / name), Preparation(window=100, sound_encoding=encoding)).digest
        for name in ("a.wav", "b.wav")
        for encoding in ("mu-law", "linear")
    }
    assert len(digests) == 4


def test_an_hour_of_sound_is_described_by_its_header_and_refused_by_the_memory_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = wav(np.zeros(0), 44_100)
    seconds = 3600
    size = 2 * 44_100 * seconds
    file = tmp_path / "hour.wav"
    file.write_bytes(content[:40] + size.to_bytes(4, "little"))
    with file.open("r+b") as stream:
        stream.truncate(44 + size)
    wanted = Preparation(window=256, sample_rate=8000)
    assert sum(registry.describe(str(file), wanted).sizes.values()) == seconds * 8000 // 256
    monkeypatch.setattr("bench.data.validation.MOST_BYTES", 2**30)
    with pytest.raises(DataError, match=r"hour\.wav: .* 3\.6 GiB; up to 1\.0 GiB .* cut them into shorter files"):
        registry.describe(str(file), wanted)


BAD = {
    "no samples": (lambda folder: save(folder / "x.wav", np.zeros(0)), r"too few windows of 100 samples \(0 in all\)"),
    "too short": (lambda folder: save(folder / "x.wav", np.zeros(599)), r"too few windows of 100 samples \(5 in all\)"),
    "one that is none": (lambda folder: (folder / "x.wav").write_text("hello"), r"x\.wav is no WAV file"),
    "one that ends": (
        lambda folder: (folder / "x.wav").write_bytes(wav(NOISE)[:-7]),
        r"x\.wav says that it holds 4,050 samples, and holds 4,046: it is cut short",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_refused(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    make(tmp_path)
    for path in (tmp_path / "x.wav", tmp_path):
        with pytest.raises(DataError, match=message):
            registry.describe(str(path), SMALL)


def test_images_beside_recordings_are_refused(tmp_path: Path) -> None:
    constant(tmp_path, {"sound/a.wav": 1000})
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"holds images and recordings, such as \S+x\.png and \S+a\.wav; one kind"):
        registry.describe(str(tmp_path))


def test_transcripts_beside_recordings_are_passed_over(tmp_path: Path) -> None:
    constant(tmp_path, {"a.wav": 1000})
    (tmp_path / "a.txt").write_text("hello")
    assert registry.describe(str(tmp_path), SMALL).kind == "audio"


@pytest.mark.parametrize("setting", [{"resize": (8, 8)}, {"grey": True}, {"grey_levels": 7}, {"text_unit": "bytes"}])
def test_settings_of_other_data_are_refused(tmp_path: Path, setting: dict[str, object]) -> None:
    save(tmp_path / "x.wav", NOISE)
    option = f"--{next(iter(setting)).replace('_', '-')} is for (images|text): leave it out"
    with pytest.raises(DataError, match=rf"x\.wav holds sound, and {option}"):
        registry.describe(str(tmp_path / "x.wav"), Preparation(**setting))


def test_outside_sound_is_brought_to_the_rate_of_the_study(tmp_path: Path) -> None:
    save(tmp_path / "own.wav", tone(1, 8000))
    save(tmp_path / "other.wav", tone(1, 16_000), rate=16_000)
    own = registry.describe(str(tmp_path / "own.wav"), SMALL)
    reading = registry.check_outside(str(tmp_path / "other.wav"), own, SMALL)
    assert registry.load(str(tmp_path / "other.wav"), reading).info.sample_rate == 8000
    with pytest.raises(SettingsError, match="outside_dataset='digits' is images, and own is sound"):
        registry.check_outside("digits", own, SMALL)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.wav", NOISE)
    real = audio.recording.read

    def read(file: Path) -> tuple[np.ndarray, int]:
        save(file, NOISE[:700])
        return real(file)

    monkeypatch.setattr(audio.recording, "read", read)
    with pytest.raises(DataError, match=r"x\.wav is now of another length"):
        registry.load(str(tmp_path / "x.wav"), SMALL)
