"""Text and sound by name: one that comes with Python, and public ones, which are read from Keras's cache.

Nothing is downloaded: their licences want to be read first, and an error says which file goes where.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.core.errors import DataError
from bench.core.sequences import Kind
from bench.data.audio import describe_recordings, load_recordings
from bench.data.cache import cache_folder
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.folder_layout import Part
from bench.data.preparation import Preparation
from bench.data.splitting import ALL
from bench.data.text import Codes, cut_text, decode, read_bytes, to_codes

_TEXT8_SPLITS = {"train": (0, 90), "validation": (90, 95), "test": (95, 100)}
"""Hundredths of text8, as its likelihoods are published (Mikolov et al. 2012)."""
_TEXT8_PERCENT = 10**6
"""Characters of one of them."""
_PTB_FILES = {"train": "ptb.char.train.txt", "validation": "ptb.char.valid.txt", "test": "ptb.char.test.txt"}
_DIGIT = re.compile(r"(\d)_([A-Za-z]+)_(\d+)\.wav")
_DIGIT_SPLITS = {"train": range(10, 10**6), "validation": range(5, 10), "test": range(5)}
"""Numbers of the recordings of each digit and speaker; those of test are official."""


@dataclass(frozen=True)
class NamedSequence:
    """A text or recordings that are known by name.

    Attributes:
        name: the name.
        kind: text or audio.
        file: the file or folder of the cache that it is read from; empty if it needs none.
        origin: what that is, where it is to be had, and under which licence.
        describe: its metadata.
        load: the data set.
    """

    name: str
    kind: Kind
    file: str
    origin: str
    describe: Callable[[Preparation], DatasetInfo]
    load: Callable[[Preparation], Dataset]

    @property
    def remedy(self) -> str:
        """What to do where it is missing."""
        return f"put {self.origin} at {self.path}"

    @property
    def path(self) -> Path:
        """Where its file is expected."""
        return cache_folder() / self.file

    @property
    def is_cached(self) -> bool:
        """Whether its file is there."""
        return not self.file or self.path.exists()


def _cached(name: str) -> Path:
    known = SEQUENCES[name]
    if not known.is_cached:
        raise DataError(
            f"{name} is not in the cache: {known.remedy} (set KERAS_HOME for another place), or give the path to a "
            "text or a folder of recordings of your own; 'python_topics' needs no file."
        )
    return known.path


def _load_topics(preparation: Preparation) -> Dataset:
    from pydoc_data.topics import topics

    prose = "\n\n".join(topics[name] for name in sorted(topics))
    version = ".".join(platform.python_version_tuple()[:2])
    source = f"The help topics of Python {version} (pydoc_data.topics), in English, PSF licence"
    codes = np.frombuffer(prose.encode(), np.uint8) if preparation.text_unit == "bytes" else to_codes(prose)
    return cut_text("python_topics", source, {ALL: [codes]}, preparation, "python_topics")


def _load_text8(preparation: Preparation) -> Dataset:
    file = _cached("text8")
    content = np.frombuffer(read_bytes(file), np.uint8)
    if len(content) != 100 * _TEXT8_PERCENT:
        raise DataError(
            f"{file} holds {len(content):,} bytes; text8 holds 100,000,000. Unpack text8.zip again, or give the file "
            "by its path as a text of your own."
        )
    # ASCII: a byte is its code point.
    parts = {
        split: [content[start * _TEXT8_PERCENT : end * _TEXT8_PERCENT]] for split, (start, end) in _TEXT8_SPLITS.items()
    }
    source = (
        "text8 (Mahoney 2006), 100 MB of English Wikipedia in 26 letters and the space, CC BY-SA; the first 90 million "
        "characters are train, then 5 million validation and 5 million test"
    )
    return cut_text("text8", source, parts, preparation, str(file))


def _load_ptb(preparation: Preparation) -> Dataset:
    folder = _cached("ptb_characters")
    parts: dict[str, list[Codes]] = {}
    for split, name in _PTB_FILES.items():
        spaced = decode(read_bytes(folder / name), str(folder / name))
        # Characters stand between spaces, and _ is a space.
        prose = spaced.replace(" ", "").replace("_", " ")
        parts[split] = [
            np.frombuffer(prose.encode(), np.uint8) if preparation.text_unit == "bytes" else to_codes(prose)
        ]
    source = (
        "Penn Treebank by characters, as prepared by Mikolov et al. (2012), Wall Street Journal, for research under "
        "the LDC's terms"
    )
    return cut_text("ptb_characters", source, parts, preparation, str(folder))


def _spoken_digits(preparation: Preparation) -> tuple[str, dict[str, Part], str]:
    """Source, files and place of the spoken digits."""
    folder = _cached("free_spoken_digits")
    found = [(match, file) for file in sorted(folder.rglob("*.wav")) if (match := _DIGIT.fullmatch(file.name))]
    if not found:
        raise DataError(
            f"{folder} holds no recording called DIGIT_SPEAKER_NUMBER.wav; those of the data set are accepted."
        )
    source = "Free Spoken Digit Dataset (Jackson et al. 2016), digits spoken in English by six speakers, CC BY-SA 4.0"
    if preparation.speakers:
        names = tuple(sorted({match[2] for match, _ in found}))
        labels = np.array([names.index(match[2]) for match, _ in found])
        return source, {ALL: Part([file for _, file in found], labels, names)}, str(folder)
    parts = {}
    for split, chosen in _DIGIT_SPLITS.items():
        of_split = [(match, file) for match, file in found if int(match[3]) in chosen]
        labels = np.array([int(match[1]) for match, _ in of_split])
        parts[split] = Part([file for _, file in of_split], labels, tuple("0123456789"))
    return f"{source}; numbers 0 to 4 are test, 5 to 9 validation", parts, str(folder)


def _describe_digits(preparation: Preparation) -> DatasetInfo:
    source, parts, where = _spoken_digits(preparation)
    return describe_recordings("free_spoken_digits", source, parts, preparation, where)


def _load_digits(preparation: Preparation) -> Dataset:
    source, parts, where = _spoken_digits(preparation)
    return load_recordings("free_spoken_digits", source, parts, preparation, where)


def _text(name: str, file: str, origin: str, load: Callable[[Preparation], Dataset]) -> NamedSequence:
    # The alphabet of a text is not known before all of it is read.
    return NamedSequence(name, "text", file, origin, lambda preparation: load(preparation).info, load)


SEQUENCES: dict[str, NamedSequence] = {
    each.name: each
    for each in (
        _text("python_topics", "", "", _load_topics),
        _text(
            "text8",
            "text8",
            "the file in http://mattmahoney.net/dc/text8.zip (31 MB; CC BY-SA, as Wikipedia)",
            _load_text8,
        ),
        _text(
            "ptb_characters",
            "ptb_characters",
            f"a folder with {', '.join(_PTB_FILES.values())} of the folder data in "
            "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz (35 MB; for research, under the LDC's terms)",
            _load_ptb,
        ),
        NamedSequence(
            "free_spoken_digits",
            "audio",
            "free-spoken-digit-dataset",
            "a clone of https://github.com/Jakobovski/free-spoken-digit-dataset (27 MB; CC BY-SA 4.0)",
            _describe_digits,
            _load_digits,
        ),
    )
}
"""By name."""
