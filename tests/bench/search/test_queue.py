"""Tasks: each is settled once, whatever becomes of the processes that work on it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest

from bench.core.errors import LostTrialError, TrackingError
from bench.core.results import RunState
from bench.search import processes
from bench.search.heartbeat import Watch
from bench.search.journal import Journal
from bench.search.queue import DIED, MAX_DEATHS, Queue, Task
from bench.search.storage import describe_storage, open_storage, with_retries
from tests.bench.search.conftest import FIRST

ROOT = Path(__file__).resolve().parents[3]


def queue(address, tasks=0, lease=60.0):
    made = Queue(open_storage(address), "study/kind", lease=lease)
    made.set_open(True)
    made.offer([Task(number) for number in range(tasks)])
    return made


def test_every_end_is_remembered_with_its_state_and_counted_once(search, address):
    states = [s for s in RunState if s not in (RunState.RUNNING, RunState.INTERRUPTED)]
    one = search(address)
    one.offer(one.tasks(len(states)))
    for state in states:
        one.claim().end(state, 1.5 if state == RunState.COMPLETE else None, f"because {state}")
    again = search(address)
    assert [each.state for each in again.attempts()] == states
    assert {number: each.reason for number, each in again.settled().items()} == {
        i: "" if state == RunState.COMPLETE else f"because {state}" for i, state in enumerate(states)
    }
    best = again.best()
    assert (best.number, best.values, best.objective, best.state) == (0, FIRST, 1.5, RunState.COMPLETE)


def test_the_best_is_the_complete_trial_with_the_lowest_objective(search, journal):
    one = search(journal)
    one.offer(one.tasks(5))
    for state, value in ((RunState.COMPLETE, 3.0), (RunState.COMPLETE, 2.0), (RunState.DIVERGED, None)):
        one.claim().end(state, value)
    pruned = one.claim()
    pruned.report(-9.0, 1)
    pruned.end(RunState.PRUNED)
    assert one.best().number == 1


def test_tasks_are_claimed_by_number_each_once_and_none_from_a_closed_queue(address):
    one = queue(address, 3)
    one.set_open(False)
    assert one.claim() is None
    one.set_open(True)
    others = [queue(address) for _ in range(4)]
    claims = [other.claim() for other in others]
    assert [None if claim is None else claim.number for claim in claims] == [0, 1, 2, None]


def test_offering_again_adds_only_what_is_neither_settled_nor_waiting_nor_being_worked_on(address):
    one = queue(address, 3)
    one.claim().end(RunState.PRUNED)
    one.claim()
    one.offer([Task(number) for number in range(4)])
    assert [(each.number, each.attempt) for each in one.attempts()] == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_waiting_tasks_that_are_no_longer_wanted_are_taken_back_and_can_be_offered_again(address):
    one = queue(address, 4)
    running = one.claim()
    one.withdraw({2})
    assert [(each.number, each.state) for each in one.attempts()] == [
        (0, RunState.RUNNING),
        (1, RunState.INTERRUPTED),
        (2, None),
        (3, RunState.INTERRUPTED),
    ]
    running.end(RunState.COMPLETE, 1.0)
    assert one.claim().number == 2
    assert one.claim() is None
    one.offer([Task(3)])
    again = one.claim()
    assert (again.number, again.attempt) == (3, 2)


def test_an_interrupted_attempt_is_made_again_with_its_values_and_does_not_count(search, address):
    one = search(address)
    one.offer(one.tasks(2))
    one.claim().end(RunState.COMPLETE, 1.0)
    stopped = one.claim()
    stopped.end(RunState.INTERRUPTED)
    assert sorted(one.settled()) == [0]
    one.offer(one.tasks(2))
    again = search(address).claim()
    assert (again.number, again.attempt, again.values) == (1, 2, stopped.values)
    assert again.key != stopped.key


def test_many_processes_at_once_settle_every_task_once(address):
    """Claims are compared and set: no two get the same, and none is left."""
    tasks, found, problems = 25, [], []
    queue(address, tasks)

    def work():
        try:
            mine = queue(address)
            while (claim := mine.claim()) is not None:
                found.append(claim.number)
                claim.end(RunState.COMPLETE, 1.0)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must report it
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(found) == list(range(tasks))
    assert len(queue(address).settled()) == tasks


CLAIM_AND_WAIT = """
import os, sys, time
from bench.search.storage import open_storage
from bench.search.queue import Queue
for line in sys.stdin:
    child = os.fork()
    if child:
        continue
    try:
        claim = Queue(open_storage(line.strip()), "study/kind").claim()
        claim.report(1.0, 1)
        print(claim.number, os.getpid(), flush=True)
        time.sleep(60)
    finally:
        os._exit(1)
