"""What the processes of a study share beside its searches."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from bench.core.errors import SettingsError, StudyStoppedError, TrackingError
from bench.core.results import RunState
from bench.search import lock, processes, study_record
from bench.search.queue import Queue, Task
from bench.search.storage import open_searches, open_storage
from bench.search.study_record import StudyRecord, find_study, list_studies, removal

ROOT = Path(__file__).resolve().parents[3]
STUDY = "tiny-digits-01234567"
ELSEWHERE = {"host": "elsewhere", "boot": "b", "pid": 7, "started": 1.0}


@pytest.fixture
def opened(address):
    """Opens the record of one study, as another process would: the second one and all later ones are the same."""
    storages = []

    def record(lease=60.0):
        if len(storages) < 2:
            storages.append(open_storage(address))
        return StudyRecord(storages[-1], "tiny-digits-01234567", lease)

    return record


def test_a_specification_is_kept(opened):
    assert opened().specification is None
    opened().publish({"study_id": "x", "arms": [1, 2]})
    assert opened().specification == {"study_id": "x", "arms": [1, 2]}


def test_a_study_is_finished_but_while_it_has_a_coordinator(opened):
    one, other = opened(), opened()
    assert other.watch_coordinator().observe().is_gone
    with one.coordinator_lock():
        assert not other.watch_coordinator().observe().is_gone
    assert other.watch_coordinator().observe().is_gone


def test_a_second_coordinator_is_refused_and_learns_how_to_help(opened):
    with (
        opened().coordinator_lock(),
        pytest.raises(SettingsError, match=r"is being run by process .* reparam-bench worker tiny-digits-01234567"),
        opened().coordinator_lock(),
    ):
        pass
    assert opened().watch_coordinator().observe().is_gone


def add_ticket(record, beat=3):
    """The lock as a coordinator on another machine holds it."""
    ticket = optuna.create_trial(
        state=TrialState.RUNNING, user_attrs={"key": "elsewhere", "owner": ELSEWHERE, "beat": beat}
    )
    record._coordinator.study.add_trial(ticket)


def test_a_coordinator_that_died_here_is_replaced_at_once(opened, monkeypatch):
    add_ticket(opened())
    monkeypatch.setattr(lock, "is_surely_dead", lambda owner: owner == ELSEWHERE)
    with opened().coordinator_lock():
        assert not opened().watch_coordinator().observe().is_gone


def test_a_coordinator_on_another_machine_without_a_heartbeat_for_the_lease_is_replaced(opened):
    add_ticket(opened())
    with opened(lease=0.3).coordinator_lock():
        holder = opened()._coordinator._holder()
        assert holder.user_attrs["owner"] == processes.this_process()
    assert opened().watch_coordinator().observe().is_gone


def test_a_coordinator_on_another_machine_with_heartbeats_is_not_replaced(opened):
    one = opened()
    add_ticket(one)
    over = threading.Event()

    def beat():
        for count in range(4, 100):
            if over.wait(0.2):
                return
            one._coordinator._beat("elsewhere", count)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(SettingsError, match="process 7 on elsewhere"), opened(lease=3.0).coordinator_lock():
            pass
    finally:
        over.set()
        thread.join()


def test_a_coordinator_sends_heartbeats(opened):
    with opened(lease=0.3).coordinator_lock():
        first = opened()._coordinator.holder().beat
        threading.Event().wait(0.5)
        assert opened()._coordinator.holder().beat != first


def test_a_worker_sees_by_one_reading_whether_its_coordinator_works_died_or_ended(opened, monkeypatch):
    watch = opened().watch_coordinator()
    readings = []
    holder = watch._lock.holder
    monkeypatch.setattr(watch._lock, "holder", lambda: readings.append(1) or holder())
    assert watch.observe() == (True, None)
    add_ticket(opened())
    assert watch.observe() == (False, None)
    monkeypatch.setattr(study_record, "is_surely_dead", lambda owner: owner == ELSEWHERE)
    assert watch.observe() == (False, ELSEWHERE)
    assert len(readings) == 3


def test_a_coordinator_elsewhere_is_dead_after_a_lease_without_a_heartbeat(opened):
    watch = opened(lease=0.2).watch_coordinator()
    add_ticket(opened())
    for _ in range(6):
        assert not watch.observe().is_gone
        threading.Event().wait(0.06)
    assert watch.observe().dead == ELSEWHERE


def test_a_coordinator_that_others_took_for_dead_notices_it(opened):
    one, other = opened(lease=0.3), opened(lease=0.3)
    with one.coordinator_lock() as heartbeat:
        other._coordinator._end(other._coordinator._holder())
        with other.coordinator_lock():
            threading.Event().wait(0.3)
            assert heartbeat.lost
            assert not one.watch_coordinator().observe().is_gone
        assert one.watch_coordinator().observe().is_gone


def test_an_answer_that_is_lost_leaves_no_second_ticket(opened, monkeypatch):
    one = opened()
    add_trial = one._coordinator.study.add_trial
    lost = [ConnectionResetError("answer lost")]

    def add(ticket):
        add_trial(ticket)
        if lost:
            raise lost.pop()

    monkeypatch.setattr(one._coordinator.study, "add_trial", add)
    with one.coordinator_lock():
        assert len(one._coordinator._tickets()) == 2
        with pytest.raises(SettingsError), opened().coordinator_lock():
            pass
    assert opened().watch_coordinator().observe().is_gone


CONTENDERS, ROUNDS = 4, 4
CONTEND = """
import multiprocessing, os, sys
from bench.core.errors import SettingsError
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord

