"""What a process finds set once it has selected a backend: each in a process of its own."""

import json
import os
import platform
import pwd
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.environment import home, own_cache
from bench.data.cache import cache_folder
from bench.runtime.allocator import OWN_SETTINGS

ROOT = Path(__file__).resolve().parents[3]


def printed(expression: str, backend: str = "jax", **variables: str) -> str:
    """What an expression is in a process that has selected a backend."""
    script = (
        f"import sys; from bench.runtime.backend import select_backend; select_backend({backend!r}); "
        f"import {backend}; print({expression})"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "KERAS_", "XDG_"))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={**others, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


ON_JAX = """
import json
import sys
from bench.runtime.backend import select_backend
select_backend("jax")
import jax
import keras
folder, imported = sys.argv[1], [name for name in ("tensorflow", "matplotlib", "sklearn") if name in sys.modules]
found = {
    "programs": jax.config.jax_compilation_cache_dir,
    "imported": imported,
    "floatx": keras.config.floatx(),
    "policy": keras.config.dtype_policy().name,
    "layout": keras.config.image_data_format(),
    "epsilon": keras.config.epsilon(),
}
from models import VAEConfig, build_model, load_model
build_model(VAEConfig(hidden_sizes=(4,)), (2, 2, 1), 2).save(folder + "/m.keras")
load_model(folder + "/m.keras")
found["imported_after_loading"] = [name for name in ("tensorflow", "matplotlib") if name in sys.modules]
import sklearn.base
import tensorflow
found["later"] = [sklearn.base.__name__, tensorflow.__name__, tensorflow.constant([2]).numpy().tolist()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    """What a process on JAX finds, whose user has a keras.json of other settings: a start takes seconds."""
    folder = tmp_path_factory.mktemp("user")
    settings = {"floatx": "float64", "epsilon": 1e-3, "backend": "tensorflow", "image_data_format": "channels_first"}
    (folder / "keras.json").write_text(json.dumps(settings))
    others = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "KERAS_", "XDG_"))}
    environment = {**others, "XDG_CACHE_HOME": str(folder), "KERAS_HOME": str(folder)}
    command = [sys.executable, "-c", ON_JAX, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_what_jax_compiled_is_kept_for_later_processes_but_where_the_user_has_it(on_jax, tmp_path):
    cache, found = on_jax
    assert found["programs"] == str(cache / "reparam-bench" / "jax")
    folder = "jax.config.jax_compilation_cache_dir"
    assert printed(folder, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")


PAGES_FETCHED = """
import resource
import numpy as np
from bench.runtime.backend import select_backend
select_backend('jax')
np.ones(10 * 2**20, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(10 * 2**20, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is that of another C library")
def test_memory_that_an_array_gave_back_serves_the_next_but_where_the_user_has_set_the_allocator():
    def pages(**variables: str) -> int:
        others = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
        # NumPy asks for larger pages, of which too few are fetched to be seen among others.
        environment = {**others, "NUMPY_MADVISE_HUGEPAGE": "0", **variables}
        command = [sys.executable, "-c", PAGES_FETCHED]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    whole_array = 40 * 2**20 // resource.getpagesize()
    assert pages() < whole_array / 10
    assert pages(MALLOC_ARENA_MAX="8") >= whole_array


MEMORY_KEPT = """
import numpy as np
import psutil
from bench.runtime.allocator import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
arrays = [np.ones(2**20, np.float32) for _ in range(50)]
last = np.ones(2**20, np.float32)
del arrays
kept = psutil.Process().memory_info().rss
give_back_freed_memory()
print(kept - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is that of another C library")
def test_memory_that_arrays_gave_back_goes_to_the_system_when_that_is_wanted():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_KEPT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 40 * 2**22


def test_precision_and_layout_are_those_of_a_run_whatever_the_users_keras_json_says(on_jax):
    _, found = on_jax
    assert [found[name] for name in ("floatx", "policy", "layout")] == ["float32", "float32", "channels_last"]
    assert found["epsilon"] == 1e-7


def test_no_package_is_imported_that_keras_can_do_without_and_each_can_be_imported_later(on_jax):
    _, found = on_jax
    assert found["imported"] == []
    assert found["later"] == ["sklearn.base", "tensorflow", [2]]
    packages = ["jax", "matplotlib", "sklearn"]
    script = f"[name in sys.modules for name in {packages}], __import__('sklearn.base').__name__"
    assert printed(script, "tensorflow") == "[False, False, False] sklearn"


def test_a_flag_that_xla_does_not_know_is_named():
    script = "from bench.runtime.backend import select_backend; select_backend('jax')"
    environment = {**os.environ, "XLA_FLAGS": "--xla_nonsense=1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Unknown flag in XLA_FLAGS: --xla_nonsense=1" in done.stderr


def test_keras_on_jax_saves_and_loads_a_model_without_tensorflow(on_jax):
    folder, found = on_jax
    assert (folder / "m.keras").stat().st_size > 0
    assert "tensorflow" not in found["imported_after_loading"]


def test_a_user_without_a_home_has_no_cache_folder(monkeypatch):
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert home() is None
    assert own_cache() is None
    assert cache_folder().parts[-2:] == (".keras", "datasets")
