"""What this machine offers to a study: packages, backends, devices, meters, data, room, stores.

Nothing is trained or downloaded. Each backend is imported in a process of its own: one that crashes or hangs is a
finding about that backend.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
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
from bench.core.errors import SettingsError
from bench.core.logs import one_line, shortened
from bench.core.redaction import redact
from bench.data.registry import BUILT_IN, is_at_hand
from bench.evaluation.cost.energy import readable_meters
from bench.runtime.backend import BACKENDS, cores

PROJECT = "reparam-bench"
EXTRAS = ("jax", "cuda", "server", "dev")
BACKEND_SECONDS = 120.0
"""After so long an import is taken to hang; a cold one from a slow disk may well take half of it."""
STORE_SECONDS = 60.0
"""After so long a store is taken not to answer."""
LEAST_MEMORY_GIB = 2.0
"""Free memory below which the default study may not get through."""
LEAST_DISK_GIB = 1.0
"""Free disk below which the default study's runs, models and report may not fit."""
_GIB = 2**30
_BACKEND_PROBE = """
import json, sys
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
from bench.core.databases import MLFLOW, check_database, is_database
from bench.tracking.reading.reader import list_studies
uri = sys.stdin.read()
empty = is_database(uri) and not check_database(uri, MLFLOW, "tracking store")
print("\\n" + json.dumps("no study yet" if empty else f"{len(list_studies(uri))} studies"))
"""
_STORAGE_PROBE = """
import json, sys
from bench.core.databases import OPTUNA, check_database
from bench.search.storage import look_into
storage = sys.stdin.read()
empty = not storage.endswith(".journal") and not check_database(storage, OPTUNA, "study storage")
print("\\n" + json.dumps("no search yet" if empty else look_into(storage)))
"""


class Status(StrEnum):
    """How a piece of the machine is."""

    GOOD = "good"
    MISSING = "missing"
    """Something optional is not there; the default study runs without it."""
    BROKEN = "broken"
    """The default study needs it, and it is not there or does not work."""


