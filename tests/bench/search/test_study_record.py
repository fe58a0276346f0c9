"""What the processes of a study share beside its searches."""

from __future__ import annotations

import threading

import pytest

from bench.core.errors import SettingsError, TrackingError
from bench.search import study_record as ledgers
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord, find_study

ELSEWHERE = {"host": "elsewhere", "boot": "b", "pid": 7, "created": 1.0}


@pytest.fixture
def opened(address):
    """Opens the record of one study, as another process would."""
    return lambda lease=60.0: StudyRecord(open_storage(address), "tiny-digits-01234567", lease)


def test_a_specification_is_kept(opened):
    assert opened().specification is None
    opened().publish({"study_id": "x", "families": [1, 2]})
    assert opened().specification == {"study_id": "x", "families": [1, 2]}


def test_a_study_is_over_but_while_it_has_a_coordinator(opened):
    one, other = opened(), opened()
    assert other.is_over
    with one.coordinator_lock():
        assert not other.is_over
    assert other.is_over


def test_a_second_coordinator_is_refused_and_told_how_to_help(opened):
    with (
        opened().coordinator_lock(),
        pytest.raises(SettingsError, match=r"is being run by process .* reparam-bench worker tiny-digits-01234567"),
        opened().coordinator_lock(),
    ):
        pass
    assert opened().is_over


def test_a_coordinator_that_died_here_is_replaced_at_once(opened, monkeypatch):
    opened()._write("coordinator", {"owner": ELSEWHERE, "beat": 3})
    monkeypatch.setattr(ledgers, "is_surely_dead", lambda owner: owner == ELSEWHERE)
    with opened().coordinator_lock():
        assert not opened().is_over


def test_a_coordinator_of_another_machine_that_gives_no_sign_for_the_lease_is_replaced(opened):
    opened()._write("coordinator", {"owner": ELSEWHERE, "beat": 3})
    with opened(lease=0.3).coordinator_lock():
        assert opened().coordinator_beat()["owner"] != ELSEWHERE


def test_a_coordinator_of_another_machine_that_gives_signs_of_life_is_left_in_charge(opened):
    one = opened()
    one._write("coordinator", {"owner": ELSEWHERE, "beat": 3})
    over = threading.Event()

    def beat():
        for count in range(4, 100):
            if over.wait(0.2):
                return
            one._write("coordinator", {"owner": ELSEWHERE, "beat": count})

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(SettingsError, match="process 7 on elsewhere"), opened(lease=3.0).coordinator_lock():
            pass
    finally:
        over.set()
        thread.join()


def test_a_coordinator_gives_signs_of_life(opened):
    with opened(lease=0.3).coordinator_lock():
        first = opened().coordinator_beat()
        threading.Event().wait(0.5)
        assert opened().coordinator_beat() != first


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
