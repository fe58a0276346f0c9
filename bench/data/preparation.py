"""What is done to data as it is read, and how much of it is trained on.

Colour becomes grey, then images are brought to one size; text and sound are cut into windows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.core.sequences import Kind
from bench.data.dataset import Dataset, DatasetInfo, Images, Split

MOST_PIXELS = 4096
"""Largest height and width that images are brought to."""
TextUnit = Literal["characters", "bytes"]
SoundEncoding = Literal["mu-law", "linear"]
_OF = {
    "resize": "images",
    "grey": "images",
    "grey_levels": "images",
    "window": "text and sound",
    "text_unit": "text",
    "sample_rate": "sound",
    "sound_encoding": "sound",
    "speakers": "sound",
}
"""What each setting is for."""
IN_WORDS: dict[str, str] = {"image": "images", "text": "text", "audio": "sound"}
"""Kinds of data."""
LEAST_RATE, MOST_RATE = 1000, 384_000
"""Samples a second that sound may have."""
_SIZE = re.compile(r"(\d{1,4})(?:[xX](\d{1,4}))?")
_LUMA = np.array([19595, 38470, 7471], np.uint32)
"""ITU-R 601's weights of red, green and blue in 16 bits, as Pillow's mode ``L`` has them."""


def parse_size(size: object) -> tuple[int, int]:
    """(height, width) of ``32x48``, of one number for both, or of a pair of numbers.

    Raises:
        ValueError: it is none of these, or a side is not in 1..4096.
    """
    sides = tuple(size) if isinstance(size, list | tuple) else ()
    if not sides and (found := _SIZE.fullmatch(str(size))):
        sides = (found[1], found[2] or found[1])
    if len(sides) != 2 or not all(str(side).isdecimal() and 1 <= int(side) <= MOST_PIXELS for side in sides):
        raise ValueError(f"a size is HEIGHTxWIDTH, such as 32x48, or one number for both, each 1 to {MOST_PIXELS}")
    return int(sides[0]), int(sides[1])


@dataclass(frozen=True)
class Preparation:
    """How data is read.

    Attributes:
        grey_levels: number of values that a pixel's channel can take; by default 2 where no value is above 1, else 256.
        resize: (height, width) that each image is brought to: the largest part of this shape in its centre, resized by
            Pillow with antialiasing (a triangle filter, which leaves no grey level's range); None keeps the size.
        grey: whether colour becomes grey, by ITU-R 601 as in Pillow's mode ``L``.
        train_images: number of training images, the first ones of a fixed permutation: fewer are among more. None takes
            all of them. Validation and test are the same for any number.
        window: the number of symbols or samples of a window of text or sound; None takes that of their kind.
        text_unit: whether the symbols of text are ``characters`` of UTF-8 or ``bytes``; given, any file is text. None
            reads characters.
        sample_rate: samples a second to which sound is resampled; None takes the lowest rate among the files.
        sound_encoding: how sound becomes 256 levels: ``mu-law`` or ``linear``; None takes mu-law.
        speakers: whether the sub-folders of recordings are speakers, none of which is in two splits, and not classes.
        symbols: the alphabet in which characters are read, no setting of a study's own; None takes that of the
            training part.
    """

    grey_levels: int | None = None
    resize: tuple[int, int] | None = None
    grey: bool = False
    train_images: int | None = None
    window: int | None = None
    text_unit: TextUnit | None = None
    sample_rate: int | None = None
    sound_encoding: SoundEncoding | None = None
    speakers: bool = False
    symbols: tuple[str, ...] | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The preparation of a study with these settings; those of a study without one of them are as it is stored."""
        size = settings.get("resize")
        return cls(
            settings.get("grey_levels"),
            None if size is None else parse_size(size),
            settings.get("grey", False),
            settings.get("train_images"),
            settings.get("window"),
            settings.get("text_unit"),
            settings.get("sample_rate"),
            settings.get("sound_encoding"),
            settings.get("speakers", False),
        )

    def check_kind(self, kind: Kind, where: str) -> None:
        """Check that no setting is for another kind of data, such as a window for images.

        Raises:
            DataError: one is.
        """
        mine = IN_WORDS[kind]
        for name, of in _OF.items():
            if getattr(self, name) not in (None, False) and mine not in of:
                option = f"--{name.replace('_', '-')}"
                raise DataError(f"{where} holds {mine}, and {option} is for {of}: leave it out, or give other data.")

    def shape(self, stored: tuple[int, int, int], where: str) -> tuple[int, int, int]:
        """(height, width, channels) of images that are stored in the shape ``stored``.

        Raises:
            DataError: images of 2 or 4 channels cannot become grey.
        """
        height, width = self.resize or stored[:2]
        if self.grey and stored[2] not in (1, 3):
            raise DataError(f"{where} has {stored[2]} channels; --grey takes images of 3, or of 1, which are grey.")
        return height, width, 1 if self.grey else stored[2]

    def apply(self, images: Images) -> Images:
        """Images (n, h, w, c) of the wanted size and kind; the same array if they are."""
        shape = self.shape((images.shape[1], images.shape[2], images.shape[3]), "the array")
        if images.shape[1:] == shape:
            return images
        prepared = np.empty((len(images), *shape), images.dtype)
        # One by one, as the products of all would take several times their memory.
        for target, image in zip(prepared, images, strict=True):
            one = _to_grey(image) if self.grey else image
            for channel in range(shape[2]):
                target[..., channel] = _resize(one[..., channel], shape[:2])
        return prepared

    def apply_to_all(self, dataset: Dataset) -> Dataset:
        """A data set of the prepared images, whose name says what was done to them; the same one if nothing was."""
        info = self.describe(dataset.info)
        if info == dataset.info:
            return dataset
        parts = (dataset.tuning.train, dataset.tuning.validation, dataset.open_test())
        train, validation, test = (Split(self.apply(part.images), part.labels) for part in parts)
        return Dataset(info, train, validation, test)

    def describe(self, info: DatasetInfo) -> DatasetInfo:
        """The metadata of the prepared images of a data set that comes with the project."""
        shape = self.shape(info.image_shape, info.name)
        if shape == info.image_shape:
            return info
        done = ["grey"] if shape[2] != info.image_shape[2] else []
        if shape[:2] != info.image_shape[:2]:
            done.append(f"{shape[0]}x{shape[1]}")
        # Published results are of the images as they are, and found by their name.
        name, source = "-".join([info.name, *done]), f"{info.source} Here {' and '.join(done)}."
        return replace(info, name=name, image_shape=shape, source=source)

    def choose(self, dataset: Dataset) -> Dataset:
        """A data set of which only the wanted number of images is trained on; the same one if these are all.

        Raises:
            DataError: it has fewer.
        """
        info = self.describe_chosen(dataset.info)
        if info == dataset.info:
            return dataset
        return dataset.training_on(info, self.train_images)

    def describe_chosen(self, info: DatasetInfo) -> DatasetInfo:
        """The metadata of what :meth:`choose` makes of a data set.

        Raises:
            DataError: it has fewer training images.
        """
        n, there = self.train_images, info.sizes["train"]
        if n is None or n == there:
            return info
        if n > there:
            raise DataError(
                f"train_images={n}: {info.name} has {there} training {info.noun}; 2 to {there} are accepted, or "
                "train_images=None (--train-sizes all) for every one"
            )
        return replace(
            info,
            name=f"{info.name}-{n}",
            sizes={**info.sizes, "train": n},
            source=f"{info.source.rstrip('.')}; here {n:,} of its {there:,} training {info.noun}, always the same.",
            chosen_from=there,
        )


PREPARATION = tuple(field.name for field in fields(Preparation) if field.name != "symbols")
"""The settings of a study that say how its data is read."""
AS_STORED = Preparation()
"""Images as they are, whose grey levels are read from them."""


def _to_grey(image: Images) -> Images:
    if image.shape[-1] == 1:
        return image
    weighted = image.astype(np.uint32) @ _LUMA + np.uint32(1 << 15)
    return (weighted >> np.uint32(16)).astype(image.dtype)[..., None]


def _resize(channel: npt.NDArray[np.integer], size: tuple[int, int]) -> npt.NDArray[np.integer]:
    """A channel (h, w) cropped around its centre to the shape of ``size`` and resized to it."""
    from PIL import Image, ImageOps

    if channel.shape == size:
        return channel
    # Pillow resizes no 16-bit integers.
    picture = Image.fromarray(np.ascontiguousarray(channel, np.uint8 if channel.dtype == np.uint8 else np.float32))
    fitted = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(fitted)
    return pixels if channel.dtype == np.uint8 else np.rint(pixels).astype(channel.dtype)
