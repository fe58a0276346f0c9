"""Reads untrusted recordings: header first, within limits, in blocks, as amplitudes of one channel.

WAV files of 8, 16, 24 or 32 bits, whole or floating-point numbers, are read here, as Python's ``wave`` knows neither
floating point nor, before version 3.12, the extensible header that most files of 24 bits have. FLAC files are read by
the library soundfile, if it is installed (``pip install 'reparam-bench[audio]'``).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data.preparation import LEAST_RATE, MOST_RATE

MOST_CHANNELS = 64
MOST_AMPLITUDE = 2.0
"""Largest one that is clipped: mixing and filtering exceed 1 a little, and larger ones are of another scale."""
_BLOCK_FRAMES = 2**18
_MOST_CHUNKS = 1000
"""A file with more chunks before its sound is rejected."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_TO_THE_END = 0xFFFFFFFF
"""The length of sound that a program wrote before it knew it."""
_ACCEPTED = "WAV files of 8, 16, 24 or 32 bits or of floating-point numbers, and FLAC files, are accepted"
_NAMES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM", 85: "MP3"}
"""Common codes of compressed sound."""


class Header(NamedTuple):
    """What a recording says of itself: frames (samples of each channel), frames a second, and channels."""

    frames: int
    rate: int
    channels: int


class _Wav(NamedTuple):
    header: Header
    is_float: bool
    width: int
    """Bytes of a sample."""
    start: int
    """Where the sound begins in the file."""


def inspect(file: Path) -> Header:
    """The header of a recording.

    Raises:
        DataError: it is not a recording of an accepted form, or is cut short.
    """
    return _inspect_flac(file) if _is_flac(file) else _inspect_wav(file).header


def read(file: Path) -> tuple[npt.NDArray[np.float64], int]:
    """The amplitudes in [-1, 1] of a recording (frames,), the mean over its channels, and its samples a second.

    Floating-point numbers that are a little beyond are clipped.

    Raises:
        DataError: as for :func:`inspect`, or an amplitude is no number, or far beyond.
    """
    header = inspect(file)
    waveform, end = np.empty(header.frames), 0
    for block in _flac_blocks(file) if _is_flac(file) else _wav_blocks(file):
        # What is no number, or becomes none, is refused.
        with np.errstate(invalid="ignore", over="ignore"):
            mono = block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise DataError(f"{file} holds an amplitude that is no number; numbers from -1 to 1 are accepted.")
        if (largest := float(np.abs(mono).max(initial=0))) > MOST_AMPLITUDE:
            raise DataError(
                f"{file} holds an amplitude of {largest:,.6g}; numbers from -1 to 1 are accepted: divide by the "
                "largest, which is 32,768 for whole numbers of 16 bits."
            )
        waveform[end : end + len(mono)] = mono[: header.frames - end].clip(-1, 1)
        end += len(mono)
    if end != header.frames:
        raise DataError(f"{file} says that it holds {header.frames:,} samples, and holds {end:,}: it is cut short.")
    return waveform, header.rate


def _is_flac(file: Path) -> bool:
    return file.suffix.lower() == ".flac"


def _check(header: Header, file: Path) -> Header:
    if not 1 <= header.channels <= MOST_CHANNELS:
        raise DataError(f"{file} has {header.channels} channels; 1 to {MOST_CHANNELS} are accepted.")
    if not LEAST_RATE <= header.rate <= MOST_RATE:
        raise DataError(f"{file} has {header.rate:,} samples a second; {LEAST_RATE:,} to {MOST_RATE:,} are accepted.")
    return header


