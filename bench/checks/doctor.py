"""What this machine offers a study: packages, backends, devices, energy counters, data, memory, disk, servers.

Nothing is trained or downloaded. Each backend is imported in its own process: a crash is a finding about that backend.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bench.checks.preflight import check_output
from bench.core.environment import search_path
from bench.core.errors import SettingsError
from bench.core.logs import one_line, shorten
from bench.core.redaction import redact
from bench.data.named_sequences import SEQUENCES
from bench.data.registry import BUILT_IN, is_cached
from bench.evaluation.cost.energy import readable_meters
from bench.runtime.backend import BACKENDS, cores
from bench.study.definition import StudySettings

PROJECT = "reparam-bench"
EXTRAS = ("jax", "cuda", "server", "dev")
BACKEND_SECONDS = 120.0
"""Timeout of importing a backend, which takes up to a minute from a slow disk."""
STORE_SECONDS = 60.0
"""Timeout of a tracking server or storage."""
LEAST_MEMORY_GIB = 2.0
"""Free memory that the default study needs."""
LEAST_DISK_GIB = 1.0
"""Free disk that the default study's runs, models and report need."""
_GIB = 2**30
_BACKEND_PROBE = """
import json, sys
sys.modules["sklearn"] = None  # Keras imports it for its wrappers alone: half a second
import keras
precisions, refused = [], {}
for dtype in ("float32", "float64", "float16", "bfloat16"):
    try:
        matrix = keras.ops.ones((8, 8), dtype=dtype)
        if keras.backend.standardize_dtype(keras.ops.matmul(matrix, matrix).dtype) == dtype:
            precisions.append(dtype)
    except Exception as error:
        refused[dtype] = str(error)
found = {"devices": keras.distribution.list_devices(), "precisions": precisions, "refused": refused}
print("\\n" + json.dumps(found))
"""
_TRACKING_PROBE = """
import json, sys
from bench.core.databases import MLFLOW, check_database, is_database, parse_url, sqlite_file
uri = sys.stdin.read()
file = sqlite_file(parse_url(uri)) if is_database(uri) else None
if is_database(uri) and not check_database(uri, MLFLOW, "tracking store"):
    found = "no study yet"
elif file is not None:  # MLflow takes seconds to import.
    from bench.tracking.reading.sqlite import peek_studies
    found = f"{len(peek_studies(file))} studies"
else:
    from bench.tracking.reading.studies import list_studies
    found = f"{len(list_studies(uri))} studies"
print("\\n" + json.dumps(found))
"""
_STORAGE_PROBE = """
import json, sys
from bench.core.databases import OPTUNA, check_database
from bench.search.storage import describe_storage
storage = sys.stdin.read()
is_file = storage.endswith(".journal") or storage.startswith("grpc://")
empty = not is_file and not check_database(storage, OPTUNA, "study storage")
print("\\n" + json.dumps("no search yet" if empty else describe_storage(storage)))
"""


