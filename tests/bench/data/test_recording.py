"""Recordings of every form, and files that are none."""

from __future__ import annotations

import os
import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from bench.core.errors import DataError
from bench.data import recording
from tests.bench.data.sounds import chunk, form, riff, tone, wav

WAVEFORM = tone(0.1)
STEREO = np.stack([WAVEFORM, -0.5 * WAVEFORM], axis=1)


def write(folder: Path, content: bytes, name: str = "x.wav") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("width", "is_float"), [(1, False), (2, False), (3, False), (4, False), (4, True), (8, True)])
@pytest.mark.parametrize("waveform", [WAVEFORM, STEREO], ids=["mono", "stereo"])
def test_every_form_is_read(tmp_path: Path, waveform: np.ndarray, width: int, is_float: bool, extensible: bool) -> None:
    file = write(tmp_path, wav(waveform, 11_025, width, is_float, extensible))
    expected = waveform if waveform.ndim == 1 else waveform.mean(axis=1)
    assert recording.inspect(file) == (800, 11_025, 1 if waveform.ndim == 1 else 2)
    found, rate = recording.read(file)
    assert rate == 11_025
    assert np.abs(found - expected).max() <= (1e-7 if is_float else 2.0 ** (1 - 8 * width))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_whole_numbers_are_those_that_python_and_scipy_read(tmp_path: Path, width: int) -> None:
    file = write(tmp_path, wav(WAVEFORM, 8000, width))
    found, _ = recording.read(file)
    scale, zero = float(2 ** (8 * width - 1)), 128 if width == 1 else 0
    assert np.array_equal(found, (wavfile.read(file)[1].astype(np.float64) - zero) / scale)
    with wave.open(str(file)) as other:
        kind = {1: np.uint8, 2: "<i2", 4: "<i4"}[width]
        assert np.array_equal(found, (np.frombuffer(other.readframes(800), kind).astype(np.float64) - zero) / scale)


def test_other_chunks_are_passed_over_and_blocks_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_BLOCK_FRAMES", 7)
    data = chunk(b"data", np.arange(100, dtype="<i2").tobytes())
    file = write(
        tmp_path, riff(chunk(b"LIST", b"odd") + chunk(b"fmt ", form(1, 1, 8000, 2)) + data + chunk(b"id3 ", b"x"))
    )
    assert (recording.read(file)[0] * 2**15).tolist() == list(range(100))


def test_sound_whose_length_was_not_known_goes_to_the_end_of_the_file(tmp_path: Path) -> None:
    content = riff(chunk(b"fmt ", form(1, 1, 8000, 2)) + b"data" + b"\xff" * 4) + bytes(200)
    assert recording.inspect(write(tmp_path, content)).frames == 100


def test_a_file_of_no_samples_is_read_as_that(tmp_path: Path) -> None:
    assert recording.read(write(tmp_path, wav(np.zeros(0))))[0].shape == (0,)


