"""Values that are nearly independent: of images each, of windows of a text or a sound the means of blocks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.core.sequences import Kind

BLOCKS = 30
"""Blocks of consecutive windows: long ones resemble each other least, and few make intervals wide."""


def independent(values: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    """Values of which the standard error of the mean is that of all values.

    Neighbouring windows of one text, or of one recording, resemble each other, so that n of them say less than n
    images do. The means of blocks of consecutive windows vary as the mean of all does, by the root of the number of
    blocks (batch means, Schmeiser 1982, "Batch size effects in the analysis of simulation output").

    Args:
        values: a value of each image or window (n,), windows in the order of the text or of the recordings.
        kind: what they are of.

    Returns:
        The values (n,) of images, and of fewer windows than two a block; else the mean of each block (30,).
    """
    if kind == "image" or len(values) < 2 * BLOCKS:
        return values
    return np.array([block.mean() for block in np.array_split(values, BLOCKS)])
