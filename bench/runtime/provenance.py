"""Provenance of a result: code, versions, machine and command."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.core.extensions import extension_digests
from bench.core.redaction import redact
from bench.runtime.backend import cores, device

PACKAGES = ("reparam-bench", "keras", "tensorflow", "jax", "jaxlib", "numpy", "mlflow", "optuna", "pandas")


def _git(*arguments: str) -> str | None:
    """Output of a git command in the source tree, or None outside a work tree or without git."""
    try:
        # S607: git is found on the user's PATH, as in their shell.
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The processor's model name, if the system has it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the source tree, ``unknown`` outside one."""
    return _git("rev-parse", "HEAD") or "unknown"


def code_version(backend: str) -> dict[str, str]:
    """Digests of models, harness and the user's files, and the versions of Keras, backend and NumPy.

    Results depend on these beside their configuration.

    Args:
        backend: the Keras backend.
    """
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for package in ("bench", "models") for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    versions = {package: _version(package) for package in ("keras", backend, "numpy")}
    return {"code": digest.hexdigest()[:12], **versions, **extension_digests()}


def command_line() -> str:
    """The command of this process, quoted for a shell, without credentials."""
    # Redacted before quoting: quotes inside an address would hide its end.
    return shlex.join([Path(sys.executable).name, *map(redact, sys.orig_argv[1:])])


def provenance(backend: str) -> dict[str, object]:
    """Commit and dirty state, versions, backend, device and command of this process."""
    changes = _git("status", "--porcelain")
    return {
        "commit": commit(),
        "dirty": "unknown" if changes is None else bool(changes),
        "versions": {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}},
        "backend": backend,
        "device": device(),
        "xla": backend == "jax",
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.platform(),
        "command": command_line(),
    }
