"""What a process finds set once it has selected a backend: each in a process of its own."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.runtime.allocator import OWN_SETTINGS

ROOT = Path(__file__).resolve().parents[2]


def printed(expression: str, **variables: str) -> str:
    """What an expression is in a process that has selected JAX."""
    script = f"from bench.runtime.backend import select_backend; select_backend('jax'); import jax; print({expression})"
    others = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "KERAS_", "XDG_"))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={**others, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_jax_compiled_is_kept_for_later_processes_but_where_the_user_has_it(tmp_path):
    folder = "jax.config.jax_compilation_cache_dir"
    assert printed(folder, XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "reparam-bench" / "jax")
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
