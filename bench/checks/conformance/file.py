"""Checks the families of a user's file, on each backend in a process of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.checks.conformance.family import check_family
from bench.checks.conformance.outcome import CheckResult, Outcome
from bench.core.errors import SettingsError
from bench.core.extensions import load_extension
from bench.runtime.backend import select_backend
from bench.runtime.backend_process import run_on_backend
from models.base.registry import families, registered


def registered_by(file: Path) -> list[str]:
    """Import a user's file; the names of the families that it registers.

    Raises:
        SettingsError: it cannot be imported, or registers no family.
    """
    path = load_extension(file).path
    found = [name for name, family in families().items() if family.source == path]
    if not found:
        raise SettingsError(
            f"{str(file)!r} registers no model family: it needs register_family(MyConfig, MyModel) from models"
        )
    return found


def check_file(file: Path, backend: str, settings: dict[str, Any]) -> list[CheckResult]:
    """Check all families that a user's file registers, on one backend, in a process of its own.

    Args:
        file: the user's file.
        backend: the Keras backend.
        settings: settings of the configuration that differ from the default.

    Raises:
        SettingsError: the file cannot be imported, or registers no family; a setting is unknown or out of range.
    """
    job = {"file": str(file.resolve()), "settings": settings}
    rows = run_on_backend("bench.checks.conformance", backend, job)
    return [CheckResult(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows]


def run_job(backend: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Check the families of a job's file on a backend.

    Args:
        backend: the Keras backend.
        job: the ``file``, and the ``settings`` of :func:`check_file`.

    Raises:
        SettingsError: as for :func:`check_file`.
    """
    from pydantic import ValidationError

    from bench.core.validation import format_validation_error

    select_backend(backend)
    results = []
    for name in registered_by(Path(job["file"])):
        try:
            config = registered(name).config.model_validate(job["settings"])
        except ValidationError as error:
            raise SettingsError(f"{name}: {format_validation_error(error)}; every setting needs a default") from error
        results += [asdict(result) for result in check_family(config)]
    return results
