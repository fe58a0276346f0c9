"""Selects the Keras backend before Keras is imported, and describes its device."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from bench.core.environment import own_cache
from bench.core.errors import SettingsError
from bench.runtime.allocator import keep_freed_memory

log = logging.getLogger(__name__)

BACKENDS = ("tensorflow", "jax")
_NOT_NEEDED = {"tensorflow": ("jax", "matplotlib", "sklearn"), "jax": ("tensorflow", "matplotlib", "sklearn")}
"""Packages that are imported with a backend if they are installed, which takes longer than JAX itself.

Keras takes two for wrappers and galleries, which say that they lack them in a process that selected its backend here,
and TensorFlow JAX for a converter.
"""


def check_backend(name: str) -> None:
    """Check that a backend is installed, without importing it.

    Raises:
        SettingsError: the backend is unknown or not installed.
    """
    if name not in BACKENDS:
        raise SettingsError(f"backend {name!r} is unknown: one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec(name) is None:
        raise SettingsError(
            f"backend {name!r} is not installed: pip install 'reparam-bench[{name}]', or another backend"
        )


def installed_backends() -> list[str]:
    """The backends that are installed here."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def prepare_backend(name: str) -> None:
    """Set the environment so that Keras, if it is not imported yet, will run on backend ``name``.

    Raises:
        SettingsError: the backend is unknown or not installed.
    """
    check_backend(name)
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = name
        # Otherwise TensorFlow's C++ logs every program that it compiles; errors are still shown.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # JAX then sees each core as a device, and a batch can be sharded over them.
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores()))
        # Other workers, and a study that is continued, reuse compiled programs.
        if cache := own_cache():
            os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "jax"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
        keep_freed_memory()


def select_backend(name: str) -> None:
    """Import Keras on backend ``name`` in this process.

    Raises:
        SettingsError: the backend is unknown or not installed, or Keras already runs on another.
    """
    prepare_backend(name)
    # XLA ends the process where it does not know a flag, and says so there.
    with nullcontext() if os.environ.get("XLA_FLAGS") else hold_back_stderr(), _absent(*_NOT_NEEDED[name]):
        device()
    import keras

    # What a run computes does not depend on the user's keras.json.
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    if keras.backend.backend() != name:
        raise SettingsError(
            f"Keras already runs on {keras.backend.backend()!r} in this process and cannot change to {name!r}: "
            "start a new process"
        )
    if name == "tensorflow":
        import tensorflow as tf

        # Its graph rewriting takes up to 1.5 s per new shape of a flow, and gains no speed.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    else:
        _let_keras_do_without_tensorflow()


def _let_keras_do_without_tensorflow() -> None:
    """On another backend, Keras would import an installed TensorFlow to save or load its first model.

    That takes seconds and hundreds of MB, and writes to the terminal. Keras asks once whether TensorFlow is there.
    """
    import keras

    with _absent("tensorflow"):
        keras.saving.serialize_keras_object(np.zeros(1))


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let what is imported meanwhile do without some packages, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    # How Python knows that there is no such module.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Keep what the backend's libraries write to stderr while they start: the log has it, stderr if starting fails.

    TensorFlow reports every accelerator that it does not find, from C++, whatever its log level.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        held.seek(0)
        log.debug("the backend's libraries on starting:\n%s", held.read().decode(errors="replace"))


def device() -> str:
    """The device that the backend computes on, such as ``cpu:0`` or ``gpu:0``."""
    import keras

    return str(keras.distribution.list_devices()[0])


def backend_errors() -> tuple[type[Exception], ...]:
    """What the backend raises of its own where a program fails; JAX's error is a RuntimeError."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return ()
    import tensorflow as tf

    return (tf.errors.OpError,)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
