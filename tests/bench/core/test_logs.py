"""The log file, and how an error becomes one line."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import threading
import warnings
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from rich.console import Console

from bench.core.errors import DataError, SettingsError, UnexpectedError
from bench.core.logs import LONGEST_REASON, UPLOADER_LOGGER, UPLOADER_THREAD, default_log_file, log_to_file, one_line
from bench.tracking.outbox import uploader as uploader

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=1000)


def test_lines_tell_time_zone_level_and_source_and_no_credentials(tmp_path, console):
    path = tmp_path / "logs" / "a.log"
    with log_to_file(path, console):
        logging.getLogger("bench.some").info("store %s", "postgresql://me:secret@host/db")
    assert re.fullmatch(rf"{STAMP} INFO    bench\.some: store postgresql://\*\*\*@host/db\n", path.read_text())
    assert console.file.getvalue() == ""


def test_a_second_command_appends_and_nothing_is_written_after_the_end(tmp_path, console):
    path = tmp_path / "a.log"
    for line in ("first", "second"):
        with log_to_file(path, console):
            logging.getLogger("bench").info(line)
    logging.getLogger("bench").error("late")
    assert [line.rpartition(" ")[2] for line in path.read_text().splitlines()] == ["first", "second"]


def test_what_libraries_warn_of_is_one_line_on_the_console_and_in_the_log(tmp_path, console):
    path = tmp_path / "a.log"
    with log_to_file(path, console):
        logging.getLogger("some.library").warning("retrying\nhttp://me:secret@host")
        logging.getLogger("some.library").info("details")
        logging.getLogger("bench").error("said elsewhere")
        warnings.warn("a feature is going", stacklevel=1)
    first, second = console.file.getvalue().splitlines()
    assert first == "warning: retrying http://***@host"
    assert "a feature is going" in second
    assert "secret" not in path.read_text()
    assert "said elsewhere" in path.read_text()


def test_of_the_uploader_its_own_words_are_shown_and_not_what_its_libraries_say_at_each_attempt(tmp_path, console):
    path = tmp_path / "a.log"

    def attempt() -> None:
        logging.getLogger("some.library").error("database is locked")
        logging.getLogger(UPLOADER_LOGGER).warning("server http://me:secret@host is away")

    assert uploader.log.name == UPLOADER_LOGGER
    with log_to_file(path, console):
        thread = threading.Thread(target=attempt, name=UPLOADER_THREAD)
        thread.start()
        thread.join()
    assert console.file.getvalue() == "warning: server http://***@host is away\n"
    assert "database is locked" in path.read_text()


def fail(error: BaseException) -> None:
    try:
        raise KeyError("http://me:secret@host/deep")
    except KeyError as cause:
        raise error from cause


def test_an_unexpected_error_leaves_its_whole_traceback_without_credentials(tmp_path, console):
    path = tmp_path / "a.log"
    with pytest.raises(UnexpectedError) as caught, log_to_file(path, console):
        fail(RuntimeError("first line\nhttp://me:secret@host/x"))
    assert str(caught.value) == (
        f"RuntimeError: first line http://***@host/x; the traceback is in {path}; this is a fault of "
        "reparam-bench: please report it with that file"
    )
    text = path.read_text()
    assert text.count("Traceback (most recent call last)") == 2
    assert "KeyError: 'http://***@host/deep'" in text
    assert "in fail" in text
    assert "secret" not in text


WAYS_OUT = {
    "lost store": (MlflowException("no such table: runs"), "reparam-bench doctor"),
    "out of memory": (MemoryError(), "smaller --batch-size"),
    "full disk": (OSError(errno.ENOSPC, "No space left on device", "runs/optuna.db"), "disk has room"),
    "broken pipe": (OSError(errno.EIO, "Input/output error"), "report it"),
}


@pytest.mark.parametrize("case", WAYS_OUT)
def test_the_message_says_the_way_out(tmp_path, console, case):
    error, way_out = WAYS_OUT[case]
    with pytest.raises(UnexpectedError, match=way_out), log_to_file(tmp_path / "a.log", console):
        fail(error)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A folder with an output folder ``runs``, and a link to it."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("link").symlink_to("runs")
    Path("runs/loop").symlink_to("loop")


@pytest.mark.parametrize("output", ["runs", "link"])
@pytest.mark.parametrize(
    ("errno_", "names", "place"),
    [
        (errno.ENOTDIR, ("runs/x",), "runs/x"),
        (errno.EISDIR, ("runs/.x.tmp", None, "runs/x"), "runs/x"),
        (errno.EEXIST, (b"runs/x",), "runs/x"),
        (errno.ELOOP, ("runs/loop",), "runs/loop"),
        (errno.ELOOP, ("runs/loop/x",), "runs/loop/x"),
        (errno.EEXIST, ("link/x",), "link/x"),
    ],
)
def test_what_is_in_the_way_is_named(outputs, console, output, errno_, names, place):
    with (
        pytest.raises(SettingsError) as raised,
        log_to_file(Path("a.log"), console, Path(output)),
    ):
        fail(OSError(errno_, os.strerror(errno_), *names))
    assert str(raised.value) == (
        f"'{place}' cannot be used ({os.strerror(errno_)}): move what lies there or above it away; "
        "the traceback is in a.log"
    )


@pytest.mark.parametrize("name", ["my_plot.png", "../elsewhere/x", "/usr/lib/x", "runs2/x", 7])
def test_what_is_in_the_way_of_a_users_own_file_or_of_a_librarys_is_an_unexpected_error(outputs, console, name):
    with (
        pytest.raises(UnexpectedError, match=r"^FileExistsError: .*; the traceback is in a\.log; check that the file"),
        log_to_file(Path("a.log"), console, Path("runs")),
    ):
        fail(FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name))


def test_a_very_long_reason_is_cut_in_the_message_alone(tmp_path, console):
    path = tmp_path / "a.log"
    with pytest.raises(UnexpectedError) as caught, log_to_file(path, console):
        fail(ValueError("x" * 5000))
    assert len(str(caught.value)) < LONGEST_REASON + 300
    assert "x" * 5000 in path.read_text()


def test_an_error_of_the_user_s_stays_as_it_is_and_is_logged(tmp_path, console):
    path = tmp_path / "a.log"
    error = DataError("no such file")
    with pytest.raises(DataError) as caught, log_to_file(path, console):
        fail(error)
    assert caught.value is error
    assert "ended by an error: no such file\nTraceback" in path.read_text()


def test_a_stop_is_logged_without_a_traceback(tmp_path, console):
    path = tmp_path / "a.log"
    with pytest.raises(KeyboardInterrupt), log_to_file(path, console):
        raise KeyboardInterrupt
    assert path.read_text().endswith("ended by KeyboardInterrupt\n")


def test_a_log_file_that_cannot_be_made_is_reported_before_any_work(tmp_path, console):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(SettingsError, match=r"file/a\.log' cannot be written \(.*\): give another with --log-file"),
        log_to_file(tmp_path / "file" / "a.log", console),
    ):
        pytest.fail("work began")


def test_a_log_on_a_full_disk_stops_nothing_and_the_traceback_is_shown_instead(tmp_path, console, capsys):
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")

    def work() -> None:
        logging.getLogger("bench").info("one")
        logging.getLogger("bench").info("two")
        fail(RuntimeError("http://me:secret@host"))

    with pytest.raises(UnexpectedError, match="the traceback is above"), log_to_file(path, console):
        work()
    err = capsys.readouterr().err
    assert err.count("a.log cannot be written: ") == 1
    assert "in fail" in err
    assert "secret" not in err


def test_the_default_file_lies_in_the_output_folder_and_tells_the_moment_and_the_command(tmp_path):
    path = default_log_file(tmp_path, "evaluate")
    assert path.parent == tmp_path / "logs"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}-evaluate\.log", path.name)


def test_one_line_has_no_character_that_commands_a_terminal():
    assert one_line("a\x1b[31m\n\tb\u202e http://u:p@h \u00e9") == "a [31m b http://***@h é"
