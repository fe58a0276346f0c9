"""A damaged journal is named with its line, and damage at its end alone stops no study."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal._storage import JournalOperation

from bench.core.errors import TrackingError
from bench.core.file_locks import LockFileError, locked
from bench.core.results import RunState
from bench.execution.worker import _INTERRUPTIONS
from bench.search import journal as module
from bench.search.queue import Queue, Task
from bench.search.storage import describe_storage, open_storage

OPERATION = b'{"op_code":9,"worker_id":"w","trial_id":0,"system_attr":{}}\n'
TAILS = {
    "any bytes": bytes(range(256)) + b"\n",
    "any bytes without an end": bytes(range(128, 256)),
    "bytes that look like UTF-32": b"\xff\xfe\x00\x00garbage\n",
    "invalid UTF-8": b'{"op_code":9,"worker_id":"\xff\xff"}\n',
    "zeros": bytes(5000),
    "zeros and an end": bytes(100) + b"\n",
    "JSON that is no operation": b'{"a": 1}\n',
    "JSON that is no object": b"[1, 2]\n",
    "an operation without its fields": b'{"op_code":4,"worker_id":"w"}\n',
    "text": b"hello\nthere\n",
    "empty lines": b"\n\n\n",
    "half a line amid text": b'{"op_code":9,"worker\nhello',
    "numbers without end": b"[" * 100_000 + b"\n",
}


def queue(address, tasks=0):
    made = Queue(open_storage(address), "study/kind", lease=60.0)
    made.set_open(True)
    made.offer([Task(number) for number in range(tasks)])
    return made


def kept(path):
    return list(Path(path).parent.glob("*.damaged-*"))


def lines(path):
    return Path(path).read_bytes().splitlines(keepends=True)


def ended(study):
    return sum(trial.state.is_finished() for trial in study.trials)


@pytest.fixture
def written(journal):
    """A journal with three tasks, of which one has ended."""
    one = queue(journal, 3)
    one.claim().end(RunState.COMPLETE, 1.0)
    return journal


@pytest.mark.parametrize("damage", TAILS.values(), ids=TAILS.keys())
def test_a_damaged_tail_is_ignored_by_readers_and_set_aside_by_the_next_writer(written, caplog, damage):
    whole = Path(written).read_bytes()
    with Path(written).open("ab") as file:
        file.write(damage)
    reader = optuna.load_study(study_name="study/kind", storage=open_storage(written))
    assert ended(reader) == 1
    assert describe_storage(written) == "1 searches"
    assert f"{written} is damaged from line {len(whole.splitlines()) + 1} to its end" in caplog.text
    assert Path(written).read_bytes() == whole + damage
    assert kept(written) == []

    caplog.clear()
    queue(written).claim().end(RunState.COMPLETE, 1.0)
    (aside,) = kept(written)
    assert aside.read_bytes() == damage
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert Path(written).read_bytes().startswith(whole)
    assert all(json.loads(line)["worker_id"] for line in lines(written))
    (said,) = (record.getMessage() for record in caplog.records if "those" in record.getMessage())
    assert f"{written} was damaged from line {len(whole.splitlines()) + 1} to its end" in said
    assert str(aside) in said
    # The processes that had it open, and Optuna itself, read what is written since.
    assert ended(reader) == 2
    plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(written))
    assert len(optuna.load_study(study_name="study/kind", storage=plain).trials) == 3


def test_a_running_process_sets_the_tail_aside_too(written):
    one = queue(written)
    claim = one.claim()
    with Path(written).open("ab") as file:
        file.write(TAILS["any bytes"])
    claim.end(RunState.COMPLETE, 2.0)
    assert sorted(queue(written).settled()) == [0, 1]
    assert len(kept(written)) == 1


def test_a_half_written_operation_is_dropped_without_a_word(written, caplog):
    whole = Path(written).read_bytes()
    with Path(written).open("ab") as file:
        file.write(OPERATION[:30])
    caplog.clear()
    queue(written).claim()
    assert kept(written) == []
    assert Path(written).read_bytes().startswith(whole)
    assert "damaged" not in caplog.text


def test_a_line_that_others_have_read_stays_when_the_disk_does_not_confirm_it(written, monkeypatch):
    one, other = queue(written), queue(written)
    number = len(lines(written))

    def read_and_fail(file):
        assert other.settled()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    claim = one.claim()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", read_and_fail)
        with pytest.raises(TrackingError, match=os.strerror(errno.EDQUOT)):
            claim.report(0, 1.0)
    assert len(lines(written)) > number
    queue(written, 4).claim().end(RunState.COMPLETE, 2.0)
    assert sorted(other.settled()) == sorted(queue(written).settled()) == [0, 2]


@pytest.mark.parametrize("length", [1, 5, 30])
def test_a_line_that_a_full_disk_cuts_is_dropped_at_once(written, monkeypatch, length):
    storage = open_storage(written)
    whole = Path(written).read_bytes()

    def cut_and_fail(file):
        os.truncate(file, len(whole) + length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", cut_and_fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")
    assert Path(written).read_bytes() == whole
    assert kept(written) == []


def test_a_full_disk_keeps_the_damage_in_its_place_and_no_part_of_it_elsewhere(written, monkeypatch):
    storage = open_storage(written)
    with Path(written).open("ab") as file:
        file.write(TAILS["any bytes"])
    content = Path(written).read_bytes()

    def fail(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        for _ in range(2):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")
    assert (kept(written), Path(written).read_bytes()) == ([], content)
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")
    assert [file.read_bytes() for file in kept(written)] == [TAILS["any bytes"]]


@pytest.mark.parametrize("damage", TAILS.values(), ids=TAILS.keys())
def test_damage_that_operations_follow_is_named_with_its_line_and_nothing_is_changed(written, damage):
    before = lines(written)
    content = b"".join([*before[:2], damage.rstrip(b"\n") + b"\n", *before[2:]])
    one = queue(written)
    Path(written).write_bytes(content)
    for action in (lambda: open_storage(written), lambda: describe_storage(written)):
        with pytest.raises(TrackingError) as raised:
            action()
        message = str(raised.value)
        assert message.startswith(f"study storage {written} cannot be opened: line 3, ")
        assert f"{len(before) - 2} operations follow it" in message
        assert "`head -n 2`" in message
        assert "op_code" in message
        assert "\n" not in message
    assert Path(written).read_bytes() == content
    # What it advises works.
    first = Path(written).with_name("first.journal")
    first.write_bytes(b"".join(before[:2]))
    open_storage(str(first))
    del one


def test_damage_is_named_to_a_process_that_runs(written):
    one = queue(written)
    with Path(written).open("ab") as file:
        file.write(b"garbage\n" + OPERATION)
    number = len(lines(written)) - 1
    with pytest.raises(TrackingError, match=f"line {number}, b'garbage"):
        one.settled()


@pytest.mark.parametrize("content", [b"hello\n", b"hello", b"\xff\xfe\n", b"{}\n", b'{"a": "file of the user'])
def test_a_file_that_is_no_journal_is_refused_and_never_cut(journal, content):
    Path(journal).write_bytes(content)
    with pytest.raises(TrackingError, match=r"s\.journal cannot be opened: line 1, "):
        queue(journal)
    assert Path(journal).read_bytes() == content


def test_a_journal_of_zeros_alone_begins_again(journal):
    Path(journal).write_bytes(bytes(4096))
    assert queue(journal, 1).claim().number == 0
    assert [file.read_bytes() for file in kept(journal)] == [bytes(4096)]


def test_a_byte_order_mark_does_no_harm(written):
    Path(written).write_bytes(b"\xef\xbb\xbf" + Path(written).read_bytes())
    assert queue(written).claim().number == 1
    assert kept(written) == []


def test_what_a_later_version_wrote_is_refused_and_not_set_aside(written):
    with Path(written).open("ab") as file:
        file.write(b'{"op_code":11,"worker_id":"w"}\n')
    content = Path(written).read_bytes()
    with pytest.raises(TrackingError, match=r"has op_code 11, and this version of Optuna knows 0 to 10"):
        queue(written)
    assert Path(written).read_bytes() == content


def test_an_operation_of_impossible_values_is_named_by_its_line(written):
    number = len(lines(written)) + 1
    with Path(written).open("ab") as file:
        file.write(b'{"op_code":0,"worker_id":"w","study_name":"x","directions":["up"]}\n')
    with pytest.raises(TrackingError, match=rf"cannot be opened: line {number} is no operation that can follow"):
        queue(written)


def test_the_fields_are_those_of_optunas_operations(written):
    assert sorted(module._FIELDS) == sorted(JournalOperation)
    for line in lines(written):
        operation = json.loads(line)
        assert operation.keys() >= set(module._FIELDS[operation["op_code"]])


def test_processes_at_once_set_a_tail_aside_once(written):
    with Path(written).open("ab") as file:
        file.write(TAILS["any bytes"])
    queues = [Queue(open_storage(written), "study/kind", lease=60.0) for _ in range(4)]
    claims = []
    threads = [threading.Thread(target=lambda one=one: claims.append(one.claim())) for one in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.number for claim in claims if claim is not None) == [1, 2]
    assert len(kept(written)) == 1


def loop(lock):
    lock.symlink_to(lock)


def dangling(lock):
    lock.symlink_to(lock.with_name("nowhere"))


def link(lock):
    lock.with_name("target").write_text("keep")
    lock.symlink_to(lock.with_name("target"))


def unwritable(lock):
    lock.touch(0o400)


not_root = pytest.mark.skipif(os.getuid() == 0, reason="root opens all")
PLANTED = [
    (loop, "is a symbolic link, and a file is accepted: remove it"),
    (dangling, "is a symbolic link, and a file is accepted: remove it"),
    (link, "is a symbolic link, and a file is accepted: remove it"),
    (Path.mkdir, "is a folder, and a file is accepted: remove it"),
    pytest.param(unwritable, "let this user write to it, or give another folder", marks=not_root),
]


@pytest.mark.parametrize(("plant", "message"), PLANTED)
def test_a_lock_that_is_no_file_is_named_with_the_remedy(written, plant, message):
    lock = Path(f"{written}.lock")
    lock.unlink()
    storage = open_storage(written)
    plant(lock)
    with pytest.raises(TrackingError, match=message) as raised:
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")
    assert str(lock) in str(raised.value)
    assert "\n" not in str(raised.value)
    target = lock.with_name("target")
    assert not target.exists() or target.read_text() == "keep"
    assert not lock.with_name("nowhere").exists()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOLCK, errno.EIO, errno.EACCES])
def test_a_lock_that_fails_in_mid_trial_interrupts_the_trial_and_does_not_fail_it(written, monkeypatch, number):
    one = queue(written)
    claim = one.claim()

    def fail(lock):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("filelock.FileLock.acquire", fail)
        with pytest.raises(TrackingError, match=rf"cannot be locked: .*\.lock .*{os.strerror(number)}") as raised:
            claim.report(0, 1.0)
    assert isinstance(raised.value, _INTERRUPTIONS)
    assert sorted(one.settled()) == [0]


def test_a_lock_of_another_user_is_named_with_its_owner(tmp_path, monkeypatch):
    lock = tmp_path / "x.lock"
    lock.touch()
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + 1)

    def denied(lock):
        raise PermissionError(13, "denied")

    monkeypatch.setattr("filelock.FileLock.acquire", denied)
    message = rf"x\.lock, which belongs to another user \(number {os.geteuid()}\), cannot be opened \(denied\)"
    with pytest.raises(LockFileError, match=message), locked(lock):
        pass


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOLCK, errno.EROFS, errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("is_there", [True, False])
def test_nobody_is_advised_to_remove_a_lock_that_others_may_hold(tmp_path, monkeypatch, number, is_there):
    lock = tmp_path / "x.lock"
    if is_there:
        lock.touch()

    def fail(lock):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with pytest.raises(LockFileError, match=rf"x\.lock cannot be .*\({os.strerror(number)}\)") as raised, locked(lock):
        pass
    assert "remove" not in str(raised.value)
    assert ("this user" in str(raised.value)) == (number == errno.EACCES)


@not_root
def test_a_lock_in_a_folder_that_cannot_be_entered_is_named(tmp_path):
    tmp_path.chmod(0)
    with pytest.raises(LockFileError, match="cannot be created"), locked(tmp_path / "x.lock"):
        pass
    tmp_path.chmod(0o700)


@not_root
def test_a_lock_in_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LockFileError, match="cannot be created"), locked(tmp_path / "x.lock"):
        pass
