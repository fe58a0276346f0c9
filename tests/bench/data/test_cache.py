"""The lock under which one process of a user at a time downloads."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from bench.core.file_locks import LockFileError
from bench.data.cache import cache_folder, download_lock


@pytest.fixture
def temporary(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def held_alone() -> bool:
    """Whether a second thread waits as long as this one holds the lock."""
    entered = threading.Event()

    def enter() -> None:
        with download_lock():
            entered.set()

    thread = threading.Thread(target=enter)
    with download_lock():
        thread.start()
        waited = not entered.wait(0.2)
    thread.join(10)
    return waited and entered.is_set()


def test_one_process_at_a_time_holds_the_lock(temporary):
    assert held_alone()
    assert not cache_folder().exists()


@pytest.mark.parametrize("planted", ["link", "folder", "of another user"])
def test_what_another_user_has_put_there_is_left_alone(temporary, monkeypatch, planted):
    name = temporary / f"reparam-bench-data-{os.getuid()}.lock"
    target = temporary / "target"
    if planted == "link":
        name.symlink_to(target)
    elif planted == "folder":
        name.mkdir()
    else:
        name.touch()
        real, other = os.fstat, os.stat_result((0o100600, 0, 0, 1, os.getuid() + 1, 0, 0, 0, 0, 0))
        monkeypatch.setattr(
            os, "fstat", lambda file: other if os.path.samestat(real(file), name.stat()) else real(file)
        )
    assert held_alone()
    assert not target.exists()
    assert (cache_folder() / name.name).is_file()


def test_a_link_in_both_places_is_named(temporary):
    name = f"reparam-bench-data-{os.getuid()}.lock"
    cache_folder().mkdir(parents=True)
    for folder in (temporary, cache_folder()):
        (folder / name).symlink_to(temporary / "target")
    with pytest.raises(LockFileError, match=rf"{cache_folder()}/{name} is a symbolic link.*remove it"), download_lock():
        pass
    assert not (temporary / "target").exists()
