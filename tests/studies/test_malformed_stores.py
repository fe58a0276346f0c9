"""Tracking stores, storages, output folders and log files that cannot be written or are of something else."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.checks import doctor
from bench.checks.preflight import check_storage, check_tracking
from bench.core.errors import ReparamBenchError
from tests.studies.faults import ANY, any_bytes, database, raw

STUDY = ("study", "vae_vs_glow")


def tracking(uri: str) -> tuple[str, ...]:
    return (*STUDY, "--tracking-uri", uri)


def storage(url: str) -> tuple[str, ...]:
    return (*STUDY, "--storage", url)


MINE = database("CREATE TABLE mine (x INTEGER)", "INSERT INTO mine VALUES (1)")
BOTH = {
    "no file": ("x.db", raw(b"hello, this is a letter"), r"x\.db cannot be used: it is not an SQLite database"),
    "half a file": ("x.db", raw(b"SQLite for"), r"x\.db cannot be used: it is not an SQLite database"),
    "a broken file": ("x.db", raw(b"SQLite format 3\0" + b"\xff" * 2000), r"x\.db cannot be (used|reached): "),
    "something else's": ("x.db", MINE, r"x\.db cannot be used: it holds tables of another program \(mine, …\)"),
    "a folder": ("x.db", Path.mkdir, r"x\.db cannot be used: it is not a file"),
    "a pipe": ("x.db", os.mkfifo, r"x\.db cannot be used: it is not a file"),
}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("option", [tracking, storage])
def test_a_file_that_is_no_database_of_its_own_is_refused(refused, tmp_path, option, name):
    file, make, message = BOTH[name]
    make(tmp_path / file)
    refused(message, *option(f"sqlite:///{file}"))
    refused(message, *option(f"sqlite:///{tmp_path / file}"))


@pytest.mark.parametrize("option", [tracking, storage])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", r"is empty"),
        ("\t", r"is empty"),
        ("sqlite://", r"nothing would be kept in it"),
        ("sqlite:///:memory:", r"nothing would be kept in it"),
        ("sqlite:///file:x?mode=memory&uri=true", r"nothing would be kept in it"),
        ("sqlite:///gone/x.db", r"there is no folder \S+/gone; create it"),
        ("sqlite:////dev/zero", r"it is not a file"),
        ("sqlite:////proc/version", r"it is not an SQLite database"),
        ("sqlite:///" + "a" * 300, r"cannot be (reached|opened): .*too long"),
        ("sqlite+gone:///x.db", r"no such kind of database"),
        (
            "postgresql+psycopg2://me:secret@127.0.0.1:1/x",
            r"postgresql\+psycopg2://\*\*\*@127\.0\.0\.1:1/x cannot be (used|reached)",
        ),
        ("mysql+pymysql://me:secret@127.0.0.1:1/x", r"mysql\+pymysql://\*\*\*@.*driver is not installed"),
        ("postgresql://me:secret@127.0.0.1:port/x", r"=postgresql://… is not an address: .* percent-encoded"),
        ("postgresql://me:secret", r"=postgresql://… is not an address"),
        ("http://me:secret/x@host", r"=http://… is not an address"),
        ("http://me:secret#x@host", r"=http://… is not an address"),
        ("postgresql://me:sec ret@host/x", r"percent-encoded"),
        ("postgresql://me:'secret@host/x", r"percent-encoded"),
        ("postgresql://me:secret@a/b@host/x", r"percent-encoded"),
        ("postgresql://me:secret\x07@host/x", r"percent-encoded"),
        ("foo://me:secret@host/x", r"foo://\*\*\*@host/x cannot be (used|reached)"),
        ("://", r"cannot be (used|reached)"),
        ("http://[::1/secret", r"=http://… is not an address"),
        ("runs/x", r"cannot be (used|reached)"),
        ("☃", r"cannot be (used|reached)"),
    ],
)
def test_an_address_that_leads_to_no_store_is_refused(refused, option, address, message):
    refused(message, *option(address))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:1", r"http://127\.0\.0\.1:1 cannot be reached: .*refused"),
        ("http://me:secret@127.0.0.1:1/", r"http://\*\*\*@127\.0\.0\.1:1/ cannot be reached"),
        ("http://me:s%65cret@127.0.0.1:1/", r"http://\*\*\*@127\.0\.0\.1:1/ cannot be reached"),
        ("https://127.0.0.1:1/?token=secret", r"\?token=\*\*\* cannot be reached"),
        ("http://127.0.0.1:99999", r"=http://… is not an address"),
        ("http://", r"cannot be reached"),
        ("http://no such host", r"=http://… is not an address"),
        ("file:///tmp/mlruns", r"file:///tmp/mlruns cannot be reached: .*maintenance mode"),
        ("./mlruns", r"\./mlruns cannot be reached: .*maintenance mode"),
        ("databricks-uc", r"databricks-uc cannot be reached"),
    ],
)
def test_a_tracking_store_that_does_not_answer_is_refused(refused, address, message):
    refused(message, *tracking(address))


@contextmanager
def server(status: int, body: bytes = b"", wait: float = 0.0, **headers: str) -> Iterator[str]:
    """A server on this machine that gives every request the same answer; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(wait)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            """Say nothing of those who do not wait for the answer."""

    with Server(("127.0.0.1", 0), Answer) as listening:
        # By default it asks every half second whether it should stop, for which each test would wait.
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404, "body": b"<html>lost</html>"},
        {"status": 401},
        {"status": 500},
        {"status": 503, "body": b"{" * 10_000},
        {"status": 200, "body": b"<html>hello\nthere</html>"},
        {"status": 200, "body": b'{"experiments": 3}'},
        {"status": 200, "body": b"\xff\xfe"},
        {"status": 302, "Location": "/again"},
        {"status": 200, "body": b"{}", "wait": 2.0},
    ],
    ids=str,
)
def test_a_server_that_is_none_of_mlflow_is_refused(refused, monkeypatch, answer):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server(**answer) as address:
        refused(rf"tracking store {address} cannot be reached: ", *tracking(address))


