"""Arrays whose memory the backends read in place: TensorFlow and XLA copy any that begins elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES = 64
"""A multiple of which is the address of an array that they read in place."""


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An aligned array without values."""
    size = math.prod(shape, start=dtype.itemsize)
    memory = np.empty(size + BYTES, np.uint8)
    start = -memory.ctypes.data % BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def is_aligned(array: npt.NDArray[Any]) -> bool:
    """Whether an array is aligned, and contiguous."""
    return array.ctypes.data % BYTES == 0 and array.flags.c_contiguous