@dataclass(frozen=True)
class Finding:
    """One piece of the machine.

    Attributes:
        group: what it belongs to, such as ``backends``.
        name: what it is.
        status: how it is.
        detail: what was found, or what is wrong.
        remedy: the command or the step that mends it; empty where nothing needs mending.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Stores:
    """Where a study would keep its own: an output folder, an MLflow tracking URI and an Optuna storage.

    An address that is None lies in the output folder, where it is made on demand.
    """

    output: Path
    tracking_uri: str | None
    storage: str | None


def examine(stores: Stores) -> list[Finding]:
    """Everything that can be found out in seconds; a piece that breaks while it is looked at is itself a finding."""
    pieces: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("packages", _packages),
        *((name, partial(_backend, name)) for name in BACKENDS),
        ("machine", lambda: _machine(stores.output)),
        ("GPUs", _gpus),
        ("energy meter", _energy),
        ("data", _data),
        ("tracking", lambda: [_tracking(stores)]),
        ("storage", lambda: [_storage(stores)]),
    ]
    with ThreadPoolExecutor(len(pieces)) as pool:
        found = list(pool.map(lambda piece: _survived(*piece), pieces))
    return [finding for findings in found for finding in findings]


def _survived(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - whatever breaks is what is asked for
        return [Finding("machine", name, Status.BROKEN, shortened(f"{type(error).__name__}: {error}"))]


class _ProbeError(Exception):
    """A program that looked at a piece of the machine failed; the message is its last word."""


def _asked(program: str, question: str, seconds: float, **environment: str) -> Any:  # what the program prints as JSON
    """What a short program in a process of its own finds out; ``question`` is its input, and in no process list."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    try:
        # S603: this interpreter, and a program that stands in this file.
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program],
            input=question,
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _ProbeError(f"no answer within {seconds:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        raise _ProbeError(shortened(last[0]).removeprefix("bench.core.errors.TrackingError: "))
    return json.loads(done.stdout.strip().splitlines()[-1])


def _packages() -> list[Finding]:
    """Python and each required package against what the project asks for, then the extras."""
    try:
        requirements = [Requirement(text) for text in requires(PROJECT) or []]
        needed = SpecifierSet(metadata(PROJECT)["Requires-Python"])
    except PackageNotFoundError:
        detail = "not installed as a package, so that its requirements are unknown"
        return [Finding("packages", PROJECT, Status.MISSING, detail, "pip install -e .")]
    python = platform.python_version()
    found = [
        Finding("packages", "python", Status.GOOD, python)
        if needed.contains(python, prereleases=True)
        else Finding("packages", "python", Status.BROKEN, f"{python}, but {needed} is needed", "make PYTHON=…")
    ]
    extras: dict[str, list[Requirement]] = {}
    for requirement in requirements:
        if requirement.marker is None:
            found.append(_required(requirement))
            continue
        for extra in EXTRAS:
            if _belongs_to(requirement, extra):
                extras.setdefault(extra, []).append(requirement)
    return [*found, *(_extra(name, needed) for name, needed in extras.items())]


def _installed(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _required(requirement: Requirement) -> Finding:
    installed = _installed(requirement)
    remedy = f"pip install '{requirement.name}{requirement.specifier}'"
    if installed is None:
        return Finding("packages", requirement.name, Status.BROKEN, "not installed", remedy)
    if not requirement.specifier.contains(installed, prereleases=True):
        detail = f"{installed}, but {requirement.specifier} is needed"
        return Finding("packages", requirement.name, Status.BROKEN, detail, remedy)
    return Finding("packages", requirement.name, Status.GOOD, installed)


def _belongs_to(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement holds here with an extra, and not without it."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _lacks(requirement: Requirement) -> bool:
    """Whether a requirement is not met, its own extras included: ``jax[cuda13]`` needs more than ``jax``."""
    installed = _installed(requirement)
    if installed is None or not requirement.specifier.contains(installed, prereleases=True):
        return True
    parts = [Requirement(text) for text in requires(requirement.name) or []]
    return any(_installed(part) is None for part in parts for extra in requirement.extras if _belongs_to(part, extra))


def _extra(name: str, needed: list[Requirement]) -> Finding:
    lacking = sorted({str(each).partition(";")[0] for each in needed if _lacks(each)})
    if not lacking:
        return Finding("extras", name, Status.GOOD, f"{len(needed)} packages")
    return Finding("extras", name, Status.MISSING, f"without {', '.join(lacking)}", f"pip install -e '.[{name}]'")


def _backend(name: str) -> list[Finding]:
    """Whether a backend can be imported, its precisions and its devices."""
    # The default study needs the default backend.
    default = name == BACKENDS[0]
    environment = {
        "KERAS_BACKEND": name,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Both backends look at once: neither may take an accelerator's memory for itself.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    try:
        found = _asked(_BACKEND_PROBE, "", BACKEND_SECONDS, **environment)
    except _ProbeError as error:
        remedy = f"pip install --force-reinstall {name}" if default else f"pip install -e '.[{name}]'"
        return [Finding("backends", name, Status.BROKEN if default else Status.MISSING, str(error), remedy)]
    refused = "".join(f"; {dtype}: {one_line(reason)}" for dtype, reason in found["refused"].items())
    detail = f"{version(name)} on {', '.join(found['devices'])}; {', '.join(found['precisions'])}{refused}"
    return [Finding("backends", name, Status.GOOD, detail)]


def _gpus() -> list[Finding]:
    """The NVIDIA devices and their memory, as the driver's own tool tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return [Finding("machine", "GPUs", Status.GOOD, "none (no nvidia-smi)")]
    # S603: the driver's own tool, with fixed arguments.
    done = subprocess.run(  # noqa: S603
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=STORE_SECONDS,
        check=False,
    )
    if done.returncode:
        detail = one_line(done.stdout + done.stderr) or f"nvidia-smi ended with status {done.returncode}"
        return [Finding("machine", "GPUs", Status.MISSING, detail, "check the driver; studies run on the processor")]
    return [
        Finding("machine", f"GPU {number}", Status.GOOD, one_line(line))
        for number, line in enumerate(done.stdout.strip().splitlines())
    ]


def _machine(output: Path) -> list[Finding]:
    memory = psutil.virtual_memory()
    existing = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    disk = shutil.disk_usage(existing)
    return [
        Finding("machine", "processor", Status.GOOD, f"{cores()} of {os.cpu_count()} cores may be used"),
        _room("memory", memory.available, memory.total, LEAST_MEMORY_GIB, "end what else runs here"),
        _room("disk", disk.free, disk.total, LEAST_DISK_GIB, "make room, or give --output on another disk"),
        _output_folder(output),
    ]


def _output_folder(output: Path) -> Finding:
    try:
        check_output(output)
    except SettingsError as error:
        return Finding("machine", "output folder", Status.BROKEN, one_line(str(error)), "give another --output")
    return Finding("machine", "output folder", Status.GOOD, str(output))


def _room(name: str, free: int, total: int, least_gib: float, remedy: str) -> Finding:
    detail = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f}"
    if free < least_gib * _GIB:
        return Finding("machine", name, Status.BROKEN, f"{detail}; {least_gib:.0f} GiB are needed", remedy)
    return Finding("machine", name, Status.GOOD, detail)


def _energy() -> list[Finding]:
    meters = readable_meters()
    if meters:
        return [Finding("machine", "energy meter", Status.GOOD, ", ".join(meters))]
    remedy = "pip install -e '.[cuda]' for NVIDIA devices; processors' meters (RAPL) are mostly root's"
    return [Finding("machine", "energy meter", Status.MISSING, "none can be read", remedy)]


def _data() -> list[Finding]:
    return [
        Finding("data", name, Status.GOOD, "at hand")
        if is_at_hand(name)
        else Finding("data", name, Status.MISSING, "not in the cache", "the first study that uses it downloads it")
        for name in BUILT_IN
    ]


def _tracking(stores: Stores) -> Finding:
    uri = stores.tracking_uri or f"sqlite:///{stores.output.resolve() / 'mlflow.db'}"
    return _store("tracking", uri, _TRACKING_PROBE, "--tracking-uri")


def _storage(stores: Stores) -> Finding:
    uri = stores.storage or str(stores.output.resolve() / "optuna.journal")
    return _store("storage", uri, _STORAGE_PROBE, "--storage")


def _store(name: str, uri: str, program: str, option: str) -> Finding:
    file = Path(uri.removeprefix("sqlite:///"))
    if (uri.startswith("sqlite:///") or uri.endswith(".journal")) and not file.exists():
        return Finding("stores", name, Status.GOOD, one_line(f"{file} will be made by the first study"))
    try:
        found = _asked(program, uri, STORE_SECONDS)
    except _ProbeError as error:
        told = str(error)
        detail = told if redact(uri) in told else one_line(f"{uri}: {told}")
        return Finding("stores", name, Status.BROKEN, detail, f"start it, or give another {option}")
    return Finding("stores", name, Status.GOOD, one_line(f"{uri}: {found}"))