def _inspect_wav(file: Path) -> _Wav:
    try:
        with file.open("rb") as stream:
            return _parse(stream, file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. {_ACCEPTED}.") from error
    except struct.error as error:
        raise DataError(f"{file} ends within its header, before any sound. {_ACCEPTED}.") from error


def _parse(stream: IO[bytes], file: Path) -> _Wav:
    """Read the chunks before the sound; a file that ends among them is a struct.error."""
    size = file.stat().st_size
    beginning = stream.read(12)
    if not size:
        raise DataError(f"{file} is empty. {_ACCEPTED}.")
    if beginning[:4] != b"RIFF"[: len(beginning)] or beginning[8:] != b"WAVE"[: max(0, len(beginning) - 8)]:
        flac = ": it is FLAC, so call it .flac" if beginning.startswith(b"fLaC") else ""
        raise DataError(f"{file} is no WAV file, as its first bytes {beginning!r} say{flac}. {_ACCEPTED}.")
    form = None
    for _ in range(_MOST_CHUNKS):
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            if form is None:
                raise DataError(f"{file} does not say what its sound consists of before it begins. {_ACCEPTED}.")
            start = stream.tell()
            return _describe(form, length, start, size, file, length > 0 or _are_chunks(stream, size))
        if name == b"fmt ":
            form = stream.read(min(length, 40))
            # Extra bytes, and one that fills an odd length.
            stream.seek(max(0, length - 40) + length % 2, 1)
        else:
            stream.seek(length + length % 2, 1)
    raise DataError(f"{file} holds no sound among its first {_MOST_CHUNKS} chunks. {_ACCEPTED}.")


def _are_chunks(stream: IO[bytes], size: int) -> bool:
    """Whether the rest of a file consists of chunks."""
    while (place := stream.tell()) + 8 <= size:
        name, length = struct.unpack("<4sI", stream.read(8))
        if not all(32 <= byte < 127 for byte in name) or place + 8 + length > size:
            return False
        stream.seek(length + length % 2, 1)
    return True


def _describe(form: bytes, length: int, start: int, size: int, file: Path, follows: bool) -> _Wav:
    code, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if code == _EXTENSIBLE:
        (code,) = struct.unpack("<H", form[24:26])
    widths = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}.get(code)
    if widths is None:
        raise DataError(
            f"{file} holds sound of the code {code}{f' ({_NAMES[code]})' if code in _NAMES else ''}. {_ACCEPTED}: "
            f"ffmpeg -i FILE -c:a pcm_s16le my.wav makes one."
        )
    header = _check(Header(0, rate, channels), file)
    width, rest = divmod(frame, channels)
    if rest or width not in widths or bits > 8 * width:
        raise DataError(f"{file} has {bits} bits a sample in {frame} bytes of {channels} channels. {_ACCEPTED}.")
    held = size - start
    if not length and held and not follows:
        raise DataError(
            f"{file} says that it holds no samples, and {held:,} bytes follow, as where a recorder was not closed: "
            "ffmpeg -i FILE my.wav may repair it."
        )
    if length == _TO_THE_END:
        length = held
    if length > held:
        raise DataError(
            f"{file} says that it holds {length // frame:,} samples, and holds {held // frame:,}: it is cut short."
        )
    return _Wav(header._replace(frames=length // frame), code == _FLOAT, width, start)


def _wav_blocks(file: Path) -> Iterator[npt.NDArray[np.float64]]:
    """Amplitudes (frames, channels), a few at a time."""
    wav = _inspect_wav(file)
    frames, _, channels = wav.header
    with file.open("rb") as stream:
        stream.seek(wav.start)
        for start in range(0, frames, _BLOCK_FRAMES):
            values = min(_BLOCK_FRAMES, frames - start) * channels
            content = stream.read(values * wav.width)
            yield _amplitudes(content[: len(content) // (channels * wav.width) * channels * wav.width], wav).reshape(
                -1, channels
            )


def _amplitudes(content: bytes, wav: _Wav) -> npt.NDArray[np.float64]:
    if wav.is_float:
        with np.errstate(invalid="ignore"):  # Of what is no number.
            return np.frombuffer(content, f"<f{wav.width}").astype(np.float64)
    if wav.width == 1:
        # The only ones without a sign.
        return (np.frombuffer(content, np.uint8).astype(np.float64) - 128) / 128
    if wav.width == 3:
        # As the upper bytes of 32 bits.
        padded = np.zeros((len(content) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        content = padded.tobytes()
    width = 4 if wav.width == 3 else wav.width
    whole: npt.NDArray[np.float64] = np.frombuffer(content, f"<i{width}").astype(np.float64)
    return whole / float(2 ** (8 * width - 1))


def _soundfile(file: Path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError where the C library is missing.
        raise DataError(
            f"{file} cannot be read, as FLAC needs the library soundfile ({error}): pip install -e '.[audio]', or "
            "ffmpeg -i FILE my.wav makes a recording that is read without it"
        ) from error
    return soundfile


def _inspect_flac(file: Path) -> Header:
    soundfile = _soundfile(file)
    try:
        found = soundfile.info(os.fsencode(file))
    except soundfile.SoundFileError as error:
        raise DataError(f"{file} cannot be read as FLAC: {error}. {_ACCEPTED}.") from error
    if found.format != "FLAC":
        raise DataError(f"{file} is no FLAC file, but one of {found.format}. {_ACCEPTED}.")
    return _check(Header(found.frames, found.samplerate, found.channels), file)


def _flac_blocks(file: Path) -> Iterator[npt.NDArray[np.float64]]:
    soundfile = _soundfile(file)
    try:
        yield from soundfile.blocks(os.fsencode(file), _BLOCK_FRAMES, always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{file} cannot be read as FLAC: {error}. {_ACCEPTED}.") from error
