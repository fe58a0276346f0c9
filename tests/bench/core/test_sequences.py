"""Levels of sound and symbols of text, and the way back."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.sequences import (
    UNKNOWN,
    decode_waveform,
    encode_waveform,
    mu_law_decode,
    mu_law_encode,
    to_text,
    to_wav,
    unit_of,
)

ALL_LEVELS = np.arange(256)


def test_mu_law_is_its_formula() -> None:
    waveform = np.linspace(-1, 1, 1001)
    companded = np.sign(waveform) * np.log(1 + 255 * np.abs(waveform)) / np.log(256)
    assert np.abs(mu_law_encode(waveform) - (companded + 1) / 2 * 255).max() <= 0.5 + 1e-9
    # Computed by hand: F(1/255) = ln 2 / ln 256 = 1/8, so that level (1/8 + 1) / 2 * 255 = 143.4.
    assert mu_law_encode(np.array([1 / 255])).tolist() == [143]
    assert mu_law_decode(np.array([255, 0])).tolist() == pytest.approx([1, -1])


@pytest.mark.parametrize("encoding", ["mu-law", "linear"])
def test_levels_come_back_and_keep_their_order(encoding: str) -> None:
    waveform = decode_waveform(ALL_LEVELS, encoding)
    assert (np.diff(waveform) > 0).all()
    assert np.abs(waveform).max() <= 1
    assert encode_waveform(waveform, encoding).tolist() == ALL_LEVELS.tolist()
    assert encode_waveform(waveform, encoding).dtype == np.uint8


@pytest.mark.parametrize(("encoding", "half_step"), [("mu-law", 0.022), ("linear", 1 / 128)])
@given(amplitude=st.floats(-1, 1))
def test_an_amplitude_comes_back_within_a_step(encoding: str, half_step: float, amplitude: float) -> None:
    back = decode_waveform(encode_waveform(np.array([amplitude]), encoding), encoding)[0]
    assert abs(back - amplitude) <= half_step
    assert (back > 0) == (amplitude > 0) or abs(back) < half_step


def test_quiet_sound_is_finer_by_mu_law() -> None:
    quiet = np.linspace(-0.01, 0.01, 101)
    errors = [
        np.abs(decode_waveform(encode_waveform(quiet, encoding), encoding) - quiet).max()
        for encoding in ("mu-law", "linear")
    ]
    assert errors[0] < errors[1] / 10


@pytest.mark.parametrize("encoding", ["mu-law", "linear"])
def test_amplitudes_beyond_one_are_clipped_and_what_is_no_level_is_silence(encoding: str) -> None:
    assert encode_waveform(np.array([-9.0, 9.0]), encoding).tolist() == [0, 255]
    assert decode_waveform(np.array([-1, 255]), encoding)[0] == 0


def test_a_player_s_file_holds_the_waveform() -> None:
    levels = np.array([0, 64, 128, 192, 255])
    with wave.open(io.BytesIO(to_wav(levels, "linear", 8000))) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 5)
        samples = np.frombuffer(file.readframes(5), "<i2")
    assert np.abs(samples / 32767 - decode_waveform(levels, "linear")).max() < 1e-4


def test_text_of_symbols_and_of_bytes() -> None:
    assert to_text(np.array([2, 0, 1, -1, 3]), ("a", "b", "ü")) == f"üab{UNKNOWN}{UNKNOWN}"
    assert to_text(np.frombuffer("aü€".encode(), np.uint8)) == "aü€"
    assert to_text(np.array([97, 0xC3, -1, 98])) == f"a{UNKNOWN}{UNKNOWN}b"


def test_units() -> None:
    assert [unit_of(each) for each in ("", "characters", "bytes", "mu-law", "linear")] == [
        "bits/dim",
        "bits/character",
        "bits/byte",
        "bits/sample",
        "bits/sample",
    ]
