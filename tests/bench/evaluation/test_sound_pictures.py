"""Waveforms and spectrograms show what is in a sound, and runs leave pictures of what their data is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.core.sequences import encode_waveform
from bench.data.dataset import DatasetInfo
from bench.evaluation.image_grid import image_grid
from bench.evaluation.sound_pictures import (
    SPECTROGRAM_HEIGHT,
    TILE_WIDTH,
    WAVEFORM_HEIGHT,
    sound_pictures,
    sound_tiles,
)

RATE = 8000


def sine(frequency, amplitude=1.0, length=1024):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(length) / RATE)


def tile(waveform):
    return sound_tiles(encode_waveform(waveform[None], "linear"), "linear")[0, :, :, 0]


@pytest.mark.parametrize("frequency", [500, 609, 1000, 2000, 3500, 3950])
def test_a_sine_is_brightest_at_its_frequency(frequency):
    spectrogram = tile(sine(frequency))[WAVEFORM_HEIGHT:]
    assert spectrogram.shape == (SPECTROGRAM_HEIGHT, TILE_WIDTH)
    brightest = spectrogram.mean(axis=1).argmax()
    assert spectrogram.max() > 235  # whatever the band that it falls into
    # Row 0 is half the rate, the last one 0 Hz.
    assert (SPECTROGRAM_HEIGHT - 0.5 - brightest) / SPECTROGRAM_HEIGHT * RATE / 2 == pytest.approx(frequency, abs=90)


def test_a_tenth_of_the_amplitude_is_20_of_80_decibels_darker():
    loud, soft = (tile(sine(1000, amplitude))[WAVEFORM_HEIGHT:].max() for amplitude in (0.99, 0.099))
    assert loud == pytest.approx(255, abs=3)
    assert loud - soft == pytest.approx(255 * 20 / 80, abs=3)


def test_silence_is_a_line_above_black():
    silent = tile(np.zeros(300))
    assert (silent[WAVEFORM_HEIGHT:] == 0).all()
    inked = (silent[:WAVEFORM_HEIGHT] == 0).sum(axis=0)
    assert (inked == 1).all()


def test_the_waveform_reaches_from_the_least_to_the_largest_sample():
    waveform = np.zeros(1600)
    waveform[800:] = 0.98
    drawn = tile(waveform)[:WAVEFORM_HEIGHT] == 0
    assert drawn[0, TILE_WIDTH // 2 + 1 :].all()
    assert not drawn[0, : TILE_WIDTH // 2 - 1].any()
    # The jump is one unbroken stroke.
    assert drawn[: WAVEFORM_HEIGHT // 2, TILE_WIDTH // 2 - 1].all()


@pytest.mark.parametrize("length", [1, 2, 5, 100, 5000])
def test_sounds_of_any_length_have_a_picture(length):
    assert tile(np.linspace(-1, 1, length)).shape == (WAVEFORM_HEIGHT + SPECTROGRAM_HEIGHT, TILE_WIDTH)


INFO = DatasetInfo(
    "sounds", (1, 64, 1), 256, {}, 0, "made", kind="audio", encoding="mu-law", sample_rate=RATE
)  # fmt: skip


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_final_run_shows_held_out_sounds_and_the_samples_that_people_hear():
    sounds = np.random.RandomState(1).randint(0, 256, (30, 1, 64, 1)).astype(np.uint8)
    samples = np.random.RandomState(0).randint(0, 256, (30, 1, 64, 1))
    data, whole = sound_pictures(INFO, sounds, "test", samples)
    assert (data.kind, whole.kind) == ("data", "samples")
    assert data.caption == "16 test windows, drawn at random: 0.008 s as waveform and as spectrogram from 0 to 4,000 Hz"
    assert "crossed out" not in whole.caption
    expected = image_grid(sound_tiles(samples[:16].reshape(16, 64), "mu-law"), 256, 4)
    assert np.array_equal(pixels_of(whole.png), pixels_of(expected))
    samples[:2, 0, 3] = -1
    data, lost = sound_pictures(INFO, sounds, "test", samples)
    assert lost.caption.endswith("Hz; 2 are crossed out, with values that are not finite")
    assert pixels_of(data.png).shape == pixels_of(lost.png).shape[:2]
    assert pixels_of(lost.png).ndim == 3  # the crosses are red
