"""The user's own text: a file, or a folder of ``.txt`` files, cut into windows of symbols.

Symbols are characters of UTF-8, or bytes. The alphabet of characters is what occurs in the training part, by code
point. Where validation or test hold others, one more symbol, U+FFFD, stands for all of these, as ``<unk>`` does for
words outside a vocabulary (Jurafsky and Martin, Speech and Language Processing, ch. 3): training never saw them, and
their likelihood must be finite. Bytes have all 256 values, and none is unknown.

Each file is cut by itself, so that no window holds parts of two, and its last symbols are left out where they fill no
window. Splits are made by position, as :mod:`bench.data.windows` says, unless the folder holds them. Nothing is
normalised: line ends, spaces and capitals are symbols.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.core.sequences import LEVELS, UNKNOWN
from bench.data import alignment
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.folder_layout import list_texts, valid_text
from bench.data.preparation import AS_STORED, Preparation
from bench.data.splitting import ALL, missing_splits
from bench.data.validation import assemble, check_memory, pixel_dtype, short_name
from bench.data.windows import by_position, check_enough

DEFAULT_WINDOW = 64
MOST_SYMBOLS = 400
"""Largest alphabet, which must fit into a tag of MLflow's; bytes take any text."""
_CODES = 0x110000
"""Code points of Unicode."""
_BYTES_PER_BYTE = 12
"""Memory that reading takes, per byte of a file: its bytes, its text, and its code points twice."""
Codes = npt.NDArray[np.unsignedinteger[Any]]
"""Code points or bytes (n,)."""


def describe(path: Path, preparation: Preparation = AS_STORED) -> DatasetInfo:
    """The metadata of a text, all of which is read: its alphabet is not known before.

    Args:
        path: a file, or a folder of ``.txt`` files.
        preparation: how it is read.

    Raises:
        DataError: it is unreadable, no UTF-8, too short, or has too small or too large an alphabet.
    """
    return load(path, preparation).info


def load(path: Path, preparation: Preparation = AS_STORED) -> Dataset:
    """Load a text, in windows (n, 1, window, 1) in three splits.

    Args:
        path: as for :func:`describe`.
        preparation: as for :func:`describe`.

    Raises:
        DataError: as for :func:`describe`.
    """
    preparation.check_kind("text", str(path))
    files = list_texts(path) if path.is_dir() else {ALL: [path]}
    _check_size([file for found in files.values() for file in found], path)
    in_bytes = preparation.text_unit == "bytes"
    parts = {part: [_read(file, in_bytes) for file in found] for part, found in files.items()}
    whole = path.resolve()
    source = f"the user's own {'folder' if path.is_dir() else 'file'} {valid_text(whole.name)}"
    name = short_name(whole.name if path.is_dir() else whole.stem)
    return cut_text(name, source, parts, preparation, str(path))


def read_bytes(file: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. A readable file of text is accepted.") from error


def decode(content: bytes, where: str) -> str:
    """The text of UTF-8, without a mark at its beginning.

    Raises:
        DataError: it is none, or a binary; the message says from which byte on.
    """
    as_bytes = "--text-unit bytes takes any file as it is"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{where} is UTF-16, by its first two bytes: save it as UTF-8, or {as_bytes}.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is no UTF-8: byte {error.start:,} is 0x{content[error.start]:02x} ({error.reason}). Save it as "
            f"UTF-8, or {as_bytes}."
        ) from error
    if (place := content.find(0)) >= 0:
        raise DataError(f"{where} is no text: byte {place:,} is 0. Text is accepted, or {as_bytes}.")
    return text.removeprefix("\ufeff")


