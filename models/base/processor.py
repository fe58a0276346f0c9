"""Whether programs run by XLA on a processor, where some arithmetic has to be written in another way to be fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

_TRACED_FOR_XLA = ContextVar("traced_for_xla", default=False)


def runs_by_xla_on_a_processor() -> bool:
    """Whether they do, without an accelerator: under JAX, or what TensorFlow traces within :func:`traced_for_xla`."""
    by_xla = keras.backend.backend() == "jax" or _TRACED_FOR_XLA.get()
    return by_xla and str(keras.distribution.list_devices()[0]).startswith("cpu")


@contextmanager
def traced_for_xla() -> Iterator[None]:
    """What TensorFlow traces in the block will be compiled by XLA, of which the trace itself knows nothing."""
    before = _TRACED_FOR_XLA.set(True)
    try:
        yield
    finally:
        _TRACED_FOR_XLA.reset(before)