"""


@pytest.fixture(scope="module")
def claiming():
    """Forks a process for each address that it is given, which claims a task there; importing takes a second."""
    command = [sys.executable, "-c", CLAIM_AND_WAIT]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def test_an_attempt_is_taken_back_from_a_killed_process_but_not_from_a_living_one(address, claiming):
    one = queue(address, 1)
    print(address, file=claiming.stdin, flush=True)
    number, pid = claiming.stdout.readline().split()
    assert number == "0"
    assert one.reclaim() == []
    owner = processes.this_process() | {"pid": int(pid), "started": processes._started(int(pid))}
    os.kill(int(pid), signal.SIGKILL)
    until = time.monotonic() + 20
    while not processes.is_surely_dead(owner):
        assert time.monotonic() < until
        time.sleep(0.01)
    (lost,) = one.reclaim()
    assert (lost.number, lost.state, lost.reason) == (0, RunState.INTERRUPTED, DIED)
    assert one.reclaim() == []
    assert one.settled() == {}
    one.offer([Task(0)])
    assert one.claim().attempt == 2


def test_a_task_whose_processes_die_again_and_again_fails_in_the_end(journal, monkeypatch):
    one = queue(journal)
    for death in range(1, MAX_DEATHS + 1):
        one.offer([Task(0)])
        assert one.claim().attempt == death
        with monkeypatch.context() as patch:
            patch.setattr("bench.search.queue.is_surely_dead", lambda owner: True)
            one.reclaim()
    settled = one.settled()[0]
    assert (settled.state, settled.attempt) == (RunState.FAILED, MAX_DEATHS)
    assert "died, as those of 2 attempts before it" in settled.reason
    one.offer([Task(0)])
    assert one.claim() is None


def test_deaths_before_a_task_was_stopped_at_a_rung_do_not_count_beyond_it(journal, monkeypatch):
    """A task of many rungs would otherwise fail at the last, though none of its trainings kills processes."""
    one = queue(journal)

    def die(evaluations):
        one.offer([Task(0, evaluations=evaluations)])
        one.claim()
        with monkeypatch.context() as patch:
            patch.setattr("bench.search.queue.is_surely_dead", lambda owner: True)
            return one.reclaim()[0].state

    for rung in (2, 4):
        assert [die(rung) for _ in range(MAX_DEATHS - 1)] == [RunState.INTERRUPTED] * (MAX_DEATHS - 1)
        one.offer([Task(0, evaluations=rung)])
        claim = one.claim()
        claim.report(1.0, rung)
        claim.end(RunState.PRUNED)
    assert [die(8) for _ in range(MAX_DEATHS)][-1] == RunState.FAILED


def test_attempts_that_a_person_stopped_are_no_deaths(journal):
    one = queue(journal)
    for _ in range(MAX_DEATHS + 2):
        one.offer([Task(0)])
        one.claim().end(RunState.INTERRUPTED, reason="stopped by the user or the scheduler")
    one.offer([Task(0)])
    assert one.claim().attempt == MAX_DEATHS + 3


@pytest.fixture
def of_another_machine(monkeypatch):
    monkeypatch.setattr(
        "bench.search.queue.this_process", lambda: {"host": "elsewhere", "boot": "b", "pid": 1, "started": 0.0}
    )


def after_lease(one):
    """What is taken back of a process that sends no heartbeat."""
    for _ in range(8):
        threading.Event().wait(one.lease / 4)
        if lost := one.reclaim():
            return lost
    return []


def test_a_process_of_another_machine_is_alive_as_long_as_its_signs_of_life_go_on(journal, of_another_machine):
    one = queue(journal, 1, lease=0.6)
    with one.claim().heartbeat():
        until = threading.Event()
        for _ in range(8):
            until.wait(0.2)
            assert one.reclaim() == []


def test_a_process_of_another_machine_that_gives_no_sign_for_the_lease_loses_its_attempt(journal, of_another_machine):
    one = queue(journal, 1, lease=0.2)
    claim = one.claim()
    assert one.reclaim() == []
    (lost,) = after_lease(one)
    assert lost.state == RunState.INTERRUPTED
    for act in (
        lambda: claim.report(1.0, 2),
        lambda: claim.write("a", 1),
        lambda: claim.end(RunState.COMPLETE, 1.0),
        lambda: claim.end(RunState.DIVERGED),
    ):
        with pytest.raises(LostTrialError, match=r"no heartbeat for 0\.2 s"):
            act()
    assert [each.state for each in one.attempts()] == [RunState.INTERRUPTED]


def test_the_heart_notices_that_the_attempt_was_taken_away(journal, of_another_machine):
    one = queue(journal, 1, lease=0.3)
    claim = one.claim()
    assert after_lease(one)
    with claim.heartbeat() as heartbeat:
        threading.Event().wait(0.5)
        assert heartbeat.lost


def test_an_attempt_that_ends_while_it_is_being_taken_back_has_ended_as_it_did(journal):
    one = queue(journal, 1)
    claim = one.claim()
    (running,) = one.attempts()
    claim.end(RunState.COMPLETE, 1.0)
    one._take_back(running, RunState.INTERRUPTED, DIED)
    assert one.settled()[0].state == RunState.COMPLETE


def test_an_end_that_was_stored_though_the_storage_could_not_say_so_is_no_loss(journal):
    one = queue(journal, 1)
    claim = one.claim()
    claim.end(RunState.COMPLETE, 1.0)
    claim._end(RunState.COMPLETE, 1.0)
    with pytest.raises(LostTrialError):
        claim._end(RunState.COMPLETE, 2.0)


def test_a_process_does_not_take_back_its_own_attempt(journal):
    one = queue(journal, 1)
    one.claim()
    assert one.reclaim() == []


def test_a_process_that_has_inherited_a_number_is_not_the_owner(journal):
    one = queue(journal, 1)
    claim = one.claim()
    claim.write("owner", processes.this_process() | {"started": 1.0})
    assert [lost.number for lost in one.reclaim()] == [0]


def test_a_process_of_this_machine_before_its_last_start_is_not_looked_for_by_its_number():
    owner = processes.this_process() | {"boot": "another", "started": 1.0}
    assert not processes.is_surely_dead(owner)


def test_a_counter_is_watched_by_the_watchers_own_clock():
    now = [100.0]
    watch = Watch(lease=60.0, clock=lambda: now[0])
    assert watch.seconds_unchanged("a", 1) == 0.0
    now[0] = 130.0
    assert (watch.seconds_unchanged("a", 1), watch.seconds_unchanged("b", 1)) == (30.0, 0.0)
    assert watch.seconds_unchanged("a", 2) == 0.0
    now[0] = 131.0
    assert watch.seconds_unchanged("a", None) == 0.0


def test_time_in_which_the_watcher_could_not_look_does_not_count_as_standing_still():
    now = [0.0]
    watch = Watch(lease=6.0, clock=lambda: now[0])
    watch.seconds_unchanged("a", 1)
    now[0] = 1000.0
    assert watch.seconds_unchanged("a", 1) == 3.0
    now[0] = 1002.0
    assert watch.seconds_unchanged("a", 1) == 5.0


def test_after_an_outage_living_processes_have_the_time_to_give_signs_of_life(journal, of_another_machine):
    one = queue(journal, 1, lease=0.6)
    with one.claim().heartbeat():
        one.reclaim()
        storage_is_away = one.storage._backend._own_lock
        with storage_is_away._lock:
            threading.Event().wait(1.5)
        for _ in range(4):
            assert one.reclaim() == []
            threading.Event().wait(0.2)


def test_a_task_that_is_taken_away_while_its_values_are_proposed_is_lost_to_its_worker(search, journal, monkeypatch):
    one = search(journal)
    one.offer(one.tasks(1))

    def suggest(claim, name, parameter):
        (running,) = one.attempts()
        one._take_back(running, RunState.INTERRUPTED, DIED)
        return type(one)._suggest(one, claim, name, parameter)

    monkeypatch.setattr(one, "_suggest", suggest)
    with pytest.raises(LostTrialError):
        one.claim()


def test_a_process_that_has_ended_is_dead_though_its_parent_has_not_asked_for_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        owner = processes.this_process() | {"pid": child.pid, "started": processes._started(child.pid)}
        assert not processes.is_surely_dead(owner)
        child.stdin.close()
        until = time.monotonic() + 20
        while not processes.is_surely_dead(owner):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_torn_line_of_a_journal_does_no_harm(journal):
    one = queue(journal, 2)
    with Path(journal).open("ab") as file:
        file.write(b'{"op_code": 5, "torn')
    assert queue(journal).claim().number == 0
    assert one.claim().number == 1


def test_a_journal_on_a_full_disk_keeps_whole_lines(journal, monkeypatch):
    one = queue(journal, 1)
    written = Path(journal).read_bytes()

    def full(self, logs):
        with Path(journal).open("ab") as file:
            file.write(b'{"half a line')
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("optuna.storages.journal.JournalFileBackend.append_logs", full)
        with pytest.raises(TrackingError, match=r"cannot be written: .*No space left on device"):
            one.claim()
    assert Path(journal).read_bytes() == written
    assert queue(journal).claim().number == 0


def test_a_storage_that_cannot_be_reached_for_a_while_is_waited_for():
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import OperationalError

    tries = []

    def action():
        tries.append(1)
        if len(tries) < 3:
            raise StorageInternalError("commit") from OperationalError("select", {}, Exception("server closed"))
        return "done"

    assert with_retries(action) == "done"
    assert len(tries) == 3


@pytest.mark.parametrize(("is_busy", "tried"), [(True, 3), (False, 1)])
def test_of_sqlite_s_errors_only_a_lock_passes_by_itself(tmp_path, is_busy, tried):
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import OperationalError

    with sqlite3.connect(tmp_path / "a.db") as one, sqlite3.connect(tmp_path / "a.db", timeout=0) as other:
        one.execute("create table t (x)")
        one.commit()
        if is_busy:
            one.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError) as raised:
            other.execute("select x from t" if is_busy else "select x from gone")
    tries = []

    def action():
        tries.append(1)
        if len(tries) < 3:
            raise StorageInternalError("commit") from OperationalError("select", {}, raised.value)

    if is_busy:
        with_retries(action)
    else:
        with pytest.raises(TrackingError, match="the study's storage cannot be used: "):
            with_retries(action)
    assert len(tries) == tried


def test_a_connection_that_breaks_within_a_transaction_is_waited_for():
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import PendingRollbackError

    tries = []

    def action():
        tries.append(1)
        if len(tries) < 2:
            raise StorageInternalError("commit") from PendingRollbackError("can't reconnect")
        return "done"

    assert with_retries(action) == "done"


def test_patience_has_an_end_and_other_errors_are_not_waited_for():
    from sqlalchemy.exc import OperationalError

    def out():
        raise OperationalError("select", {}, Exception("server at postgresql://me:secret@host closed"))

    with pytest.raises(TrackingError, match="could not be reached for 0 s") as raised:
        with_retries(out, timeout=0.01)
    assert "secret" not in str(raised.value)

    def wrong():
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        with_retries(wrong)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql", "nonsense"])
def test_an_unreachable_storage_is_reported_without_its_credentials(scheme):
    with pytest.raises(TrackingError) as raised:
        open_storage(f"{scheme}://user:secret@localhost:1/x")
    assert str(raised.value).startswith(f"study storage {scheme}://***@localhost:1/x cannot be opened")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_storage_in_a_folder_that_is_not_there_or_is_no_database_is_reported(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    (tmp_path / "text.journal").write_text("this is no journal\nwhatever its name says\n")
    for bad in (
        f"sqlite:///{tmp_path}/none/x.db",
        f"sqlite:///{tmp_path}/text.db",
        f"{tmp_path}/none/x.journal",
        f"{tmp_path}/text.journal",
        "grpc://",
        "grpc://host:port",
    ):
        with pytest.raises(TrackingError, match="cannot be opened"):
            open_storage(bad)


def test_looking_into_a_storage_makes_nothing(tmp_path, journal):
    assert describe_storage(str(tmp_path / "none.journal")) == "no search yet"
    assert not (tmp_path / "none.journal").exists()
    queue(journal)
    assert describe_storage(journal) == "1 searches"


def test_our_journal_is_optunas_own(journal):
    """Another tool, such as the dashboard, reads what is written here."""
    queue(journal, 2)
    plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    assert len(optuna.load_study(study_name="study/kind", storage=plain).trials) == 2
    assert issubclass(Journal, optuna.storages.journal.JournalFileBackend)