def to_codes(text: str) -> Codes:
    """The code points of a text (n,)."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def cut_text(
    name: str, source: str, parts: Mapping[str, Sequence[Codes]], preparation: Preparation, where: str
) -> Dataset:
    """A data set of texts.

    Args:
        name: its name.
        source: where they come from.
        parts: the texts of each part that the source gives, as code points or, of 8 bits, bytes.
        preparation: how they are read.
        where: the source in errors.

    Raises:
        DataError: there is too little text, or its alphabet is too small or too large.
    """
    preparation.check_kind("text", where)
    window = preparation.window or DEFAULT_WINDOW
    in_bytes = preparation.text_unit == "bytes"
    noun = "bytes" if in_bytes else "characters"
    windows = {part: [len(text) // window for text in texts] for part, texts in parts.items()}
    length = sum(len(text) for texts in parts.values() for text in texts)
    if not length:
        raise DataError(f"{where} is empty; text is accepted.")
    counts = {part: sum(found) for part, found in windows.items()}
    check_enough(counts, window, where, noun)
    cut = {
        part: np.concatenate(
            [text[: n * window].reshape(n, window) for text, n in zip(texts, windows[part], strict=True)]
        )
        for part, texts in parts.items()
    }
    splits = {split: cut[part][chosen] for split, (part, chosen) in by_position(counts, where).items()}
    if in_bytes:
        symbols, levels, said = _all_bytes(splits, where)
    else:
        symbols, levels, said = _alphabet(splits, preparation.symbols, where)
    grey_levels = len(symbols) or LEVELS
    info = DatasetInfo(
        name=name,
        image_shape=(1, window, 1),
        grey_levels=grey_levels,
        sizes={split: len(found) for split, found in splits.items()},
        classes=0,
        source=f"{source}, {said}, in windows of {window} {noun}{_by(parts)}"
        f"{_left(length - sum(counts.values()) * window)}.",
        split_off=missing_splits(counts),
        kind="text",
        encoding="bytes" if in_bytes else "characters",
        symbols=tuple(symbols),
    )
    table, images = levels.astype(pixel_dtype(grey_levels)), {}
    for split, found in splits.items():
        images[split] = alignment.empty((len(found), *info.image_shape), table.dtype)
        images[split][:, 0, :, 0] = table[found]
    return assemble(info, {split: Split(found) for split, found in images.items()}, where)


def _check_size(files: Sequence[Path], path: Path) -> None:
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Readable files of text are accepted.") from error
    check_memory(_BYTES_PER_BYTE * size, str(path), "Give less text.")


def _read(file: Path, in_bytes: bool) -> Codes:
    content = read_bytes(file)
    return np.frombuffer(content, np.uint8) if in_bytes else to_codes(decode(content, str(file)))


def _all_bytes(splits: Mapping[str, Codes], where: str) -> tuple[str, npt.NDArray[np.integer], str]:
    """No alphabet, the level of each byte, and what is to be said of them."""
    _check_several(np.flatnonzero(_occurring(splits["train"], LEVELS)), where, "bytes")
    return "", np.arange(LEVELS), "as bytes"


def _alphabet(
    splits: Mapping[str, Codes], given: tuple[str, ...] | None, where: str
) -> tuple[str, npt.NDArray[np.integer], str]:
    """The alphabet, the level of each code point, and what is to be said of them."""
    known = _occurring(splits["train"] if given is None else to_codes("".join(given)), _CODES)
    codes = np.flatnonzero(known)
    if given is None:
        _check_several(codes, where, "characters")
    unknown = {split: int(np.count_nonzero(~known[found])) for split, found in splits.items()}
    symbols = "".join(given) if given is not None else "".join(map(chr, codes))
    if any(unknown.values()) and UNKNOWN not in symbols:
        if given is not None:
            strange = next(found[~known[found]][0] for split, found in splits.items() if unknown[split])
            raise DataError(
                f"{where} holds {chr(strange)!r}, which is not in the alphabet of the data that it is compared with; "
                "text of the same characters is accepted, or --text-unit bytes for both."
            )
        symbols += UNKNOWN
    if len(symbols) > MOST_SYMBOLS:
        raise DataError(
            f"{where} holds {len(symbols):,} different characters; up to {MOST_SYMBOLS} are accepted: --text-unit "
            "bytes takes the bytes of UTF-8, of which there are 256."
        )
    levels = np.full(_CODES, max(0, symbols.find(UNKNOWN)), np.int64)
    levels[to_codes(symbols)] = np.arange(len(symbols))
    said = "those of the training part" if given is None else "those of the data that it is compared with"
    if any(unknown.values()):
        said += f", and U+FFFD for others: {', '.join(f'{n:,} of {split}' for split, n in unknown.items() if n)}"
    return symbols, levels, f"as UTF-8 of {len(symbols)} symbols ({said})"


def _occurring(codes: Codes, count: int) -> npt.NDArray[np.bool_]:
    """Whether each of the codes 0..count-1 occurs (count,)."""
    found = np.zeros(count, bool)
    found[codes] = True
    return found


def _check_several(codes: npt.NDArray[np.intp], where: str, noun: str) -> None:
    if len(codes) < 2:
        symbol = repr(chr(codes[0])) if noun == "characters" else f"byte {codes[0]}"
        raise DataError(f"{where}: its training part holds one symbol alone, {symbol}; two or more are accepted.")


def _by(parts: Collection[str]) -> str:
    missing = missing_splits(parts)
    return f", {'' if ALL in parts else ' and '.join(missing) + ' '}split off by position" if missing else ""


def _left(symbols: int) -> str:
    return f"; what fills no window ({symbols:,} in all) is left out" if symbols else ""
