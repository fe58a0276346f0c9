"""Whether a process is alive, whatever becomes of the clock."""

from __future__ import annotations

import psutil
import pytest

from bench.search.processes import as_owner, is_surely_dead, this_process


@pytest.mark.parametrize("step", [-3.0, 3.0, 86_400.0])
def test_a_living_process_is_alive_after_the_clock_has_been_set(monkeypatch, step):
    owner = this_process()
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + step)
    monkeypatch.setattr(psutil, "boot_time", lambda: psutil.Process().create_time() + step)
    assert not is_surely_dead(owner)


def test_a_later_process_of_the_same_number_is_not_the_one_that_has_ended():
    owner = this_process()
    assert is_surely_dead(owner | {"started": owner["started"] - 1})


def test_an_owner_of_an_earlier_version_is_left_to_its_lease():
    owner = {name: value for name, value in this_process().items() if name != "started"} | {"created": 1.0}
    assert not is_surely_dead(owner)


@pytest.mark.parametrize("pid", [-4, 0, True, False, "7", 7.0, None])
def test_what_cannot_be_the_number_of_a_process_identifies_none(pid):
    assert as_owner(this_process() | {"pid": pid}) is None
    assert as_owner(this_process()) == this_process()
