"""Spares Python's garbage collector the objects of imported libraries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def existing_objects_uncollected() -> Iterator[None]:
    """Within the block, the garbage collector does not visit the objects that existed before it.

    Each new shape of model has garbage collected (:func:`keras.utils.clear_session`), which takes a quarter of a second
    for the half a million objects of TensorFlow, MLflow and other libraries. Where objects are kept from the collector
    already, as by an outer block, nothing changes.
    """
    if gc.get_freeze_count():
        yield
        return
    # What is garbage already would be kept.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
