"""Pictures of sounds: each one's waveform above its spectrogram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.core.sequences import decode_waveform
from bench.data.choice import fixed_choice
from bench.data.dataset import DatasetInfo, Images
from bench.evaluation.broken_samples import broken
from bench.evaluation.image_grid import Picture, image_grid

SOUNDS = 16
"""Sounds in a picture."""
COLUMNS = 4
TILE_WIDTH = 160
WAVEFORM_HEIGHT = 32
SPECTROGRAM_HEIGHT = 48
LONGEST_WINDOW = 256
"""Samples of a spectrogram's window at most, and a quarter of the sound's at most."""
DECIBELS = 80.0
"""How far below a sine of amplitude 1 a spectrogram is black."""
_WHITE = 255

Tiles = npt.NDArray[np.int64]


def sound_pictures(info: DatasetInfo, sounds: Images, split: str, samples: Images) -> list[Picture]:
    """What a final run shows: held-out sounds and the first samples, those that people hear.

    Args:
        info: the data.
        sounds: held-out windows (n, 1, length, 1).
        split: their name.
        samples: samples of the model, -1 where a value is not finite.
    """
    chosen, drawn = fixed_choice(sounds, SOUNDS), samples[:SOUNDS]
    caption = f"{len(drawn)} samples at temperature 1, not selected: {_axes(info)}"
    if lost := int(broken(drawn, info.grey_levels).sum()):
        caption += f"; {lost} {'is' if lost == 1 else 'are'} crossed out, with values that are not finite"
    return [
        Picture("data", f"{len(chosen)} {split} windows, drawn at random: {_axes(info)}", _grid(info, chosen)),
        Picture("samples", caption, _grid(info, drawn)),
    ]


def sound_tiles(levels: npt.NDArray[np.integer], encoding: str) -> Tiles:
    """A picture (n, height, width, 1) in 0..255 of each sound (n, length): its waveform above its spectrogram.

    A column of the waveform reaches from the least to the largest of its samples; the spectrogram has the squared
    magnitudes of short Fourier transforms under Hann windows, in decibels, frequency 0 at the bottom.
    """
    waveforms = decode_waveform(levels, encoding)
    return np.concatenate([_drawn(waveforms), _spectrograms(waveforms)], axis=1)[..., None]


def _drawn(waveforms: npt.NDArray[np.floating]) -> Tiles:
    """(n, WAVEFORM_HEIGHT, TILE_WIDTH), black on white."""
    length = waveforms.shape[1]
    starts = np.arange(TILE_WIDTH) * length // TILE_WIDTH
    # A column reaches to the next one's first sample, or the line would have gaps.
    ends = np.minimum(np.maximum(starts + 1, np.append(starts[1:], length) + 1), length)
    lowest, highest = (
        np.stack([pick(waveforms[:, a:b], axis=1) for a, b in zip(starts, ends, strict=True)], axis=1)
        for pick in (np.min, np.max)
    )
    # Amplitude 1 is the first row, -1 the last.
    top, bottom = (np.rint((1 - each) / 2 * (WAVEFORM_HEIGHT - 1)) for each in (highest, lowest))
    row = np.arange(WAVEFORM_HEIGHT)[:, None]
    inked = (row >= top[:, None]) & (row <= bottom[:, None])
    pixels: Tiles = np.where(inked, 0, _WHITE)
    return pixels


def _spectrograms(waveforms: npt.NDArray[np.floating]) -> Tiles:
    """(n, SPECTROGRAM_HEIGHT, TILE_WIDTH), the louder the brighter."""
    length = waveforms.shape[1]
    size = max(2, min(LONGEST_WINDOW, 2 ** int(np.log2(max(2, length // 4)))))
    padded = np.pad(waveforms, ((0, 0), (0, max(0, size - length))))
    starts = np.linspace(0, padded.shape[1] - size, TILE_WIDTH).astype(np.intp)
    window = np.hanning(size + 2)[1:-1]
    frames = padded[:, starts[:, None] + np.arange(size)] * window
    # A sine of amplitude 1 peaks at half the window's sum.
    loudness = np.abs(np.fft.rfft(frames, axis=-1)) / (window.sum() / 2)
    decibels = 20 * np.log10(np.maximum(loudness, 10 ** (-DECIBELS / 20)))
    # A row shows the loudest of its bands.
    lowest = np.arange(SPECTROGRAM_HEIGHT) * decibels.shape[-1] // SPECTROGRAM_HEIGHT
    rows = np.maximum.reduceat(decibels, lowest, axis=-1)[..., ::-1].swapaxes(1, 2)
    pixels: Tiles = np.rint(np.clip(1 + rows / DECIBELS, 0, 1) * _WHITE).astype(np.int64)
    return pixels


def _axes(info: DatasetInfo) -> str:
    if not info.sample_rate:
        return "waveform and spectrogram"
    seconds = info.image_shape[1] / info.sample_rate
    return f"{seconds:.3g} s as waveform and as spectrogram from 0 to {info.sample_rate / 2:,.0f} Hz"


def _grid(info: DatasetInfo, sounds: Images) -> bytes:
    lost = broken(sounds, info.grey_levels)
    tiles = sound_tiles(sounds.reshape(len(sounds), -1), info.encoding)
    return image_grid(np.where(lost[:, None, None, None], -1, tiles), _WHITE + 1, COLUMNS)