def test_a_server_that_never_answers_is_given_up_within_seconds(refused, monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setattr("bench.tracking.connection.PATIENCE_SECONDS", 1)
    # Whatever the environment held when the module was imported.
    monkeypatch.setattr("bench.tracking.connection.TIMEOUT_IS_THE_USERS", False)
    began, before = time.monotonic(), dict(os.environ)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        refused(r"cannot be reached: .*timed? ?out", *tracking(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert time.monotonic() - began < 60
    assert dict(os.environ) == before


def test_one_program_s_database_is_refused_for_another_s(refused, tmp_path, stores):
    (tmp_path / "mlflow.db").write_bytes(stores.mlflow)
    (tmp_path / "optuna.db").write_bytes(stores.optuna)
    refused(
        r"optuna\.db cannot be used: it holds tables of another program .*MLflow's own",
        *tracking("sqlite:///optuna.db"),
    )
    refused(
        r"mlflow\.db cannot be used: it holds tables of another program .*Optuna's own", *storage("sqlite:///mlflow.db")
    )
    refused(r"both sqlite:///x\.db: give each a database", *tracking("sqlite:///x.db"), "--storage", "sqlite:///x.db")


@pytest.fixture(params=["ffffffffffff", "97727af70f4d"])
def foreign_store(request, tmp_path, stores):
    """The database of another version of MLflow in the output folder, and what is to be said of it.

    It lacks a table, as one of an older version does, which MLflow itself would add without a word.
    """
    (tmp_path / "runs").mkdir()
    file = tmp_path / "runs" / "mlflow.db"
    file.write_bytes(stores.mlflow)
    changes = f"UPDATE alembic_version SET version_num = '{request.param}'", "DROP TABLE logged_model_tags"  # noqa: S608
    database(*changes)(file)
    installed = re.escape(version("mlflow"))
    remedy = {
        "ffffffffffff": rf"are unknown to the installed MLflow {installed}: install the version that wrote it",
        "97727af70f4d": rf"are of an earlier MLflow than the installed {installed}: copy it, then `mlflow db ",
    }[request.param]
    return rf"mlflow\.db cannot be used: its tables \({request.param}\) {remedy}"


@pytest.mark.parametrize(
    "command",
    [
        ("study", "vae_vs_glow"),
        ("study", "vae_vs_glow", "--dry-run"),
        ("report",),
        ("evaluate", "0123"),
        ("list", "--tracking-uri", "sqlite:///runs/mlflow.db"),
        ("delete", "partial"),
    ],
    ids=" ".join,
)
def test_a_database_of_another_version_of_mlflow_is_refused_and_left_as_it_is(refused, foreign_store, command):
    refused(foreign_store, *command)


def test_the_doctor_finds_a_database_of_another_version_of_mlflow(tmp_path, foreign_store):
    before = (tmp_path / "runs" / "mlflow.db").read_bytes()
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    (found,) = doctor._check_store("tracking", uri, doctor._TRACKING_PROBE, "--tracking-uri")
    assert found.status == doctor.Status.BROKEN
    assert re.search(foreign_store, found.detail), found
    assert (tmp_path / "runs" / "mlflow.db").read_bytes() == before


def test_what_waits_is_not_uploaded_to_a_database_of_another_version_of_mlflow(
    refused, tmp_path, foreign_store, partial_store
):
    shutil.copytree(partial_store / "outbox", tmp_path / "runs" / "outbox")
    before = (tmp_path / "runs" / "mlflow.db").read_bytes()
    code, _, err = refused.cli("upload")
    assert code == 2
    assert re.search(foreign_store, err), err
    assert (tmp_path / "runs" / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("revision", ["v9.9.9.a", "v2.4.0.a"])
def test_a_database_of_another_version_of_optuna_is_refused(refused, tmp_path, stores, revision):
    (tmp_path / "x.db").write_bytes(stores.optuna)
    database(f"UPDATE alembic_version SET version_num = '{revision}'")(tmp_path / "x.db")  # noqa: S608
    refused(r"x\.db cannot be opened: .*no longer compatible", *storage("sqlite:///x.db"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\nthere\n", r"x\.journal cannot be opened: "),
        (b"\xff\xfe\n\n", r"x\.journal cannot be opened: "),
        (b'{"op_code": 99}\n{}\n', r"x\.journal cannot be opened: "),
        (b'{"op_code": 4, "study_id": 7}\n', r"x\.journal cannot be opened: "),
        (b"[]\n[]\n", r"x\.journal cannot be opened: "),
    ],
)
def test_a_journal_of_something_else_is_refused(refused, tmp_path, content, message):
    (tmp_path / "x.journal").write_bytes(content)
    refused(message, *storage("x.journal"))


def test_a_journal_that_is_no_file_is_refused(refused, tmp_path):
    (tmp_path / "folder.journal").mkdir()
    os.mkfifo(tmp_path / "pipe.journal")
    refused(r"folder\.journal cannot be used: it is not a file", *storage("folder.journal"))
    refused(r"pipe\.journal cannot be used: it is not a file", *storage("pipe.journal"))
    refused(r"there is no folder \S+/gone; create it", *storage("gone/x.journal"))


@pytest.mark.parametrize("kind", ["mlflow", "optuna", "journal"])
@ANY
@given(data=st.data())
def test_any_bytes_are_a_store_or_are_refused(tmp_path, stores, kind, data):
    # Each its own, for MLflow keeps a store open by its name.
    file = tmp_path / f"{time.monotonic_ns()}.{'journal' if kind == 'journal' else 'db'}"
    file.write_bytes(any_bytes(data, getattr(stores, kind)))
    named = file.name
    try:
        if kind == "mlflow":
            check_tracking(f"sqlite:///{file}", tmp_path)
        else:
            check_storage(str(file) if kind == "journal" else f"sqlite:///{file}", tmp_path)
    except ReparamBenchError as error:
        named = str(error)
    assert file.name in named


def test_a_database_that_shows_its_damage_only_when_it_is_read_is_refused(refused, tmp_path, stores):
    damaged = bytearray(stores.optuna)
    damaged[4096] = 255  # what kind of page the second one is
    (tmp_path / "x.db").write_bytes(damaged)
    refused(r"x\.db cannot be opened: .*malformed", *storage("sqlite:///x.db"))


def test_a_store_that_is_wrong_leaves_the_other_as_it_was(refused, tmp_path, stores):
    """Before either is opened, both are checked."""
    (tmp_path / "mlflow.db").write_bytes(stores.mlflow)
    (tmp_path / "optuna.db").write_bytes(stores.optuna)
    refused(
        r"127\.0\.0\.1:1 cannot be reached", *storage("sqlite:///optuna.db"), "--tracking-uri", "http://127.0.0.1:1"
    )
    refused(r"127\.0\.0\.1:1 cannot be reached", *storage("new.journal"), "--tracking-uri", "http://127.0.0.1:1")
    refused(r"no such kind of database", *storage("foo://x"), "--tracking-uri", "sqlite:///mlflow.db")
    refused(r"no such kind of database", *storage("foo://x"), "--tracking-uri", "sqlite:///new.db")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--tracking-uri", "sqlite:///gone.db"], r"sqlite:///gone\.db holds no study"),
        (["report", "--tracking-uri", "sqlite:///empty.db"], r"sqlite:///empty\.db holds no study"),
        (
            ["list", "--tracking-uri", "sqlite:///mine.db"],
            r"mine\.db cannot be used: it holds tables of another program",
        ),
        (["list", "--tracking-uri", "sqlite:///folder"], r"folder cannot be used: it is not a file"),
        (["ui", "--storage", "foo://x"], r"study storage foo://x cannot be used: no such kind of database"),
        (["ui", "--storage", "sqlite:///mine.db"], r"mine\.db cannot be used: it holds tables of another program"),
        (["ui", "--storage", "garbage.journal"], r"garbage\.journal cannot be opened"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_store_that_is_read_is_not_made(refused, tmp_path, partial_store, free_port, arguments, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.db").touch()
    (tmp_path / "garbage.journal").write_text("garbage\n\n")
    MINE(tmp_path / "mine.db")
    served = ["--output", str(partial_store), "--port", str(free_port())] if arguments[0] == "ui" else []
    refused(message, *arguments, *served)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("file", r"output='file': \S+/file is not a folder"),
        ("file/runs", r"output='file/runs': \S+/file is not a folder"),
        ("pipe", r"output='pipe': \S+/pipe is not a folder"),
        ("/dev/full", r"output='/dev/full': /dev/full is not a folder"),
        ("/proc/1/runs", r"output='/proc/1/runs'.*(not writable|cannot be opened|its disk has)"),
        ("loop", r"output='loop' cannot be opened"),
        ("a\nb", r"output='a\\nb' holds '\\n'"),
        ("a?b", r"output='a\?b' holds '\?'"),
        ("a#b", r"output='a#b' holds '#'"),
        ("a%20b", r"output='a%20b' holds '%'"),
        ("\x1b[31m", r"holds '\\x1b'"),
        (os.fsdecode(b"\xff"), r"output=.*(holds|valid)"),
        ("a" * 300, r"output='a+.*(cannot be opened|is not)"),
    ],
)
@pytest.mark.parametrize("command", [STUDY, ("gradients",), ("reproduce", "vae")], ids=lambda command: command[0])
def test_an_output_folder_that_cannot_be_written_is_refused(refused, tmp_path, command, output, message):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(message, *command, "--output", output)


def test_an_output_folder_on_a_full_disk_is_refused(refused, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=2**30, free=2**20))
    refused(r"output='runs': its disk has 1 MiB left, and 64 MiB are needed", *STUDY)


def test_an_output_folder_that_is_another_s_is_refused(refused, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    refused(r"output='runs': \S+ is not writable: give another", *STUDY)


@pytest.mark.parametrize("output", ["my runs", "läufe ☃ 🏃", "100%", "a@b", "a'b", 'a"b', "a;b", "a&b=c"])
def test_an_output_folder_may_have_almost_any_name(cli, tmp_path, stores, output):
    """Its stores are found there again, and nothing is made anywhere else."""
    (tmp_path / output).mkdir()
    for name in ("mlflow", "optuna"):
        (tmp_path / output / f"{name}.db").write_bytes(getattr(stores, name))
    code, out, err = cli("list", "--output", output)
    assert (code, out) == (0, "")
    assert "holds no study yet" in err
    check_storage(f"sqlite:///{tmp_path / output / 'optuna.db'}", tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {output, "mlflow.db", "optuna.db"}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("folder", r"log file 'folder' cannot be written \(Is a directory\): give another"),
        ("file/a.log", r"log file 'file/a\.log' cannot be written \((Not a directory|File exists)\)"),
        ("pipe", r"log file 'pipe' cannot be written \(it is a pipe"),
        ("a" * 300, r"log file 'a+' cannot be written \(File name too long\)"),
        ("", r"log file '\.' cannot be written \(Is a directory\)"),
    ],
)
def test_a_log_file_that_cannot_be_written_is_refused(refused, tmp_path, log, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    refused(message, *STUDY, "--log-file", log)
