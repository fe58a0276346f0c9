"""What is found out about a machine; each piece is broken on purpose once."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import optuna
import pytest

import bench.checks.doctor as machine
from bench.checks.doctor import Finding, Status, Stores, examine
from bench.data.registry import BUILT_IN
from bench.runtime.backend import BACKENDS

BACKEND = {"devices": ["cpu:0"], "precisions": ["float32"], "refused": {"float16": "no\nkernel"}}


@pytest.fixture
def look(tmp_path, monkeypatch):
    """What is found, by name; the programs that look in processes of their own are replaced by a function."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def examined(asked=lambda program, *arguments, **environment: BACKEND, **addresses):
        monkeypatch.setattr(machine, "_run_probe", asked)
        stores = Stores(tmp_path / "runs", addresses.get("tracking_uri"), addresses.get("storage"))
        return {finding.name: finding for finding in examine(stores)}

    return examined


def test_a_whole_machine_has_nothing_broken_and_each_piece_is_reported(look, tmp_path):
    found = look()
    assert [each for each in found.values() if each.status == Status.BROKEN] == []
    assert {"python", "keras", "memory", "disk", "processor", "tracking", "storage", *BACKENDS, *BUILT_IN} <= set(found)
    assert found["tensorflow"].detail.endswith("float32; float16: no kernel")
    assert found["digits"].status == Status.GOOD
    assert found["mnist"].status == Status.MISSING
    assert not (tmp_path / "runs").exists()


def test_a_data_set_in_the_cache_is_at_hand(look, tmp_path):
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "mnist.npz").write_text("")
    assert look()["mnist"].status == Status.GOOD


@pytest.mark.parametrize(("name", "status"), [("tensorflow", Status.BROKEN), ("jax", Status.MISSING)])
def test_a_backend_that_cannot_be_imported_matters_if_it_is_the_default(look, name, status):
    def asked(program, *arguments, **environment):
        if environment.get("KERAS_BACKEND") == name:
            raise machine._ProbeError("ImportError: libcudart.so")
        return BACKEND

    found = look(asked)
    assert found[name].status == status
    assert found[name].detail == "ImportError: libcudart.so"
    assert "pip install" in found[name].remedy


@pytest.mark.parametrize(
    ("installed", "status", "detail"),
    [("0.1", Status.BROKEN, "0.1, but >="), (None, Status.BROKEN, "not installed"), ("99.0", Status.GOOD, "99.0")],
)
def test_a_required_package_is_held_to_what_the_project_asks_for(look, monkeypatch, installed, status, detail):
    real = machine.version

    def version(name):
        if name != "optuna":
            return real(name)
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(machine, "version", version)
    found = look()["optuna"]
    assert found.status == status
    assert found.detail.startswith(detail)
    assert bool(found.remedy) == (status != Status.GOOD)


def test_an_extra_lacks_what_its_packages_own_extras_lack(look, monkeypatch):
    asked_for = {
        machine.PROJECT: ["jax>=0.1", "jax[gpu]>=0.1; extra == 'cuda'", "numpy>=1; extra == 'dev'"],
        "jax": ["no-such-plugin; extra == 'gpu'"],
        "numpy": [],
    }
    monkeypatch.setattr(machine, "requires", lambda name: asked_for[name])
    found = look()
    assert found["dev"].status == Status.GOOD
    assert found["cuda"] == Finding(
        "extras", "cuda", Status.MISSING, "without jax[gpu]>=0.1", "pip install -e '.[cuda]'"
    )


@pytest.mark.parametrize(("free", "status"), [(0.5, Status.BROKEN), (9.0, Status.GOOD)])
def test_too_little_memory_or_disk_is_reported(look, monkeypatch, free, status):
    memory = SimpleNamespace(available=free * 2**30, total=16 * 2**30)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=free * 2**30, total=2**40))
    found = look()
    assert {found["memory"].status, found["disk"].status} == {status}
    assert found["memory"].detail.startswith(f"{free} GiB free of 16.0")


def test_a_piece_that_breaks_while_it_is_examined_is_a_finding(look, monkeypatch):
    monkeypatch.setattr(machine, "readable_meters", lambda: 1 / 0)
    assert look()["energy meter"] == Finding(
        "machine", "energy meter", Status.BROKEN, "ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize(
    ("script", "name", "status", "detail"),
    [
        ("echo 'NVIDIA H100, 81559 MiB'", "GPU 0", Status.GOOD, "NVIDIA H100, 81559 MiB"),
        ("echo 'Driver mismatch'; exit 9", "GPUs", Status.MISSING, "Driver mismatch"),
    ],
)
def test_gpus_are_found_by_the_driver_s_tool(look, tmp_path, monkeypatch, script, name, status, detail):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(machine.shutil, "which", lambda program: str(tool))
    found = look()[name]
    assert (found.status, found.detail) == (status, detail)


def test_stores_that_answer_and_stores_that_do_not_are_reported_without_credentials(look):
    def asked(program, question, *arguments, **environment):
        if "bad" in question:
            raise machine._ProbeError("connection refused")
        return BACKEND if environment.get("KERAS_BACKEND") else "3 searches"

    found = look(asked, tracking_uri="http://me:secret@good", storage="postgresql://me:secret@bad/db")
    assert found["tracking"].detail == "http://***@good: 3 searches"
    assert found["storage"].status == Status.BROKEN
    assert found["storage"].detail == "postgresql://***@bad/db: connection refused"
    assert found["storage"].remedy == "start it, or give another --storage"


def test_an_optuna_database_is_counted_and_an_empty_one_is_left_empty(tmp_path):
    from bench.core.errors import TrackingError
    from bench.search.storage import describe_storage

    filled, empty = f"sqlite:///{tmp_path / 'filled.db'}", tmp_path / "empty.db"
    optuna.create_study(storage=filled)
    empty.touch()
    assert describe_storage(filled) == "1 searches"
    assert describe_storage(f"sqlite:///{empty}") == "no search yet"
    assert empty.stat().st_size == 0
    journal = str(tmp_path / "a.journal")
    optuna.create_study(storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal)))
    assert describe_storage(journal) == "1 searches"
    with pytest.raises(TrackingError, match="unable to open database file"):
        describe_storage(f"sqlite:///{tmp_path / 'gone' / 'a.db'}")


def test_a_program_that_fails_hangs_or_dies_is_a_problem_of_its_piece_alone():
    asked = machine._run_probe
    assert asked("import sys, json; print('noise'); print(json.dumps(sys.stdin.read()))", "a question", 60) == (
        "a question"
    )
    for program, problem in (
        ("raise ImportError('libcudart.so http://me:secret@host')", r"ImportError: libcudart\.so http://\*\*\*@host"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ("import os; os.abort()", "ended with status -6"),
    ):
        with pytest.raises(machine._ProbeError, match=problem):
            asked(program, "", 1 if "sleep" in program else 60)


def test_a_package_that_is_not_installed_says_so(look, monkeypatch):
    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "requires", requires)
    found = look()[machine.PROJECT]
    assert (found.status, found.remedy) == (Status.MISSING, "pip install -e .")


def test_nothing_that_looks_imports_a_framework_here(look):
    before = set(sys.modules)
    look()
    assert {"keras", "tensorflow", "jax"} & (set(sys.modules) - before) == set()
