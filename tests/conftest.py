"""Shared by all tests: the Keras backend, reproducible weights, double precision.

Keras is imported inside the fixtures alone: tests of the reports and of the command line run without a framework.
"""

import os

# The threads of OpenBLAS wait by spinning, each for a core that another process of the tests has: products of small
# matrices take ten times as long by two threads as by one. It is read where NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
# The folders of the tests mirror those of the project: its root must come first for `import models` to mean the latter.
sys.path.insert(0, str(ROOT))

# Databases and journals are synced thousands of times, and removed: in memory that takes no time.
MEMORY = Path("/dev/shm")  # noqa: S108
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK)
    and shutil.disk_usage(MEMORY).free > 4 * 2**30
    # Some tests write programs there.
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)

# As the project has it, for a test module may import MLflow before the project does.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Lets JAX hold float64 where a test asks for it; models of the default policy stay float32.
os.environ.setdefault("JAX_ENABLE_X64", "1")
# JAX compiles each operation for each shape, which would be most of the tests' time: keep what it compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax_programs"))
# As the project has it: JAX cannot evict entries that a process without a limit has written.
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


LONGEST = (
    "studies/test_interruption.py",
    "faults/test_fault_injection.py",
    "bench/execution/test_trial.py",
    "models/base/test_likelihood_model.py",
    "studies/test_notebook.py",
    "browser/test_report_page.py",
    "browser/test_mlflow_pages.py",
    "bench/training/test_loop.py",
    "bench/tracking/test_outbox.py",
    "studies/test_lost_tracking_store.py",
    "bench/workflows/test_run.py",
    "bench/execution/test_study_clock.py",
    "bench/checks/test_conformance.py",
    "bench/training/test_rescue.py",
    "studies/test_gradient_study.py",
    "studies/test_train_sizes.py",
    "studies/test_own_sequences.py",
    "studies/test_own_data.py",
)
"""Files whose tests take half a minute or more: where processes share the files, these come first, that none is last
and alone."""

SLOW_ON_JAX = (
    "bench/evaluation/quality/test_classifier.py",
    "bench/evaluation/test_annealing.py",
    "bench/execution/test_speeds.py",
    "bench/training/test_rescue.py",
    "bench/study/test_plan.py",
    "bench/workflows/test_evaluate.py",
    "bench/workflows/test_reproduce.py",
    "bench/workflows/test_run.py",
    "models/autoregressive/test_autoregressive.py",
    "models/base/test_observations.py",
    "models/bijections/test_elementwise.py",
    "models/bijections/test_preprocessing.py",
    "models/flows/test_dequantisation.py",
    "models/flows/test_categorical_encoding.py",
    "models/glow/test_glow.py",
    "models/jet/test_jet.py",
    "models/vae/test_gradient_estimators.py",
    "models/vae/test_networks.py",
    "models/vae/test_recurrent.py",
    "models/vae/test_vae.py",
    "peers/test_normflows_fixture.py",
)
"""Files whose tests on JAX are slow ones: they test what is the same on every backend (what is not, such as the sums of
:mod:`models.base.distributions`, has quick tests of its own), and JAX compiles for long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; leave what JAX compiles for long to its slow tests."""
    long_on_jax = {ROOT / "tests" / name for name in SLOW_ON_JAX}
    for item in items:
        is_slow = item.get_closest_marker("slow_on_jax") or item.path in long_on_jax
        if os.environ["KERAS_BACKEND"] == "jax" and is_slow:
            item.add_marker("slow")
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """Have Python look for cycles among what tests made alone; a look through all else takes a second each time."""
    gc.collect()
    gc.freeze()
    # Whole looks follow from the memory that is held, by `_freed_models`.
    gc.set_threshold(700, 10, 1_000_000)


MOST_GROWTH = 2**28
"""Bytes by which a process may grow before it looks for models that nobody holds."""


@pytest.fixture(scope="session")
def _bytes_left() -> dict[str, int]:
    """What this process held after it last looked for such models."""
    return {"bytes": 0}


