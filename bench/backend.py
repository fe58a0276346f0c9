"""The Keras backend: chosen before Keras is imported, and described afterwards."""

from __future__ import annotations

import importlib.util
import os
import sys

from bench.errors import SettingsError

BACKENDS = ("tensorflow", "jax")


def select_backend(name: str) -> None:
    """Make Keras use backend ``name`` in this process.

    Raises:
        SettingsError: the backend is unknown or not installed, or Keras already runs on another.
    """
    if name not in BACKENDS:
        raise SettingsError(f"backend {name!r} is unknown: one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec(name) is None:
        raise SettingsError(
            f"backend {name!r} is not installed: pip install 'reparam-bench[{name}]', or another backend"
        )
    os.environ["KERAS_BACKEND"] = name
    # TensorFlow's C++ start-up messages would bury the first lines of a study.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != name:
            raise SettingsError(
                f"Keras already runs on {keras.backend.backend()!r} in this process and cannot change to {name!r}: "
                "start a new process"
            )


def device() -> str:
    """The device that the backend computes on, such as ``cpu:0`` or ``gpu:0``."""
    import keras

    return str(keras.distribution.list_devices()[0])


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
