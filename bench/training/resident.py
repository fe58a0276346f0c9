"""The training images on the device: there once, however many programs read them, and in place where it can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.alignment import is_aligned

Array = npt.NDArray[Any]

_MOST = 4
"""Arrays that are kept: the images and the labels of one data set, for two ways of placing them."""
_kept: OrderedDict[tuple[int, Hashable], tuple[Array, Any]] = OrderedDict()
"""By array and place, the last used last. The array is kept too, as its identity must not go to another."""


def on_device(array: Array, place: Hashable, move: Callable[[Array], Any]) -> Any:
    """The array as the backend has it; moved at the first call, and again only if others came between.

    Args:
        array: the same object at each call, and never changed.
        place: where ``move`` moves it.
        move: moves it.
    """
    key = (id(array), place)
    if key not in _kept:
        _kept[key] = (array, move(array))
    _kept.move_to_end(key)
    while len(_kept) > _MOST:
        _kept.popitem(last=False)
    return _kept[key][1]


def to_tensorflow(array: Array) -> Any:
    """A tensor of the array: the array's own memory on a processor, a copy on an accelerator."""
    import tensorflow as tf

    exported = array.view()
    if isinstance(array, np.memmap):
        # NumPy exports no array that is read-only, as those that processes share are.
        exported.flags.writeable = True
    if is_aligned(exported) and exported.flags.writeable and not tf.config.list_logical_devices("GPU"):
        # ``tf.constant`` would take twice the array's memory.
        return tf.experimental.dlpack.from_dlpack(exported.__dlpack__())
    return tf.constant(array)