address, contenders, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
barrier = multiprocessing.get_context("fork").Barrier(contenders)


def contend(record):
    barrier.wait(60)
    try:
        with record.coordinator_lock():
            barrier.wait(60)
            return "held"
    except SettingsError:
        barrier.wait(60)
        return "refused"


for _ in range(contenders):
    if not os.fork():
        try:
            record = StudyRecord(open_storage(address), "tiny-digits-01234567", 60.0)
            results = [contend(record) for _ in range(rounds)]
            os.write(1, (" ".join(results) + "\\n").encode())
        finally:
            os._exit(0)
for _ in range(contenders):
    os.wait()
"""


def test_of_many_processes_at_once_exactly_one_becomes_the_coordinator(opened, address):
    command = [sys.executable, "-c", CONTEND, address, str(CONTENDERS), str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    results = [line.split() for line in done.stdout.splitlines()]
    assert len(results) == CONTENDERS, done.stderr
    for number in range(ROUNDS):
        assert sorted(each[number] for each in results) == ["held"] + ["refused"] * (CONTENDERS - 1), results
    assert opened().watch_coordinator().observe().is_gone


def test_a_study_is_found_by_how_it_alone_begins(address):
    storage = open_storage(address)
    for name in ("tiny-digits-0123", "tiny-digits-0456", "tiny-digits-0456-more"):
        StudyRecord(storage, name, 60.0)
    assert find_study(storage, "tiny-digits-01") == "tiny-digits-0123"
    assert find_study(storage, "tiny-digits-0456") == "tiny-digits-0456"
    with pytest.raises(TrackingError, match=r"several studies begin with 'tiny' .* holds tiny-digits-0123, tiny"):
        find_study(storage, "tiny")
    with pytest.raises(TrackingError, match="no study begins with 'huge'"):
        find_study(storage, "huge")


@pytest.fixture
def study(address):
    """A study with a search of one trial and another study beside it, whose name begins alike."""
    storage = open_storage(address)
    for name in (STUDY, f"{STUDY}-more"):
        StudyRecord(storage, name, 60.0).publish({"settings": {"lease": 0.6}})
        queue = Queue(storage, f"{name}/vae", lease=0.6)
        queue.set_open(True)
        queue.offer([Task(0)])
        queue.claim().end(RunState.COMPLETE, 2.5)
    return storage


def test_a_study_is_removed_from_every_storage_and_another_stays(study):
    with removal(study, STUDY) as remove:
        assert remove() == 1
    assert list_studies(study) == [f"{STUDY}-more"]
    assert not any(each.study_name.startswith(f"{STUDY}/") for each in study.get_all_studies())
    assert StudyRecord(study, STUDY, 60.0).specification is None


def test_a_removal_that_fails_leaves_the_study_and_its_lock_free(study):
    with pytest.raises(TrackingError, match="away"), removal(study, STUDY):
        raise TrackingError("away")
    assert list_studies(study) == [STUDY, f"{STUDY}-more"]
    assert StudyRecord(study, STUDY, 60.0).watch_coordinator().observe().is_gone


def test_a_study_removed_halfway_is_found_and_removed(study):
    optuna.delete_study(study_name=f"{STUDY}/final", storage=study)
    assert STUDY in list_studies(study)
    with removal(study, STUDY) as remove:
        remove()
    assert list_studies(study) == [f"{STUDY}-more"]


def test_a_study_is_not_removed_while_a_worker_elsewhere_sends_heartbeats(study, monkeypatch):
    queue = Queue(study, f"{STUDY}/vae", lease=0.6)
    queue.offer([Task(1)])
    claim = queue.claim()
    claim.write("owner", ELSEWHERE)
    beats = iter(range(1, 100))
    get_trials = study.get_all_trials

    def beating(*arguments, **options):
        claim.write("beat", next(beats))
        return get_trials(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(study, "get_all_trials", beating)
        with pytest.raises(SettingsError, match=f"process 7 on elsewhere works on {STUDY}"), removal(study, STUDY):
            pass
    # Its machine is gone: a lease without a heartbeat.
    with removal(study, STUDY) as remove:
        assert remove() == 1


def test_no_worker_claims_a_task_while_a_study_is_removed_and_one_that_waits_learns_of_it(study):
    queue = Queue(study, f"{STUDY}/vae", lease=0.6)
    queue.set_open(True)
    queue.offer([Task(1)])
    claimed = []

    def fail():
        claimed.append(queue.claim())
        raise TrackingError("away")

    with pytest.raises(TrackingError, match="away"), removal(study, STUDY):
        fail()
    assert claimed == [None]
    assert queue.is_open
    with removal(study, STUDY) as remove:
        remove()
    with pytest.raises(StudyStoppedError, match="the study was removed"):
        queue.claim()


def test_optunas_own_tools_show_the_searches_and_what_they_minimise(address, study):
    shown = open_searches(address).get_all_studies()
    assert [each.study_name for each in shown] == [f"{STUDY}/vae", f"{STUDY}-more/vae"]
    queue = Queue(study, f"{STUDY}/vae")
    assert queue.study.metric_names == ["bits/dim on validation"]
    queue.describe({"question": "Which?", "arm": "vae"})
    assert queue.study.user_attrs.items() >= {"question": "Which?", "arm": "vae"}.items()
