"""Shared by all tests: the Keras backend, reproducible weights, double precision.

Keras is imported inside the fixtures alone: tests of the reports and of the command line run without a framework.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# The folders of the tests mirror those of the project: its root must come first for `import models` to mean the latter.
sys.path.insert(0, str(ROOT))

# As the project has it, for a test module may import MLflow before the project does.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Lets JAX hold float64 where a test asks for it; models of the default policy stay float32.
os.environ.setdefault("JAX_ENABLE_X64", "1")
# JAX compiles each operation for each shape, which would be most of the tests' time: keep what it compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(autouse=True)
def _seeded_keras(request: pytest.FixtureRequest) -> None:
    """Start every backend test from the same names and seeds."""
    if "backend" in request.keywords:
        import keras

        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def keep_classifier(request: pytest.FixtureRequest) -> Callable[[Any, Path], None]:
    """Put the trained feature extractor of a data set into a study's output folder: training one takes seconds."""
    kept = request.config.cache.mkdir("extractors")

    def keep(tuning: Any, output: Path) -> None:
        from bench.evaluation.quality import open_extractor

        open_extractor("classifier", tuning, kept)
        shutil.copytree(kept, output / "extractors", dirs_exist_ok=True)

    return keep


@pytest.fixture
def float64() -> Iterator[None]:
    """Weights and computations in double precision."""
    import keras

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def perturb() -> Callable[..., Any]:
    """Add noise to every trainable weight: initial values such as zeros and rotations hide errors of sign and scale."""

    def perturbed(layer: Any, scale: float = 0.3, seed: int = 1) -> Any:
        rng = np.random.default_rng(seed)
        for weight in layer.trainable_variables:
            weight.assign(np.asarray(weight) + scale * rng.standard_normal(weight.shape))
        return layer

    return perturbed
