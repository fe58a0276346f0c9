"""Assigns images to splits where the source does not; every source follows these rules.

A source has *parts*: ``train`` and perhaps ``validation`` and ``test``, or ``all`` if it names no splits.

- A given part is kept, in its order.
- ``all`` is split into 70 % train, 10 % validation (rounded down, at least two images) and 20 % test (likewise).
- A missing test split is taken from ``train``: one sixth of it, rounded down, at least 2 and at most 10,000 images.
  A missing validation split is then taken from what remains, by the same rule.
- Each split has two images or more, as an uncertainty is not known of one.

Images are taken in the order of a permutation that depends only on the number of images, not on a study's seed: all
studies of a data set tune and test on the same images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError

SPLITS = ("train", "validation", "test")
ALL = "all"
"""The part of a source that names no splits."""

_SEED = 2011
LEAST = 2
"""Least images of a split."""
_MOST_HELD_OUT = 10_000


class Selection(NamedTuple):
    """The images of one split: those at ``indices`` of the source's part ``part``."""

    part: str
    indices: slice | npt.NDArray[np.intp]


def permutation(n: int) -> npt.NDArray[np.intp]:
    """The fixed permutation of ``n`` images, (n,)."""
    # NumPy guarantees the stream of RandomState; that of Generator may change between versions.
    return np.random.RandomState(_SEED).permutation(n).astype(np.intp)


def split_sizes(parts: Mapping[str, int], where: str, noun: str = "images") -> dict[str, int]:
    """The number of images in each of the three splits.

    Args:
        parts: number of images in each part that the source gives.
        where: the source; errors name it.
        noun: what errors call the images.

    Raises:
        DataError: there are too few images for three splits.
    """
    sizes = dict(parts)
    if ALL in sizes:
        n = sizes.pop(ALL)
        sizes["validation"], sizes["test"] = max(LEAST, n // 10), max(LEAST, n // 5)
        sizes["train"] = n - sizes["validation"] - sizes["test"]
    for split in ("test", "validation"):
        if split not in sizes:
            sizes[split] = min(_MOST_HELD_OUT, max(LEAST, sizes["train"] // 6))
            sizes["train"] -= sizes[split]
    if min(sizes.values()) < LEAST:
        given = ", ".join(f"{n} in {part}" for part, n in parts.items())
        raise DataError(
            f"{where}: too few {noun} ({given}) for a train, a validation and a test split of {LEAST} or more, "
            "without which no uncertainty is known."
        )
    return {split: sizes[split] for split in SPLITS}


def missing_splits(parts: Collection[str]) -> tuple[str, ...]:
    """The splits that the source does not give, and that are taken from the rest of it."""
    return tuple(split for split in SPLITS if split not in parts)


def select(parts: Mapping[str, int], where: str) -> dict[str, Selection]:
    """The images of each split; no image is in two of them.

    Args:
        parts: number of images in each part that the source gives.
        where: the source; errors name it.

    Raises:
        DataError: there are too few images for three splits.
    """
    sizes = split_sizes(parts, where)
    selections = {part: Selection(part, slice(None)) for part in parts if part != ALL}
    if missing := missing_splits(parts):
        pool = ALL if ALL in parts else "train"
        order, start = permutation(parts[pool]), 0
        for split in dict.fromkeys(["train", *missing]):
            selections[split] = Selection(pool, order[start : start + sizes[split]])
            start += sizes[split]
    return {split: selections[split] for split in SPLITS}
