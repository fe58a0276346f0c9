"""Measures energy, if the device has a counter that may be read."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.runtime.backend import device

POWERCAP = Path("/sys/class/powercap")
LARGEST_WATTS = 500.0
"""Of a processor's package: no server's draws more for long, by the thermal design power of the largest of 2025."""


@dataclass(frozen=True)
class _Counter:
    """One energy counter: its value in joules, and the value at which it wraps to 0 (None if never)."""

    name: str
    joules: float
    wraps_at: float | None


class EnergyMeter:
    """Joules between entering and leaving a ``with`` block, once a backend is selected.

    The meter is that of the accelerator that this process computes on (NVML, total energy since the driver was loaded),
    or that of the processor's packages (RAPL) where these do. Either counts the whole device, with others' work on it.

    Attributes:
        joules: energy of the block; None if there is no counter, if it may not be read, or if it was read so seldom
            that it may have begun again more than once in between.
        source: which counters were read.
    """

    def __init__(self) -> None:
        self.joules: float | None = None
        self.source = ""

    def __enter__(self) -> EnergyMeter:
        self._passed, self._latest, self._at = 0.0, _read(), time.monotonic()
        return self

    def read(self) -> None:
        """Add what has passed: within a long block, as a processor's counter begins again after some minutes."""
        now, at = _read(), time.monotonic()
        is_same = bool(now) and [each.name for each in now] == [each.name for each in self._latest]
        pairs = zip(self._latest, now, strict=True) if is_same else ()
        self._passed += sum(_difference(*both, at - self._at) for both in pairs) if is_same else math.nan
        self._latest, self._at = now, at

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.read()
        if math.isfinite(self._passed):
            self.joules, self.source = self._passed, ", ".join(each.name for each in self._latest)


def readable_meters() -> list[str]:
    """Names of the counters that an :class:`EnergyMeter` may read here: an accelerator's, and the processor's."""
    return [counter.name for counter in [*_nvml(), *_rapl()]]


def _difference(before: _Counter, after: _Counter, seconds: float) -> float:
    """The joules by which a counter advanced; NaN where they may have been a whole range more."""
    passed = after.joules - before.joules
    if after.wraps_at is None:
        return passed
    passed %= after.wraps_at
    return passed if passed + after.wraps_at > LARGEST_WATTS * seconds else math.nan


def _read() -> list[_Counter]:
    # Beside the device that trains, the other one is idle, or is others'.
    return _rapl() if device().startswith("cpu") else _nvml()


def _nvml() -> list[_Counter]:
    """The energy counter of the NVIDIA device (from Volta on) that this process computes on, if it computes on one."""
    if importlib.util.find_spec("pynvml") is None:
        return []
    nvml: Any = importlib.import_module("pynvml")
    # The backend's first device is the first of these, an index or a UUID. NVML itself sees the machine's devices.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        nvml.nvmlInit()
        by_index = first.isdecimal()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(first)) if by_index else nvml.nvmlDeviceGetHandleByUUID(first)
        # NVML counts millijoules. The source is the kind of device: figures of workers on like ones are comparable.
        joules = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        return [_Counter(f"NVML {nvml.nvmlDeviceGetName(handle)}", joules, None)]
    except nvml.NVMLError:
        return []


def _rapl() -> list[_Counter]:
    """The energy counters of all processor packages; on most systems root alone may read them."""
    counters = []
    for folder in sorted(POWERCAP.glob("intel-rapl:[0-9]*")):
        if folder.name.count(":") > 1:
            continue  # A part of a package, which the package's counter includes.
        try:
            if not (folder / "name").read_text().startswith("package"):
                continue  # The whole platform, which includes the packages.
            # RAPL counts microjoules.
            files = (folder / "energy_uj", folder / "max_energy_range_uj")
            reading, wraps_at = (int(file.read_text()) / 1e6 for file in files)
        except OSError:
            return []
        counters.append(_Counter(f"RAPL {folder.name}", reading, wraps_at))
    return counters
