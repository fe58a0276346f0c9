"""Says, of a file that is no accepted one, what to type to make it one."""

from __future__ import annotations

import math
import re
from pathlib import Path

from bench.core.errors import DataError

NPY_MAGIC = b"\x93NUMPY"
"""How a .npy file begins."""
_TEXT = {".csv": ",", ".tsv": "\t", ".txt": None, ".amat": None}
"""Files of numbers as text, and what separates them; None is white space."""
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of the images that are read."""
TEXTS = (".txt",)
"""Suffixes of the texts that are read."""
SOUNDS = (".flac", ".wav")
"""Suffixes of the recordings that are read."""
OTHER_PICTURES = (".jfif", ".jpe", ".pjpeg", ".ppm", ".pgm", ".pbm", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".tga")
"""Suffixes of images that are not read."""
OTHER_SOUNDS = (".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au")
"""Suffixes of recordings that are not read."""
_LABEL_NAMES = ("class", "label", "target", "y")
_MOST_LINE_BYTES = 2**20
_PICKLED = "is a pickle, which can run code, and is never opened: where it was made, type np.savez('my.npz', images=x)"
UNPACK = "is an archive of files: unpack it, and give the folder of images"
"""What an archive of images is, and what to do with it."""
_SOUND = "is sound of another format: ffmpeg -i FILE my.wav makes a recording that is read"
_PROSE = "may be text: --text-unit characters (or bytes) reads any file as text"
_ADVICE = {
    **dict.fromkeys(OTHER_SOUNDS, _SOUND),
    **dict.fromkeys((".md", ".rst", ".tex", ".text", ".log", ".html", ".json", ".py"), _PROSE),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLED),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), UNPACK),
    **dict.fromkeys(PICTURES, "is one image: give the folder that holds all of them"),
    ".gz": "is compressed: unpack it (gunzip, tar -xzf) and give what is inside, if that is accepted",
    ".mat": "is a file of MATLAB's: type np.savez('my.npz', images=scipy.io.loadmat(FILE)['NAME'])",
    ".h5": "is a file of HDF5: type np.savez('my.npz', images=h5py.File(FILE)['NAME'][:])",
    ".hdf5": "is a file of HDF5: type np.savez('my.npz', images=h5py.File(FILE)['NAME'][:])",
    ".parquet": "is a table: type np.savez('my.npz', images=np.stack(pandas.read_parquet(FILE)['NAME']))",
}


def advise(path: Path) -> None:
    """Refuse a file of a known other format.

    Raises:
        DataError: by its name it is one; the message says what to type.
    """
    suffix = path.suffix.lower()
    if suffix in _TEXT:
        raise DataError(f"{path} cannot be read: {_recipe(path, _TEXT[suffix])}")
    if suffix in _ADVICE:
        raise DataError(f"{path} cannot be read: it {_ADVICE[suffix]}. A .npz or .npy file or a folder is accepted.")


def holds_numbers(path: Path) -> bool:
    """Whether a file of text begins with a line of two numbers or more, perhaps below as many names.

    Raises:
        DataError: it cannot be read.
    """
    try:
        first, second = (re.split(r"[\s,;]+", line.strip()) for line in _first_lines(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. A readable file is accepted.") from error
    return len(first) > 1 and any(len(line) == len(first) and all(map(_is_number, line)) for line in (first, second))


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def square_side(values: int) -> int:
    """The side of a square of so many pixels; 0 if there is none."""
    side = math.isqrt(max(values, 0))
    return side if side * side == values else 0


def _first_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [file.readline(_MOST_LINE_BYTES).decode(errors="replace").strip() for _ in range(2)]


def _recipe(path: Path, separator: str | None) -> str:
    """What to type for a file of numbers, one image a line, perhaps with names above and a label before them."""
    lines = _first_lines(path)
    separator = separator or next((each for each in ",;" if each in lines[0]), None)
    fields = lines[0].split(separator)
    named = not all(map(_is_number, fields))
    options = f", delimiter={separator!r}" * (separator is not None) + ", skiprows=1" * named
    columns = len(lines[1].split(separator)) if named and lines[1] else len(fields)
    side = square_side(columns)
    pixels, labels = "x", ""
    if not side and (side := square_side(columns - 1)):
        last = named and fields[-1].strip(" \"'").lower() in _LABEL_NAMES
        pixels, labels = ("x[:, :-1]", ", labels=x[:, -1]") if last else ("x[:, 1:]", ", labels=x[:, 0]")
    shape = f"{side}, {side}" if side > 1 else "HEIGHT, WIDTH"
    read = "; --text-unit characters reads it as text" if path.suffix.lower() in TEXTS else ""
    is_whole = all(field.strip().lstrip("+-").isdecimal() for field in lines[1 if named else 0].split(separator))
    load = f"{path.name!r}, dtype=int{options})" if is_whole else f"{path.name!r}{options}).astype(int)"
    return (
        f"it is text. In Python type import numpy as np; x = np.loadtxt({load}; "
        f"np.savez('{path.stem}.npz', images={pixels}.reshape(-1, {shape}){labels}), and give {path.stem}.npz{read}."
    )
