"""The energy meter, on meters made of files and of a stand-in for NVIDIA's library."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import bench.evaluation.cost.energy as energy
from bench.evaluation.cost.energy import EnergyMeter, readable_meters


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A processor with two packages, one of which has a part; its meters are set by the test."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(energy, "device", lambda: "cpu:0")

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


@pytest.mark.parametrize(("seconds", "joules"), [(2.0, 7.0), (2.1, None)])
def test_a_counter_that_may_have_begun_again_more_than_once_gives_no_figure(packages, monkeypatch, seconds, joules):
    """It counts 1,000 J, which a package takes in 2 s at most."""
    clock = iter([0.0, seconds])
    monkeypatch.setattr(energy, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    packages(999_000_000, 0, 0)
    with EnergyMeter() as meter:
        packages(1_000_000, 5_000_000, 0)
    assert meter.joules == (None if joules is None else pytest.approx(joules))
    assert bool(meter.source) == (joules is not None)


def test_a_counter_that_begins_again_often_is_carried_on_where_it_is_read_in_between(packages, monkeypatch):
    clock = iter([0.0, 1.5, 3.0, 4.5])
    monkeypatch.setattr(energy, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    packages(0, 0, 0)
    with EnergyMeter() as meter:
        for reading in (700_000_000, 400_000_000):
            packages(reading, 0, 0)
            meter.read()
        packages(100_000_000, 0, 0)
    assert meter.joules == pytest.approx(3 * 700.0)


class Driver:
    """NVIDIA's library on a machine with two devices, each with a meter of its own."""

    NVMLError = RuntimeError
    UUIDS = ("GPU-a", "GPU-b")

    def __init__(self):
        self.millijoules = [1000.0, 2000.0]

    def nvmlInit(self):  # noqa: N802 - as the library has it
        pass

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid not in self.UUIDS:
            raise self.NVMLError("not found")
        return self.UUIDS.index(uuid)

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return "NVIDIA H200"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        return self.millijoules[handle]


@pytest.fixture
def driver(packages, monkeypatch):
    library = Driver()
    packages(0, 0, 0)
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: library)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(energy, "device", lambda: "gpu:0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return library


@pytest.mark.parametrize(("visible", "joules"), [(None, 3.5), ("1,0", 1.0), ("GPU-b,GPU-a", 1.0), ("0", 3.5)])
def test_of_several_accelerators_that_of_this_process_is_measured(driver, monkeypatch, visible, joules):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with EnergyMeter() as meter:
        driver.millijoules = [4500.0, 3000.0]
    assert (meter.joules, meter.source) == (pytest.approx(joules), "NVML NVIDIA H200")


def test_where_the_processor_trains_its_own_meter_is_read(driver, packages, monkeypatch):
    monkeypatch.setattr(energy, "device", lambda: "cpu:0")
    with EnergyMeter() as meter:
        driver.millijoules = [4500.0, 3000.0]
        packages(3_000_000, 0, 0)
    assert (meter.joules, meter.source) == (pytest.approx(3.0), "RAPL intel-rapl:0, RAPL intel-rapl:1")


@pytest.mark.parametrize("has_driver", [False, True])
def test_where_an_accelerator_trains_whose_meter_cannot_be_read_there_is_no_figure(
    driver, packages, monkeypatch, has_driver
):
    def no_driver():
        raise driver.NVMLError("driver not loaded")

    if has_driver:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c")
    else:
        monkeypatch.setattr(driver, "nvmlInit", no_driver)
    with EnergyMeter() as meter:
        packages(3_000_000, 0, 0)
    assert meter.joules is None


def test_before_a_backend_is_selected_the_meters_of_either_device_are_named(driver, monkeypatch):
    monkeypatch.setattr(energy, "device", lambda: 1 / 0)
    assert readable_meters() == ["NVML NVIDIA H200", "RAPL intel-rapl:0", "RAPL intel-rapl:1"]
