"""A coordinator that is killed: its workers say so, do what is left, and end; the same command takes over from them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.results import RunState
from bench.search.queue import ALWAYS, Queue
from bench.search.storage import FINALS, open_storage
from tests.faults.invariants import check
from tests.faults.processes import Place, start_coordinator, start_worker

TRIALS = 4
SECONDS = 60.0
"""Within which each step must be done."""


def wait_for(condition, what):
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def logged(place: Place) -> list[str]:
    """What the workers logged, each in its own file."""
    return [path.read_text(encoding="utf-8") for path in sorted(place.logs.glob("worker-*.log"))]


@pytest.fixture
def place(tmp_path):
    return Place(
        storage=str(tmp_path / "study.journal"),
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        output=tmp_path / "runs",
        logs=tmp_path / "logs",
        # Nobody reads the terminals of workers while the coordinator is waited for, which would stop them once full.
        printed=tmp_path / "printed",
        lease=2.0,
        evaluation_seconds=0.08,
        seeds=1,
    )


@pytest.fixture
def killed(place):
    """Two workers whose coordinator was killed when some trials were done and others waited."""
    started = []

    def start(function, *arguments):
        started.append(function(*arguments))
        return started[-1]

    coordinator = start(start_coordinator, place, TRIALS)
    wait_for(lambda: Path(place.storage).is_file() and is_begun(place), "the study did not begin")
    workers = [start(start_worker, place) for _ in range(2)]
    wait_for(lambda: done(place) >= 2, "no trial was done")
    coordinator.kill()
    coordinator.join(SECONDS)
    yield lambda: start(start_coordinator, place, TRIALS), workers
    for process in started:
        process.kill()


def queues(place: Place):
    storage, study = open_storage(place.storage), place.bound(TRIALS).study_id
    return [Queue(storage, name.study_name) for name in storage.get_all_studies() if name.study_name.startswith(study)]


def is_begun(place: Place) -> bool:
    return any(queue.waiting for queue in queues(place))


def offered(place: Place) -> int:
    return sum(queue.waiting for queue in queues(place))


def done(place: Place) -> int:
    return sum(len(queue.settled()) for queue in queues(place))


@pytest.mark.slow
def test_the_same_command_takes_over_while_the_workers_of_a_killed_coordinator_work(place, killed):
    again, workers = killed
    coordinator = again()
    coordinator.join(SECONDS)
    assert coordinator.exitcode == 0
    for worker in workers:
        worker.join(SECONDS)
        assert worker.exitcode == 0
    check(place.bound(TRIALS), str(place.tracking_uri)).assert_none()


def test_workers_say_that_their_coordinator_died_do_what_waits_and_end(place, killed):
    again, workers = killed
    for worker in workers:
        worker.join(SECONDS)
        assert worker.exitcode == 0
    study = place.bound(TRIALS).study_id
    assert done(place) == 2 * TRIALS
    for log in logged(place):
        assert log.count(f"the process that coordinates {study} died (process ") == 1
        assert "trials or final runs wait; the workers finish them, and end 2 s after the last one, unless" in log
        assert f"nothing of {study} is left to do without a coordinator: this worker ends" in log
    coordinator = again()
    # A worker that comes before it waits no longer than these have waited.
    wait_for(lambda: is_begun(place), "no final run was offered")
    worker = start_worker(place)
    coordinator.join(SECONDS)
    worker.join(SECONDS)
    assert (coordinator.exitcode, worker.exitcode) == (0, 0)
    check(place.bound(TRIALS), str(place.tracking_uri)).assert_none()


def test_trials_are_promoted_after_a_coordinator_died_at_the_end_of_a_rung(place):
    """It has offered what leads to the first rung, and does not live to see that all trials have come there."""
    place = replace(place, pruner="halving", evaluation_seconds=0.05)
    coordinator = start_coordinator(place, TRIALS)
    wait_for(lambda: Path(place.storage).is_file() and offered(place) == 2 * TRIALS, "the study did not begin")
    os.kill(coordinator.pid, signal.SIGSTOP)
    worker = start_worker(place)
    wait_for(lambda: done(place) == 2 * TRIALS, "the first rung was not reached")
    assert {each.reached for queue in queues(place) for each in queue.attempts() if each.counts} <= {2, ALWAYS}
    for process in (coordinator, worker):
        process.kill()
    again = start_coordinator(place, TRIALS)
    wait_for(lambda: offered(place), "no trial was promoted")
    workers = [start_worker(place) for _ in range(2)]
    for process in (again, *workers):
        process.join(SECONDS)
        assert process.exitcode == 0
    found = check(place.bound(TRIALS), str(place.tracking_uri))
    found.assert_none()
    assert found.counts["attempts that continued a trial"] >= 2 * (TRIALS // 2 + 1)


def run_whole(place: Place, workers: int) -> None:
    """Run the study to its end."""
    coordinator = start_coordinator(place, TRIALS)
    while coordinator.is_alive():
        # One that comes before the coordinator finds the study over, and ends.
        working = [start_worker(place) for _ in range(workers)]
        assert all(worker.join(SECONDS) for worker in working)
    assert coordinator.exitcode == 0


def reached(place: Place) -> dict[tuple[str, int], int]:
    """How far the trials of each arm were trained."""
    return {
        (queue.name, number): each.reached
        for queue in queues(place)
        for number, each in queue.settled().items()
        if not queue.name.endswith(FINALS)
    }


@pytest.mark.slow
def test_a_promotion_by_hand_outlives_the_coordinator_and_the_worker_that_were_killed(place):
    place = replace(place, pruner="halving", evaluation_seconds=0.05)
    run_whole(place, 3)
    before = reached(place)
    name, number = min(key for key, at in before.items() if at < place.evaluations)
    arm = name.rpartition("/")[2]

    def running():
        attempts = next(queue for queue in queues(place) if queue.name == name).attempts()
        return [each for each in attempts if each.number == number and each.state == RunState.RUNNING]

    slow = replace(place, promote=(f"{arm}:{number}",), evaluation_seconds=0.5)
    coordinator = start_coordinator(slow, TRIALS)
    wait_for(lambda: offered(place), "the promoted trial was not offered")
    worker = start_worker(slow)
    wait_for(lambda: any(each.frozen.last_step for each in running()), "nobody continued it")
    for process in (coordinator, worker):
        process.kill()
    assert reached(place) == before
    # The storage has it: it is given once.
    run_whole(place, 3)
    assert reached(place) == before | {(name, number): place.evaluations}
    found = check(place.bound(TRIALS), str(place.tracking_uri))
    found.assert_none()
    assert found.counts["deaths"] == 1
