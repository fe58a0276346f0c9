"""Measures energy, if the device has a counter that may be read."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class _Counter:
    """One energy counter: its value in joules, and the value at which it wraps to 0 (None if never)."""

    name: str
    joules: float
    wraps_at: float | None


class EnergyMeter:
    """Joules between entering and leaving a ``with`` block.

    The meter is the accelerator's (NVML, total energy since the driver was loaded), else that of the processor's
    packages (RAPL). Either counts the whole device, with other processes on it.

    Attributes:
        joules: energy of the block; None if there is no counter, or it may not be read.
        source: which counters were read.
    """

    def __init__(self) -> None:
        self.joules: float | None = None
        self.source = ""

    def __enter__(self) -> EnergyMeter:
        self._before = _read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        after = _read()
        names = [counter.name for counter in after]
        if not names or names != [counter.name for counter in self._before]:
            return
        self.joules = sum(map(_difference, self._before, after))
        self.source = ", ".join(names)


def readable_meters() -> list[str]:
    """Names of the counters that an :class:`EnergyMeter` can read here."""
    return [counter.name for counter in _read()]


def _difference(before: _Counter, after: _Counter) -> float:
    passed = after.joules - before.joules
    return passed if passed >= 0 or after.wraps_at is None else passed + after.wraps_at


def _read() -> list[_Counter]:
    return _nvml() or _rapl()


def _nvml() -> list[_Counter]:
    """The energy counters of all NVIDIA devices (from Volta on)."""
    if importlib.util.find_spec("pynvml") is None:
        return []
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return [
            # NVML counts millijoules.
            _Counter(f"NVML device {i}", nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, None)
            for i, handle in enumerate(handles)
        ]
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
