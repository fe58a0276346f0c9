"""Whether programs run by XLA on a processor, where some arithmetic has to be written in another way to be fast."""

from __future__ import annotations

import keras


def runs_by_xla_on_a_processor() -> bool:
    """Whether they do: under JAX, without an accelerator."""
    return keras.backend.backend() == "jax" and str(keras.distribution.list_devices()[0]).startswith("cpu")
