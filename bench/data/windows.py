"""Splits of sequences, which are cut into windows: by position, or by file; every source follows these rules.

The shares are those of :mod:`bench.data.splitting`, but neighbouring windows stay in one split: they resemble each
other, so that a permutation of windows would test on what was trained on.

- *By position*: the windows of train come first, then those of validation, then those of test.
- *By group*: a group is a file or a speaker, and none is in two splits. From the longest to the shortest, a group goes
  to the split that lacks most of its share, while there are as many groups left as splits without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.data.splitting import ALL, LEAST, Selection, missing_splits, split_sizes


def check_enough(parts: Mapping[str, int], window: int, where: str, noun: str) -> None:
    """Check that a source has windows enough for three splits.

    Args:
        parts: number of windows in each part that the source gives.
        window: their length.
        where: the source; errors name it.
        noun: what a window consists of, in the plural.

    Raises:
        DataError: it has too few.
    """
    try:
        split_sizes(parts, where, f"windows of {window} {noun}")
    except DataError as error:
        raise DataError(f"{error} Give more of it, or a smaller --window.") from error


def by_position(parts: Mapping[str, int], where: str) -> dict[str, Selection]:
    """The windows of each split, as they follow one another.

    Args:
        parts: number of windows in each part that the source gives.
        where: the source; errors name it.

    Raises:
        DataError: there are too few windows for three splits.
    """
    sizes = split_sizes(parts, where)
    selections = {part: Selection(part, slice(None)) for part in parts if part != ALL}
    start = 0
    for split in ("train", *missing_splits(parts)) if ALL not in parts else sizes:
        selections[split] = Selection(ALL if ALL in parts else "train", slice(start, start + sizes[split]))
        start += sizes[split]
    return {split: selections[split] for split in sizes}


def by_group(
    parts: Mapping[str, Sequence[int]], groups: Sequence[int] | npt.NDArray[np.integer], where: str, noun: str
) -> dict[str, Selection]:
    """The windows of each split, all of a group in one.

    Args:
        parts: the windows of each file, in each part that the source gives.
        groups: the group of each file, counted from 0, in the part from which missing splits are taken.
        where: the source; errors name it.
        noun: what a group is, in the plural.

    Raises:
        DataError: there are too few groups, or a split has too few windows.
    """
    pool = ALL if ALL in parts else "train"
    wanted = split_sizes({part: sum(windows) for part, windows in parts.items()}, where)
    missing = tuple(dict.fromkeys(["train", *missing_splits(parts)]))
    shares = np.array([wanted[split] for split in missing])
    sizes = np.bincount(groups, weights=parts[pool]).astype(np.int64)
    if (long_enough := np.count_nonzero(sizes)) < len(missing):
        raise DataError(
            f"{where} has {long_enough} {noun} of a window or more; {len(missing)} or more are accepted, as no two "
            "splits share one."
        )
    held = np.zeros(len(missing), np.int64)
    owner = np.zeros(len(sizes), np.intp)
    left = long_enough
    for group in np.argsort(-sizes, kind="stable"):
        lacking = shares - held
        if left <= np.count_nonzero(held == 0):
            lacking = np.where(held == 0, lacking, np.iinfo(np.int64).min)
        owner[group] = np.argmax(lacking)
        held[owner[group]] += sizes[group]
        left -= 1
    if held.min() < LEAST:
        raise DataError(
            f"{where}: {held.min()} window of {noun} is too little for the {missing[held.argmin()]} split; {LEAST} or "
            "more are accepted: give more, or a smaller --window."
        )
    of_window = np.repeat(owner[np.asarray(groups, np.intp)], parts[pool])
    selections = {part: Selection(part, slice(None)) for part in parts if part != ALL}
    for place, split in enumerate(missing):
        selections[split] = Selection(pool, np.flatnonzero(of_window == place))
    return {split: selections[split] for split in wanted}
