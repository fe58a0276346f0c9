"""Which images stand for all others where not all are used."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_SEED = 2017

Kind = TypeVar("Kind", bound=np.generic)


def fixed_choice(images: npt.NDArray[Kind], n: int) -> npt.NDArray[Kind]:
    """``n`` of some images, or all if they are no more, in random order: always the same ones.

    The user's files may be sorted by class: their first images would stand for the first class alone.
    """
    return images[np.random.RandomState(_SEED).permutation(len(images))[:n]]
