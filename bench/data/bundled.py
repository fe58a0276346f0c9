"""``digits``: small real scans that are part of scikit-learn, for first steps and for tests without a network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.splitting import ALL, select
from bench.data.validation import assemble, to_images, to_labels

Array = npt.NDArray[Any]

DIGITS = DatasetInfo(
    name="digits",
    image_shape=(8, 8, 1),
    grey_levels=17,
    sizes={"train": 1259, "validation": 179, "test": 359},
    classes=10,
    source="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), UCI, CC BY 4.0, bundled with "
    "scikit-learn; split 70/10/20 % by a fixed permutation.",
)


def load_digits() -> Dataset:
    """The 1,797 digits: 1,259 train, 179 validation and 359 test images (8, 8, 1) in 0..16, with labels."""
    pixels, classes = _bundled()
    images = to_images(pixels, DIGITS.grey_levels, "digits")
    labels = to_labels(classes, len(images), "digits: labels")
    splits = {
        split: Split(images[indices], labels[indices])
        for split, (_, indices) in select({ALL: len(images)}, "digits").items()
    }
    return assemble(DIGITS, splits, "digits")


def _bundled() -> tuple[Array, Array]:
    """Pixels (1797, 8, 8) and classes (1797,), read without scikit-learn, which takes a second to import.

    Raises:
        DataError: the installed scikit-learn does not have them where it always had.
    """
    package = find_spec("sklearn")
    place = "datasets/data/digits.csv.gz"
    files = [Path(each, place) for each in (package and package.submodule_search_locations) or ()]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        raise DataError(f"digits: the installed scikit-learn has no {place}: install one that has, or give other data")
    rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
