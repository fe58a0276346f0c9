"""The user's own recordings: a ``.wav`` or ``.flac`` file, or a folder of them, cut into windows of samples.

Channels are averaged. Recordings of several rates are brought to one, the lowest among them or ``--sample-rate``, by
SciPy's polyphase filter, in double precision, so that their levels are the same on every machine. Amplitudes become
256 levels, by mu-law or linearly (:mod:`bench.core.sequences`). Each file is cut by itself, and its last samples are
left out where they fill no window.

Sub-folders are classes, as of images, or with ``--speakers`` the speakers. No file, or no speaker, is in two splits;
one file or two are split by position (:mod:`bench.data.windows`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.counted import counted
from bench.core.errors import DataError
from bench.core.sequences import LEVELS, encode_waveform
from bench.data import alignment, recording
from bench.data.dataset import Dataset, DatasetInfo, Images, Split
from bench.data.folder_layout import RECORDINGS, Part, list_by_owner, list_parts, valid_text
from bench.data.preparation import AS_STORED, Preparation, SoundEncoding
from bench.data.splitting import ALL, SPLITS, Selection, missing_splits
from bench.data.validation import assemble, check_memory, short_name
from bench.data.windows import by_group, by_position, check_enough

DEFAULT_WINDOW = 256
DEFAULT_ENCODING: SoundEncoding = "mu-law"
_MOST_RATES = 6
"""Largest number of rates that are named."""
_BYTES_PER_SAMPLE = 3 * np.dtype(np.float64).itemsize
"""Memory that reading a file takes, per sample: its waveform, and that of another rate."""
_BLOCK_SAMPLES = 2**20


class _Plan(NamedTuple):
    """What is made of recordings, as far as their headers say."""

    info: DatasetInfo
    windows: dict[str, list[int]]
    """Windows of each file, by part."""
    splits: dict[str, Selection]
    """Windows of each split, counted over the files of a part."""


def describe(path: Path, preparation: Preparation = AS_STORED) -> DatasetInfo:
    """The metadata of recordings, from their headers.

    Args:
        path: a file, or a folder of them.
        preparation: how they are read.

    Raises:
        DataError: one is unreadable, or cut short; there are too few or too short ones, or they would fill the memory.
    """
    return describe_recordings(*_own(path, preparation.speakers), preparation, str(path))


def load(path: Path, preparation: Preparation = AS_STORED) -> Dataset:
    """Load recordings, in windows (n, 1, window, 1) in three splits, with labels if sub-folders are classes.

    Args:
        path: as for :func:`describe`.
        preparation: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`, or an amplitude is no number.
    """
    return load_recordings(*_own(path, preparation.speakers), preparation, str(path))


def describe_recordings(
    name: str, source: str, parts: Mapping[str, Part], preparation: Preparation, where: str
) -> DatasetInfo:
    """The metadata of recordings; see :func:`load_recordings`."""
    return _plan(name, source, parts, preparation, where).info


def load_recordings(name: str, source: str, parts: Mapping[str, Part], preparation: Preparation, where: str) -> Dataset:
    """A data set of recordings.

    Args:
        name: its name.
        source: where they come from.
        parts: the files of each part that the source gives.
        preparation: how they are read.
        where: the source in errors.

    Raises:
        DataError: as for :func:`load`.
    """
    info, windows, selections = _plan(name, source, parts, preparation, where)
    images = {split: alignment.empty((info.sizes[split], *info.image_shape), np.dtype(np.uint8)) for split in SPLITS}
    for part, counts in windows.items():
        places = {split: _places(selections[split], sum(counts)) for split in SPLITS if selections[split].part == part}
        start = 0
        for file, count in zip(parts[part].files, counts, strict=True):
            found = _read_windows(file, info, count)
            for split, place in places.items():
                rows = place[start : start + count]
                images[split][rows[rows >= 0], 0, :, 0] = found[rows >= 0]
            start += count
    splits = {}
    for split, (part, chosen) in selections.items():
        labels = parts[part].labels if info.classes else None
        splits[split] = Split(images[split], None if labels is None else np.repeat(labels, windows[part])[chosen])
    return assemble(info, splits, where)


def _own(path: Path, speakers: bool) -> tuple[str, str, dict[str, Part]]:
    """Name, source and files of the user's own recordings, whose classes may be speakers."""
    whole = path.resolve()
    if path.is_dir():
        name, kind, parts = whole.name, "folder", (list_by_owner if speakers else list_parts)(path, RECORDINGS)
    else:
        name, kind, parts = whole.stem, "file", {ALL: Part([path], None, ())}
    return short_name(name), f"the user's own {kind} {valid_text(whole.name)}", parts


def _plan(name: str, source: str, parts: Mapping[str, Part], preparation: Preparation, where: str) -> _Plan:
    preparation.check_kind("audio", where)
    window, encoding = preparation.window or DEFAULT_WINDOW, preparation.sound_encoding or DEFAULT_ENCODING
    headers = {part: [recording.inspect(file) for file in found.files] for part, found in parts.items()}
    flat = [header for found in headers.values() for header in found]
    rates = sorted({header.rate for header in flat})
    rate = preparation.sample_rate or rates[0]
    lengths = {part: [_length(header, rate) for header in found] for part, found in headers.items()}
    total = sum(map(sum, lengths.values()))
    longest = max(max(header.frames, _length(header, rate)) for header in flat)
    check_memory(total + _BYTES_PER_SAMPLE * longest, where, "Give fewer recordings, or cut them into shorter files.")
    windows = {part: [length // window for length in found] for part, found in lengths.items()}
    counts = {part: sum(found) for part, found in windows.items()}
    check_enough(counts, window, where, "samples")
    splits, way = _split(parts, windows, preparation.speakers, where)
    class_names = next((found.class_names for found in parts.values() if found.class_names), ())
    if preparation.speakers or any(found.labels is None for part, found in parts.items() if part != "test"):
        # The network that scores samples learns classes of train and validation.
        class_names = ()
    missing = missing_splits(counts)
    sentences = [
        f"{source}; {counted(len(flat), 'recording')} at {_rates(rates, rate)}, {encoding} to {LEVELS} levels, in "
        f"windows of {window} samples{_split_off(missing, way)}"
    ]
    if short := sum(count == 0 for found in windows.values() for count in found):
        sentences.append(f"{short:,} of the recordings {'is' if short == 1 else 'are'} shorter than a window")
    if left := total - window * sum(counts.values()):
        sentences.append(f"what fills no window ({left:,} samples in all) is left out")
    info = DatasetInfo(
        name=name,
        image_shape=(1, window, 1),
        grey_levels=LEVELS,
        sizes={split: _size(chosen, counts[part]) for split, (part, chosen) in splits.items()},
        classes=len(class_names),
        source="; ".join(sentences) + ".",
        class_names=class_names,
        split_off=missing,
        kind="audio",
        encoding=encoding,
        sample_rate=rate,
    )
    return _Plan(info, windows, splits)


def _split(
    parts: Mapping[str, Part], windows: Mapping[str, list[int]], speakers: bool, where: str
) -> tuple[dict[str, Selection], str]:
    """The windows of each split, and how they were split off."""
    pool = ALL if ALL in parts else "train"
    if speakers:
        labels = {part: found.labels for part, found in parts.items() if found.labels is not None}
        if pool not in labels:
            raise DataError(f"{where}: --speakers takes a folder with a sub-folder for each speaker.")
        for one, other in combinations(labels, 2):
            if both := np.intersect1d(labels[one], labels[other]).tolist():
                name = parts[one].class_names[both[0]]
                raise DataError(f"{where}: the speaker {name} is in {one} and in {other}; in one of them is accepted.")
        return by_group(windows, labels[pool], where, "speakers"), "speaker"
    if sum(count > 0 for count in windows[pool]) < len({"train", *missing_splits(windows)}):
        return by_position({part: sum(found) for part, found in windows.items()}, where), "position"
    return by_group(windows, range(len(windows[pool])), where, "files"), "file"


def _places(selection: Selection, count: int) -> npt.NDArray[np.intp]:
    """The place of each window of a part in a split (count,); -1 of those that are not in it."""
    places = np.full(count, -1, np.intp)
    chosen = np.arange(count)[selection.indices]
    places[chosen] = np.arange(len(chosen))
    return places


def _read_windows(file: Path, info: DatasetInfo, count: int) -> Images:
    """The levels of the windows of a recording (count, window)."""
    window = info.image_shape[1]
    if not count:
        return np.empty((0, window), np.uint8)
    waveform, rate = recording.read(file)
    ratio = Fraction(info.sample_rate or rate, rate)
    if ratio != 1:
        from scipy.signal import resample_poly

        waveform = resample_poly(waveform, ratio.numerator, ratio.denominator)
    if len(waveform) // window != count:
        raise DataError(f"{file} is now of another length; it has changed while it was read.")
    levels = np.empty(count * window, np.uint8)
    # In blocks, as what makes levels of a waveform takes several times its memory.
    for start in range(0, len(levels), _BLOCK_SAMPLES):
        block = slice(start, min(start + _BLOCK_SAMPLES, len(levels)))
        levels[block] = encode_waveform(waveform[block], info.encoding)
    return levels.reshape(count, window)


def _length(header: recording.Header, rate: int) -> int:
    """Samples of a recording at a rate."""
    return math.ceil(header.frames * Fraction(rate, header.rate))


def _size(chosen: slice | npt.NDArray[np.intp], count: int) -> int:
    return len(range(count)[chosen]) if isinstance(chosen, slice) else len(chosen)


def _split_off(missing: Sequence[str], way: str) -> str:
    if not missing:
        return ""
    return f", {'' if 'train' in missing else ' and '.join(missing) + ' '}split off by {way}"


def _rates(rates: Sequence[int], rate: int) -> str:
    if rates == [rate]:
        return f"{rate:,} Hz"
    shown = ", ".join(f"{each:,}" for each in rates[:_MOST_RATES]) + ", …" * (len(rates) > _MOST_RATES)
    return f"{shown} Hz, resampled to {rate:,} Hz"