@pytest.fixture(autouse=True)
def _freed_models(_bytes_left: dict[str, int]) -> Iterator[None]:
    """Free models that end in cycles: Python counts their few objects, not their programs, and looks too late."""
    yield
    process = psutil.Process()
    if process.memory_info().rss > _bytes_left["bytes"] + MOST_GROWTH:
        from bench.runtime.allocator import give_back_freed_memory

        gc.collect()
        give_back_freed_memory()
        _bytes_left["bytes"] = process.memory_info().rss


@pytest.fixture(scope="session")
def _keras() -> Any:
    """Keras as a study has it, but for the look through all memory at each new model."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.clear_session = partial(keras.utils.clear_session, free_memory=False)
    return keras


@pytest.fixture(scope="module", autouse=True)
def _keras_of_module(request: pytest.FixtureRequest) -> None:
    """Have Keras so before the first fixture of a module trains: what is trained again has to come out the same."""
    if any(item.path == request.path and "backend" in item.keywords for item in request.session.items):
        request.getfixturevalue("_keras")


@pytest.fixture(autouse=True)
def _seeded_keras(request: pytest.FixtureRequest) -> None:
    """Start every backend test from the same names and seeds."""
    if "backend" in request.keywords:
        keras = request.getfixturevalue("_keras")
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)


UNDRAWN = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'


@contextmanager
def without_drawing() -> Iterator[None]:
    """In the block figures are made and matplotlib does not draw them."""
    from reports.figures import matplotlib as static

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static, "draw", lambda figure, styles: UNDRAWN)
        patch.setattr(static, "draw_with_pdf", lambda figure, styles: (UNDRAWN, b"%PDF"))
        yield


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Figures are made and matplotlib does not draw them, which takes most of a page's time: for what a page says."""
    with without_drawing():
        yield


@pytest.fixture
def undrawn_here() -> Iterator[None]:
    """The same for one test, of a module in which others are of what is drawn."""
    with without_drawing():
        yield


@pytest.fixture(scope="session")
def keep_classifier(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Any, Path], None]:
    """Put the trained feature extractor of a data set into a study's output folder: training one takes seconds."""
    # Without pytest's cache (-p no:cacheprovider) it is trained once a session.
    cache = getattr(request.config, "cache", None)
    kept = tmp_path_factory.mktemp("extractors") if cache is None else cache.mkdir("extractors")

    def keep(tuning: Any, output: Path) -> None:
        from bench.evaluation.quality import must_be_trained, open_extractor

        if must_be_trained("classifier", tuning, kept):
            open_extractor("classifier", tuning, kept)
        shutil.copytree(kept, output / "extractors", dirs_exist_ok=True)

    return keep


@contextmanager
def forgotten_registrations() -> Iterator[None]:
    """What is registered in the block, and which files it imports as extensions, is forgotten after it."""
    # Ours are registered where they are defined.
    for module in ("models.families", "bench.evaluation.evaluator", "reports.pages.write"):
        import_module(module)
    from bench.core import extensions
    from bench.core.metrics import METRICS
    from bench.data import registry
    from bench.evaluation.metrics import MEASURES
    from models.base.registry import _FAMILIES
    from reports.figures.registry import _FIGURES

    registries = (extensions._loaded, extensions._code, METRICS, MEASURES, registry._REGISTERED, _FAMILIES, _FIGURES)
    before = [each.copy() for each in registries]
    for name in [name for name, family in _FAMILIES.items() if not family.is_own]:
        del _FAMILIES[name]
    extensions._loaded.clear()
    extensions._code.clear()
    try:
        yield
    finally:
        for each, earlier in zip(registries, before, strict=True):
            each.clear()
            each.update(earlier)


@pytest.fixture
def own_registries() -> Iterator[None]:
    """What the test registers is forgotten after it."""
    with forgotten_registrations():
        yield


@pytest.fixture(scope="module")
def own_registries_of_module() -> Iterator[None]:
    """What the module's tests register is forgotten after them."""
    with forgotten_registrations():
        yield


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