WHOLE = wav(WAVEFORM)
BAD = {
    "empty": (b"", r"x\.wav is empty"),
    "text": (b"hello, world, hello", r"x\.wav is no WAV file, as its first bytes b'hello, world' say"),
    "of big numbers": (b"RIFX" + WHOLE[4:], r"is no WAV file"),
    "an image in RIFF": (WHOLE[:8] + b"WEBP" + WHOLE[12:], r"is no WAV file"),
    "FLAC": (b"fLaC" + bytes(100), r"it is FLAC, so call it \.flac"),
    "ends in RIFF": (WHOLE[:10], r"x\.wav ends within its header"),
    "ends in fmt": (WHOLE[:25], r"x\.wav ends within its header"),
    "ends before data": (WHOLE[:36], r"x\.wav ends within its header"),
    "ends in the sound": (WHOLE[:-100], r"says that it holds 800 samples, and holds 750: it is cut short"),
    "claims an hour": (riff(chunk(b"fmt ", form(1, 1, 8000, 2)) + b"data" + struct.pack("<I", 2**31)), r"cut short"),
    "data first": (riff(chunk(b"data", bytes(20))), r"does not say what its sound consists of"),
    "many chunks": (riff(chunk(b"junk", b"") * 1100), r"no sound among its first 1000 chunks"),
    "mu-law": (riff(chunk(b"fmt ", form(7, 1, 8000, 1)) + chunk(b"data", bytes(9))), r"code 7 \(mu-law\).*ffmpeg"),
    "an extensible header that ends": (
        riff(chunk(b"fmt ", form(0xFFFE, 1, 8000, 2)) + chunk(b"data", bytes(9))),
        r"ends within its header",
    ),
    "no channel": (riff(chunk(b"fmt ", form(1, 0, 8000, 2)) + chunk(b"data", bytes(9))), r"has 0 channels; 1 to 64"),
    "many channels": (riff(chunk(b"fmt ", form(1, 99, 8000, 2)) + chunk(b"data", bytes(9))), r"has 99 channels"),
    "no rate": (riff(chunk(b"fmt ", form(1, 1, 0, 2)) + chunk(b"data", bytes(9))), r"has 0 samples a second"),
    "a mad rate": (riff(chunk(b"fmt ", form(1, 1, 2**31, 2)) + chunk(b"data", bytes(9))), r"2,147,483,648 samples"),
    "12 bits in 5 bytes": (
        riff(chunk(b"fmt ", form(1, 1, 8000, 5, 12)) + chunk(b"data", bytes(9))),
        r"has 12 bits a sample in 5 bytes of 1 channels",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_refused(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    with pytest.raises(DataError, match=message):
        recording.inspect(write(tmp_path, content))


def test_numbers_beyond_one_are_clipped(tmp_path: Path) -> None:
    file = write(tmp_path, wav(np.array([0.5, 1.7, -2]), 8000, 8, is_float=True))
    assert recording.read(file)[0].tolist() == [0.5, 1, -1]


def test_floating_point_numbers_of_another_scale_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, wav(np.array([0.5, -20_000]), 8000, 4, is_float=True))
    with pytest.raises(DataError, match=r"x\.wav holds an amplitude of 20,000; numbers from -1 to 1 are accepted: div"):
        recording.read(file)


def test_a_recording_whose_length_was_never_written_is_refused_and_one_of_no_samples_is_not(tmp_path: Path) -> None:
    content = chunk(b"fmt ", form(1, 1, 8000, 2)) + b"data" + bytes(4)
    file = write(tmp_path, riff(content + bytes(range(1, 101)) * 10))
    with pytest.raises(DataError, match=r"says that it holds no samples, and 1,000 bytes follow"):
        recording.inspect(file)
    assert recording.inspect(write(tmp_path, riff(content + chunk(b"LIST", b"INFO")))).frames == 0


def test_flac_of_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.flac"))
    plain = tmp_path / "x.flac"
    soundfile.write(plain, np.zeros(100), 8000)
    plain.rename(file)
    assert len(recording.read(file)[0]) == 100


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [[np.nan, 0], [np.inf, -np.inf], [1.7e308, 1.7e308]])
def test_an_amplitude_that_is_no_number_is_refused(tmp_path: Path, value: list[float]) -> None:
    file = write(tmp_path, wav(np.array([[0, 0], value]), 8000, 8, is_float=True))
    with pytest.raises(DataError, match=r"x\.wav holds an amplitude that is no number"):
        recording.read(file)


def test_flac_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DataError, match=r"x\.flac cannot be read, as FLAC needs the library soundfile .*\[audio\]"):
        recording.inspect(write(tmp_path, b"fLaC", "x.flac"))


@pytest.mark.parametrize("waveform", [WAVEFORM, STEREO], ids=["mono", "stereo"])
def test_flac_is_read_as_the_same_wav(tmp_path: Path, waveform: np.ndarray) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("x.flac", "x.wav"):
        soundfile.write(tmp_path / name, np.rint(waveform * 2**15).astype(np.int16), 8000)
    assert recording.inspect(tmp_path / "x.flac") == recording.inspect(tmp_path / "x.wav")
    assert np.array_equal(recording.read(tmp_path / "x.flac")[0], recording.read(tmp_path / "x.wav")[0])


def test_what_is_no_flac_is_refused(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    with pytest.raises(DataError, match=r"x\.flac cannot be read as FLAC"):
        recording.inspect(write(tmp_path, b"hello", "x.flac"))
    with pytest.raises(DataError, match=r"x\.flac is no FLAC file, but one of WAV"):
        recording.inspect(write(tmp_path, WHOLE, "x.flac"))
    soundfile.write(tmp_path / "y.flac", np.random.default_rng(0).uniform(-1, 1, 50_000), 8000)
    content = (tmp_path / "y.flac").read_bytes()
    for cut in (50, len(content) // 2):
        file = write(tmp_path, content[:cut], "z.flac")
        with pytest.raises(DataError, match=r"z\.flac"):
            recording.read(file)
