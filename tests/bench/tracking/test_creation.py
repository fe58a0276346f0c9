"""A tracking database that several commands create at once."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bench.tracking.tracker import Tracker


def open_store(folder: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    with Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "outbox") as tracker:
        tracker.open()
        assert tracker.client.search_experiments()


@pytest.mark.parametrize("empty", [False, True])
def test_commands_that_begin_at_once_in_a_new_folder_all_find_a_whole_database(tmp_path, empty):
    if empty:
        (tmp_path / "mlflow.db").touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.tracking.tracker", "mlflow.store.tracking.sqlalchemy_store"])
    barrier = context.Barrier(4)
    processes = [context.Process(target=open_store, args=(tmp_path, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
