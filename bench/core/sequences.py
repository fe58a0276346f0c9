"""Text and sound as integers: their units, the levels of a waveform, and the way back to text and to a waveform.

A sequence is an image of height 1: symbol ``i`` of an alphabet, or level ``i`` of a waveform, is the integer ``i``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["image", "text", "audio"]
Encoding = Literal["", "characters", "bytes", "mu-law", "linear"]
"""What an integer of text is, a character or a byte, and how those of sound stand for amplitudes; empty of images."""
Levels = npt.NDArray[np.integer]
Waveform = npt.NDArray[np.floating]
LEVELS = 256
"""Levels of an encoded waveform, and values of a byte."""
UNKNOWN = "\ufffd"
"""The symbol of characters that are not in an alphabet, and of what is no symbol (U+FFFD)."""
BITS_PER_DIM = "bits/dim"
"""The unit of images, which have no encoding."""
_UNITS = {"characters": "bits/character", "bytes": "bits/byte", "mu-law": "bits/sample", "linear": "bits/sample"}
_MU = LEVELS - 1


def unit_of(encoding: str) -> str:
    """The unit of a likelihood per integer, by the encoding of the data; bits/dim of images, which have none."""
    return _UNITS.get(encoding, BITS_PER_DIM)


def mu_law_encode(waveform: Waveform) -> Levels:
    """Levels 0..255 of amplitudes in [-1, 1], closer together near 0; any others are clipped.

    F(x) = sgn(x) ln(1 + μ|x|) / ln(1 + μ) with μ = 255, the continuous form of ITU-T G.711's companding law, of which
    [-1, 1] is rounded to 256 levels, as in WaveNet (van den Oord et al. 2016, eq. 3). An amplitude of 0 is level 128.
    """
    clipped = np.clip(waveform, -1, 1)
    companded = np.sign(clipped) * np.log1p(_MU * np.abs(clipped)) / np.log1p(_MU)
    levels: Levels = np.floor((companded + 1) / 2 * _MU + 0.5).astype(np.uint8)
    return levels


def mu_law_decode(levels: Levels) -> Waveform:
    """The amplitudes in [-1, 1] of mu-law levels: F⁻¹(y) = sgn(y) ((1 + μ)^|y| - 1) / μ."""
    companded = 2 * np.asarray(levels, np.float64) / _MU - 1
    return np.asarray(np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(_MU)) / _MU)


def encode_waveform(waveform: Waveform, encoding: str) -> Levels:
    """Levels 0..255 of amplitudes in [-1, 1]; any others are clipped.

    Args:
        waveform: amplitudes of any shape.
        encoding: ``mu-law``, or ``linear``: those of a WAV file of 8 bits, x = (level - 128) / 128.
    """
    if encoding == "mu-law":
        return mu_law_encode(waveform)
    return np.clip(np.floor(np.asarray(waveform, np.float64) * 128 + 128.5), 0, LEVELS - 1).astype(np.uint8)


def decode_waveform(levels: Levels, encoding: str) -> Waveform:
    """The amplitudes in [-1, 1] of levels; of one below 0, by which models say that a value is no number, 0."""
    found = mu_law_decode(levels) if encoding == "mu-law" else (np.asarray(levels, np.float64) - 128) / 128
    return np.where(np.asarray(levels) < 0, 0.0, found)


def to_wav(levels: Levels, encoding: str, sample_rate: int) -> bytes:
    """A WAV file (PCM of 16 bits, mono) of the levels (n,) of a sound, for players."""
    samples = np.rint(decode_waveform(levels, encoding) * (2**15 - 1)).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def to_text(levels: Levels, symbols: Sequence[str] = ()) -> str:
    """The text of the integers (n,) of a sequence; what is no symbol, or no UTF-8, is U+FFFD.

    Args:
        levels: the integers; below 0 where a model says that a value is no number.
        symbols: the alphabet; without one, integers are the bytes of UTF-8.
    """
    found: list[Any] = np.asarray(levels).reshape(-1).tolist()
    if not symbols:
        # No byte of UTF-8 is 255.
        return bytes(each if 0 <= each < LEVELS else LEVELS - 1 for each in found).decode("utf-8", "replace")
    return "".join(symbols[each] if 0 <= each < len(symbols) else UNKNOWN for each in found)
