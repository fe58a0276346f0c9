"""What a process finds set once it has selected a backend: each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def told_by(expression: str, **variables: str) -> str:
    """What an expression is in a process that has selected JAX."""
    script = f"from bench.backend import select_backend; select_backend('jax'); import jax; print({expression})"
    others = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "KERAS_", "XDG_"))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={**others, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_jax_compiled_is_kept_for_later_processes_but_where_the_user_has_it(tmp_path):
    folder = "jax.config.jax_compilation_cache_dir"
    assert told_by(folder, XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "reparam-bench" / "jax")
    assert told_by(folder, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")
