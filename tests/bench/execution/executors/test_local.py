"""Worker processes of this machine: started, pinned, replaced, ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from bench.core.errors import StudyStoppedError
from bench.execution.executors import local
from bench.execution.executors.local import LocalWorkers, _WorkerProcess, share_of_cores

SLEEPER = "import sys, time; print('warm', file=sys.stderr, flush=True); time.sleep(600)"
OBSTINATE = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('warm', file=sys.stderr, flush=True); time.sleep(600)"
)


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """Makes an executor whose members run a program; all are ended after the test."""
    monkeypatch.setattr(local, "POLL_SECONDS", 0.05)
    made = []

    def start(count, program, **environment):
        # -c takes what follows as arguments, as a worker takes --log-file.
        made.append(LocalWorkers(count, [sys.executable, "-c", program], environment, tmp_path / "logs"))
        return made[-1]

    yield start
    for each in made:
        each.shutdown()


def wait_until(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_so_many_processes_are_started_and_all_end_at_a_shutdown(executor):
    workers = executor(3, SLEEPER)
    assert workers.processes == []
    workers.poll()
    started = workers.processes
    assert len(started) == 3
    workers.poll()
    assert workers.processes == started
    workers.shutdown()
    assert not any(psutil.pid_exists(each) for each in started)
    workers.shutdown()


def test_a_worker_that_dies_is_replaced_and_the_others_are_left_alone(executor):
    workers = executor(2, SLEEPER)
    workers.poll()
    first, second = workers.processes
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(workers.processes) == 1)
    workers.poll()
    assert len(workers.processes) == 2
    assert second in workers.processes
    assert first not in workers.processes


def test_workers_that_end_again_and_again_stop_the_study_with_where_to_look(executor, tmp_path):
    workers = executor(1, "import sys; sys.exit('no such module')")

    def poll_for_long():
        for _ in range(2000):
            workers.poll()

    with pytest.raises(StudyStoppedError, match=r"worker 0 ended 10 times within 30 s .* by 1: see (.*)worker-0\.log"):
        poll_for_long()
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text().count("no such module") == local.MOST_EARLY_ENDS


@pytest.mark.parametrize(
    ("statuses", "stops"),
    [
        ([2] * local.MOST_EARLY_ENDS, True),
        ([1, 2] * (local.MOST_EARLY_ENDS // 2), True),
        ([*[2] * (local.MOST_EARLY_ENDS - 1), 0, 2], False),
        ([*[2] * (local.MOST_EARLY_ENDS - 1), -signal.SIGKILL, 2], False),
        # Killed for memory, or ended by somebody, as often as it likes: the trials of those that die are counted.
        ([-signal.SIGKILL] * 30, False),
        ([130] * 30, False),
    ],
    ids=["always 2", "1 and 2", "a good end between", "a death between", "deaths", "ended by somebody"],
)
def test_a_worker_that_ends_by_an_error_long_after_each_start_stops_the_study(monkeypatch, tmp_path, statuses, stops):
    workers = LocalWorkers(1, ["worker"], {}, tmp_path)
    late = time.monotonic() - 10 * local.EARLY_SECONDS
    left = iter(statuses)
    started = []

    def start(number):
        started.append(number)
        return _WorkerProcess(number, SimpleNamespace(returncode=next(left, None), poll=lambda: 1), late)

    monkeypatch.setattr(workers, "_start", start)
    member = start(0)

    def replace_all():
        nonlocal member
        for _ in statuses:
            member = workers._replace(member)

    if stops:
        with pytest.raises(
            StudyStoppedError, match=r"^worker 0 ended 10 times in a row by an error, .* 2: see .*0\.log"
        ):
            replace_all()
        assert len(started) == local.MOST_EARLY_ENDS
    else:
        replace_all()
        assert len(started) == len(statuses) + 1


def test_a_worker_that_will_not_end_is_killed(executor, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.5)
    workers = executor(1, OBSTINATE)
    workers.poll()
    (process,) = workers.processes
    wait_until(lambda: "warm" in next((tmp_path / "logs").iterdir()).read_text())
    workers.shutdown()
    assert not psutil.pid_exists(process)


def test_each_worker_has_its_share_of_the_processors(executor, monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not pin processes")
    cores = sorted(os.sched_getaffinity(0))
    workers = executor(len(cores), SLEEPER)
    workers.poll()
    assert [psutil.Process(each).cpu_affinity() for each in workers.processes] == [[core] for core in cores]


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (1, [[0, 1, 2, 3, 4]]),
        (2, [[0, 1], [2, 3, 4]]),
        (5, [[0], [1], [2], [3], [4]]),
        (7, [[0], [1], [2], [3], [4], [0], [1]]),
    ],
)
def test_shares_cover_all_processors_and_overlap_only_where_workers_are_more(monkeypatch, count, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 4}, raising=False)
    assert [share_of_cores(number, count) for number in range(count)] == shares


@pytest.mark.parametrize(
    ("visible", "count", "shares"),
    [
        (None, 2, [None, None]),
        ("", 2, [None, None]),
        ("0,1", 2, [("0", "0.900"), ("1", "0.900")]),
        ("2,5", 3, [("2", "0.450"), ("5", "0.450"), ("2", "0.450")]),
        ("GPU-ab", 2, [("GPU-ab", "0.450"), ("GPU-ab", "0.450")]),
    ],
)
def test_each_worker_has_its_accelerator_or_its_share_of_one(monkeypatch, tmp_path, visible, count, shares):
    monkeypatch.setattr(local, "_GPUS", tmp_path / "none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [local._device_share(number, count, 1) for number in range(count)]
    assert [
        (each["CUDA_VISIBLE_DEVICES"], each["XLA_PYTHON_CLIENT_MEM_FRACTION"]) if len(each) > 1 else None
        for each in found
    ] == shares


def test_addresses_are_handed_over_without_showing_in_a_list_of_processes(executor):
    workers = executor(1, SLEEPER, REPARAM_BENCH_STORAGE="postgresql://me:secret@host/db")
    workers.poll()
    (process,) = workers.processes
    assert "secret" not in " ".join(psutil.Process(process).cmdline())
    wait_until(lambda: psutil.Process(process).environ().get("REPARAM_BENCH_STORAGE") is not None)
