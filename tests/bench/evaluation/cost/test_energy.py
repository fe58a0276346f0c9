"""The energy meter, on meters made of files and of a stand-in for NVIDIA's library."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import bench.evaluation.cost.energy as energy
from bench.evaluation.cost.energy import EnergyMeter


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A processor with two packages, one of which has a part; its meters are set by the test."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: None)

    def set_to(*readings):
        names = ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0")
        for name, reading in zip(names, readings, strict=True):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / "energy_uj").write_text(f"{reading}\n")
            (folder / "max_energy_range_uj").write_text("1000000000\n")
            (folder / "name").write_text(f"package-{name[-1]}\n")

    return set_to


def test_the_packages_energy_is_what_their_counters_advanced_by(packages):
    packages(5_000_000, 1_000_000, 77)
    with EnergyMeter() as meter:
        packages(7_500_000, 1_250_000, 99_000_000)
    assert meter.joules == pytest.approx(2.75)
    assert meter.source == "RAPL intel-rapl:0, RAPL intel-rapl:1"


def test_the_counter_of_the_whole_platform_which_includes_the_packages_is_left_out(packages, tmp_path):
    packages(5_000_000, 1_000_000, 77)
    (tmp_path / "intel-rapl:1" / "name").write_text("psys\n")
    with EnergyMeter() as meter:
        packages(7_500_000, 9_000_000, 77)
        (tmp_path / "intel-rapl:1" / "name").write_text("psys\n")
    assert (meter.joules, meter.source) == (pytest.approx(2.5), "RAPL intel-rapl:0")


def test_a_counter_that_began_again_from_zero_is_carried_on(packages):
    packages(999_000_000, 0, 0)
    with EnergyMeter() as meter:
        packages(1_000_000, 0, 0)
    assert meter.joules == pytest.approx(2.0)


def test_without_a_meter_or_the_right_to_read_it_there_is_no_figure(packages, tmp_path):
    with EnergyMeter() as meter:
        pass
    assert meter.joules is None
    packages(1, 1, 1)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    with EnergyMeter() as meter:
        pass
    assert meter.joules is None
    assert meter.source == ""


def test_an_accelerators_own_meter_comes_first(packages, monkeypatch):
    packages(1, 1, 1)
    readings = iter([1000.0, 2000.0, 4500.0, 3000.0])
    library = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
    )
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: library)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    with EnergyMeter() as meter:
        pass
    assert meter.joules == pytest.approx(4.5)
    assert meter.source == "NVML device 0, NVML device 1"


def test_a_library_without_its_driver_leaves_the_processors_meter(packages, monkeypatch):
    def no_driver():
        raise RuntimeError("driver not loaded")

    packages(0, 0, 0)
    library = SimpleNamespace(NVMLError=RuntimeError, nvmlInit=no_driver)
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: library)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    with EnergyMeter() as meter:
        packages(3_000_000, 0, 0)
    assert meter.joules == pytest.approx(3.0)