class Status(StrEnum):
    """The state of what was checked."""

    GOOD = "good"
    MISSING = "missing"
    """Optional: the default study runs without it."""
    BROKEN = "broken"
    """The default study needs it."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        group: what it belongs to, such as ``backends``.
        name: what was checked.
        status: its state.
        detail: what was found, or what is wrong.
        remedy: the command or step that fixes it; empty if there is nothing to fix.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Stores:
    """Output folder, MLflow tracking URI and Optuna storage; an address of None is in the output folder."""

    output: Path
    tracking_uri: str | None
    storage: str | None


class _ProbeError(Exception):
    """A program in its own process failed; the message is its last line."""


def examine(stores: Stores) -> list[Finding]:
    """Check everything that can be checked in seconds; a check that raises an error is itself a finding."""
    settings = StudySettings(output=stores.output, tracking_uri=stores.tracking_uri, storage=stores.storage)
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("packages", _check_packages),
        *((name, partial(_check_backend, name)) for name in BACKENDS),
        ("machine", partial(_check_machine, stores.output)),
        ("GPUs", _check_gpus),
        ("energy meter", _check_energy),
        ("data", _check_data),
        ("tracking", partial(_check_store, "tracking", settings.tracking, _TRACKING_PROBE, "--tracking-uri")),
        ("storage", partial(_check_store, "storage", settings.storage_url, _STORAGE_PROBE, "--storage")),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        found = list(pool.map(lambda check: _run_check(*check), checks))
    return [finding for findings in found for finding in findings]


def _run_check(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - any error is a finding
        return [Finding("machine", name, Status.BROKEN, shorten(f"{type(error).__name__}: {error}"))]


def _run_probe(program: str, question: str, seconds: float, **environment: str) -> Any:  # the program's JSON output
    """The output of a short program in its own process; its input, which no process list shows, is ``question``."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of this module
            [sys.executable, "-P", "-c", program],
            input=question,
            env={**os.environ, "PYTHONPATH": search_path(), **environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _ProbeError(f"no answer within {seconds:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        raise _ProbeError(shorten(last[0]).removeprefix("bench.core.errors.TrackingError: "))
    return json.loads(done.stdout.strip().splitlines()[-1])


def _check_packages() -> Iterable[Finding]:
    """Python and the required packages, then the extras, which ``pip check`` would not cover."""
    try:
        requirements = [Requirement(text) for text in requires(PROJECT) or []]
        needed = SpecifierSet(metadata(PROJECT)["Requires-Python"])
    except PackageNotFoundError:
        yield Finding("packages", PROJECT, Status.MISSING, "not installed as a package", "pip install -e .")
        return
    python = platform.python_version()
    ok = needed.contains(python, prereleases=True)
    yield _finding("packages", "python", ok, python if ok else f"{python}, but {needed} is needed", "make PYTHON=…")
    for each in requirements:
        if each.marker is None:
            detail = _installed(each) or "not installed"
            if not (ok := _is_installed(each)) and _installed(each):
                detail += f", but {each.specifier} is needed"
            yield _finding("packages", each.name, ok, detail, f"pip install '{each.name}{each.specifier}'")
    for extra in EXTRAS:
        if own := [each for each in requirements if _belongs_to(each, extra)]:
            lacking = sorted({str(each).partition(";")[0] for each in own if not _is_installed(each)})
            detail = f"without {', '.join(lacking)}" if lacking else f"{len(own)} packages"
            yield _finding("extras", extra, not lacking, detail, f"pip install -e '.[{extra}]'", Status.MISSING)


def _finding(group: str, name: str, ok: bool, detail: str, remedy: str, otherwise: Status = Status.BROKEN) -> Finding:
    return Finding(group, name, Status.GOOD if ok else otherwise, detail, "" if ok else remedy)


def _installed(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _belongs_to(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement applies here with an extra, and not without it."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _is_installed(requirement: Requirement) -> bool:
    """Whether a requirement is met, with its own extras: ``jax[cuda13]`` needs more than ``jax``."""
    installed = _installed(requirement)
    if installed is None or not requirement.specifier.contains(installed, prereleases=True):
        return False
    parts = [Requirement(text) for text in requires(requirement.name) or []] if requirement.extras else []
    return all(_installed(part) for part in parts for extra in requirement.extras if _belongs_to(part, extra))


def _check_backend(name: str) -> Iterable[Finding]:
    """Whether a backend can be imported, its precisions and its devices."""
    # The default study needs the default backend.
    default = name == BACKENDS[0]
    environment = {
        "KERAS_BACKEND": name,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Both backends run at once: neither may reserve an accelerator's memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    try:
        found = _run_probe(_BACKEND_PROBE, "", BACKEND_SECONDS, **environment)
    except _ProbeError as error:
        remedy = f"pip install --force-reinstall {name}" if default else f"pip install -e '.[{name}]'"
        yield Finding("backends", name, Status.BROKEN if default else Status.MISSING, str(error), remedy)
        return
    refused = "".join(f"; {dtype}: {one_line(reason)}" for dtype, reason in found["refused"].items())
    detail = f"{version(name)} on {', '.join(found['devices'])}; {', '.join(found['precisions'])}{refused}"
    yield Finding("backends", name, Status.GOOD, detail)


def _check_gpus() -> Iterable[Finding]:
    """The NVIDIA devices and their memory, by the driver's own tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield Finding("machine", "GPUs", Status.GOOD, "none (no nvidia-smi)")
        return
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    # S603: the driver's own tool, with fixed arguments.
    done = subprocess.run(command, capture_output=True, text=True, timeout=STORE_SECONDS, check=False)  # noqa: S603
    if done.returncode:
        detail = one_line(done.stdout + done.stderr) or f"nvidia-smi ended with status {done.returncode}"
        yield Finding("machine", "GPUs", Status.MISSING, detail, "check the driver; studies run on the processor")
        return
    for number, line in enumerate(done.stdout.strip().splitlines()):
        yield Finding("machine", f"GPU {number}", Status.GOOD, one_line(line))


def _check_machine(output: Path) -> Iterable[Finding]:
    memory = psutil.virtual_memory()
    existing = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    disk = shutil.disk_usage(existing)
    yield Finding("machine", "processor", Status.GOOD, f"{cores()} of {os.cpu_count()} cores may be used")
    for name, free, total, least, remedy in (
        ("memory", memory.available, memory.total, LEAST_MEMORY_GIB, "end other programs"),
        ("disk", disk.free, disk.total, LEAST_DISK_GIB, "free some, or give --output on another disk"),
    ):
        ok = free >= least * _GIB
        detail = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f}" + ("" if ok else f"; {least:.0f} GiB are needed")
        yield _finding("machine", name, ok, detail, remedy)
    try:
        check_output(output)
        yield Finding("machine", "output folder", Status.GOOD, str(output))
    except SettingsError as error:
        yield Finding("machine", "output folder", Status.BROKEN, one_line(str(error)), "give another --output")


def _check_energy() -> Iterable[Finding]:
    meters = readable_meters()
    remedy = "pip install -e '.[cuda]' for NVIDIA devices; processors' counters (RAPL) mostly need root"
    detail = ", ".join(meters) or "none can be read"
    yield _finding("machine", "energy meter", bool(meters), detail, remedy, Status.MISSING)


def _check_data() -> Iterable[Finding]:
    for name in BUILT_IN:
        ok, remedy = is_cached(name), "the first study that uses it downloads it"
        if name in SEQUENCES:
            remedy = SEQUENCES[name].remedy
        yield _finding("data", name, ok, "at hand" if ok else "not in the cache", remedy, Status.MISSING)


def _check_store(name: str, uri: str, program: str, option: str) -> Iterable[Finding]:
    file = Path(uri.removeprefix("sqlite:///"))
    if (uri.startswith("sqlite:///") or uri.endswith(".journal")) and not file.exists():
        yield Finding("stores", name, Status.GOOD, one_line(f"{file} will be made by the first study"))
        return
    try:
        found = _run_probe(program, uri, STORE_SECONDS)
        yield Finding("stores", name, Status.GOOD, one_line(f"{uri}: {found}"))
    except _ProbeError as error:
        message = str(error)
        detail = message if redact(uri) in message else one_line(f"{uri}: {message}")
        yield Finding("stores", name, Status.BROKEN, detail, f"start it, or give another {option}")
