"""Makes small recordings, of any form that a WAV file can have."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def tone(seconds: float, rate: int = 8000, hertz: float = 440.0, loudness: float = 0.5) -> np.ndarray:
    """A synthetic tone (n,)."""
    return loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def samples(waveform: np.ndarray, width: int, is_float: bool = False) -> bytes:
    """Amplitudes (n,) or (n, channels) as a WAV file holds them."""
    if is_float:
        return waveform.astype(f"<f{width}").tobytes()
    if width == 1:
        return np.rint(waveform * 128 + 128).clip(0, 255).astype(np.uint8).tobytes()
    whole = np.rint(waveform * 2 ** (8 * width - 1)).clip(-(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)
    if width == 3:
        return whole.astype("<i4").reshape(-1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{width}").tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def form(code: int, channels: int, rate: int, width: int, bits: int | None = None) -> bytes:
    frame = channels * width
    return struct.pack("<HHIIHH", code, channels, rate, rate * frame % 2**32, frame, bits or 8 * width)


def wav(
    waveform: np.ndarray, rate: int = 8000, width: int = 2, is_float: bool = False, extensible: bool = False
) -> bytes:
    """A WAV file of amplitudes (n,) or (n, channels)."""
    channels = 1 if waveform.ndim == 1 else waveform.shape[1]
    code = 3 if is_float else 1
    head = form(0xFFFE if extensible else code, channels, rate, width)
    if extensible:
        head += struct.pack("<HHIH", 22, 8 * width, 0, code) + bytes.fromhex("000000001000800000aa00389b71")
    chunks = chunk(b"fmt ", head) + chunk(b"data", samples(waveform, width, is_float))
    return riff(chunks)


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def save(path: Path, waveform: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(waveform, **options))
