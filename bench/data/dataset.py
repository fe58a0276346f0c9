"""A data set: integer images in three disjoint splits, with a digest and a sealed test split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.core.sequences import Encoding, Kind, unit_of
from bench.data.choice import fixed_choice

Images = npt.NDArray[np.integer]
"""Integer images (n, height, width, channels) in 0..grey_levels-1."""
Labels = npt.NDArray[np.integer]
"""Class labels (n,) in 0..classes-1."""
_DIGEST_BATCH = 4096


@dataclass(frozen=True)
class DatasetInfo:
    """The metadata of a data set, known without loading its arrays.

    Attributes:
        name: short name that can be part of a file name: ``mnist``, or the stem of the user's file.
        image_shape: (height, width, channels).
        grey_levels: number of values that a pixel's channel can take (2 to 256, more if the user's data has more).
        sizes: number of images of ``train``, ``validation`` and ``test``.
        classes: number of class labels, 0 where the data has none.
        source: where the data comes from and under which licence, one sentence.
        class_names: the classes in the order of their labels, where the data names them.
        split_off: splits that the source does not have, and that are taken from the rest of it.
        chosen_from: number of training images of which those of ``train`` are a choice; None where they are all.
        kind: ``image``, or ``text`` or ``audio``, whose windows are images (1, length, 1).
        encoding: what an integer of text is (``characters``, ``bytes``), or how one of sound stands for an amplitude
            (``mu-law``, ``linear``); empty of images.
        symbols: the alphabet of characters, of which symbol ``i`` is the integer ``i``.
        sample_rate: samples of sound a second.
    """

    name: str
    image_shape: tuple[int, int, int]
    grey_levels: int
    sizes: dict[str, int]
    classes: int
    source: str
    class_names: tuple[str, ...] = ()
    split_off: tuple[str, ...] = ()
    chosen_from: int | None = None
    kind: Kind = "image"
    encoding: Encoding = ""
    symbols: tuple[str, ...] = ()
    sample_rate: int | None = None

    @property
    def is_ordered(self) -> bool:
        """Whether neighbouring integers mean similar things, as grey levels and amplitudes do, and symbols do not."""
        return self.kind != "text"

    @property
    def has_features(self) -> bool:
        """Whether a network's features say how good samples are: of images, and of sounds with classes.

        Symbols have no order on which a network's input could be scaled, and a line has too few orientations to learn
        from.
        """
        return self.kind == "image" or (self.kind == "audio" and self.classes > 1)

    @property
    def unit(self) -> str:
        """The unit of a likelihood per dimension: bits/dim, bits/character, bits/byte or bits/sample."""
        return unit_of(self.encoding)

    @property
    def form(self) -> str:
        """The form of an image or a window, in words."""
        height, width, channels = self.image_shape
        if self.kind == "image":
            return f"{height}x{width}x{channels}, {self.grey_levels} grey levels"
        if self.kind == "audio":
            rate = f"{self.sample_rate:,} Hz" if self.sample_rate else "an unknown rate"
            seconds = width / self.sample_rate if self.sample_rate else 0.0
            length = f" ({seconds:,.3g} s)" if seconds >= 1 else f" ({1000 * seconds:,.3g} ms)" if seconds else ""
            return f"windows of {width} samples{length} at {rate}, {self.encoding} to {self.grey_levels} levels"
        of = f", an alphabet of {self.grey_levels}" if self.symbols else ""
        return f"windows of {width} {self.encoding}{of}"

    @property
    def noun(self) -> str:
        """What the data consists of, in the plural."""
        return "images" if self.kind == "image" else "windows"

    @property
    def dimensions(self) -> int:
        """D = height × width × channels, the number of dimensions that bits/dim divides by."""
        height, width, channels = self.image_shape
        return height * width * channels


@dataclass(frozen=True)
class Split:
    """Images of one split and, if the data has them, their class labels."""

    images: Images = field(repr=False)
    labels: Labels | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def some(self, n: int | None, kind: Kind = "image") -> Split:
        """A :func:`fixed_choice` of ``n`` images with their labels; all of them, in their order, if ``n`` is None.

        Windows of a text or a sound stay in their order.
        """
        if n is None:
            return self
        chosen = fixed_choice(np.arange(len(self)), n)
        if kind != "image":
            chosen.sort()
        return Split(self.images[chosen], None if self.labels is None else self.labels[chosen])


@dataclass(frozen=True)
class TuningData:
    """What tuning may see: training and validation images. Nothing here refers to the test split."""

    info: DatasetInfo
    digest: str
    train: Split
    validation: Split


class Dataset:
    """A data set whose test split is kept apart.

    Args:
        info: name, shapes and sizes.
        train: training split.
        validation: validation split.
        test: test split; reached only through :meth:`open_test`.
        digest: the digest if it is known, as computing it reads every pixel.
        check: raises AlteredDataError if what the arrays are read from has changed.
    """

    def __init__(
        self,
        info: DatasetInfo,
        train: Split,
        validation: Split,
        test: Split,
        digest: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.info = info
        self._train = train
        self._validation = validation
        self._test = test
        self._known_digest = digest
        self.check = check

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, grey levels and pixels of all three splits, in order; independent of file format.

        Of a sequence, over what its integers mean too: two texts may differ in their alphabets alone.
        """
        if self._known_digest is not None:
            return self._known_digest
        return self._digest_of({"train": self._train, "validation": self._validation, "test": self._test})

    @cached_property
    def held_out_digest(self) -> str:
        """The same of validation and test alone: it does not depend on how many images are trained on."""
        return self._digest_of({"validation": self._validation, "test": self._test})

    def _digest_of(self, splits: Mapping[str, Split]) -> str:
        digest = hashlib.sha256()
        digest.update(f"{self.info.image_shape} {self.info.grey_levels}".encode())
        if self.info.kind != "image":
            meaning = (self.info.kind, self.info.encoding, self.info.symbols, self.info.sample_rate)
            digest.update(json.dumps(meaning).encode())
        for name, split in splits.items():
            digest.update(f" {name} {len(split)} ".encode())
            # In batches, as all images in 16 bits would take several times their own memory.
            for start in range(0, len(split), _DIGEST_BATCH):
                some = split.images[start : start + _DIGEST_BATCH]
                digest.update(np.ascontiguousarray(some, dtype=np.uint16).tobytes())
        return digest.hexdigest()

    @cached_property
    def labels_digest(self) -> str:
        """Twelve digits of the SHA-256 over the labels of all splits; empty without labels. They may change alone."""
        splits = (self._train, self._validation, self._test)
        if all(split.labels is None for split in splits):
            return ""
        digest = hashlib.sha256()
        for split in splits:
            labels = np.empty(0, np.int64) if split.labels is None else split.labels
            digest.update(f" {len(labels)} ".encode() + np.ascontiguousarray(labels, dtype=np.int64).tobytes())
        return digest.hexdigest()[:12]

    @cached_property
    def tuning(self) -> TuningData:
        """Training and validation split, without a reference to the test split."""
        return TuningData(self.info, self.digest, self._train, self._validation)

    def training_on(self, info: DatasetInfo, n: int | None) -> Dataset:
        """The same data, of which only ``n`` images are trained on, as :meth:`Split.some` chooses them."""
        return Dataset(info, self._train.some(n, self.info.kind), self._validation, self._test, check=self.check)

    def open_test(self) -> Split:
        """The test split. Only the final evaluation of an already selected configuration may call this."""
        return self._test
