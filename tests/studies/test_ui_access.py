"""Who may reach what ``reparam-bench ui`` serves, and what others see of its secrets."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from bench.tracking.location import is_moved
from bench.tracking.server import is_loopback, password_environment, server_command, server_environment

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"  # noqa: S105 - it guards nothing
ALL = "0.0.0.0"  # noqa: S104 - the address that is refused


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_s_own_addresses_need_no_password(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", [ALL, "::", "192.0.2.1", "localhost.example", "127.0.0.1.example", "", "1.1"])
def test_any_other_address_may_be_reached_by_others(host):
    assert not is_loopback(host)


@pytest.fixture
def with_password_check(monkeypatch):
    """Whether or not it is installed here, what asks for passwords is found."""
    from studies.cli import ui

    found = ui.importlib.util.find_spec
    monkeypatch.setattr(ui.importlib.util, "find_spec", lambda name: name == "flask_wtf" or found(name))


@pytest.mark.parametrize("password", [None, "", "short", "password1234"])
def test_others_are_not_served_without_a_password_of_one_s_own(refused, monkeypatch, with_password_check, password):
    monkeypatch.delenv("REPARAM_BENCH_UI_PASSWORD", raising=False)
    if password is not None:
        monkeypatch.setenv("REPARAM_BENCH_UI_PASSWORD", password)
    message = r"host='0\.0\.0\.0' is reached by others: put a password of your own, 12 characters or more, into the "
    refused(f"{message}environment variable REPARAM_BENCH_UI_PASSWORD", "ui", "--host", ALL)


def test_others_are_not_served_where_nothing_can_ask_for_a_password(refused, monkeypatch):
    from studies.cli import ui

    monkeypatch.setattr(ui.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("REPARAM_BENCH_UI_PASSWORD", PASSWORD)
    refused(r"is not installed: pip install -e '\.\[server\]'", "ui", "--host", ALL)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "a" * 300, "☃"])
def test_an_address_of_another_machine_is_refused(refused, monkeypatch, with_password_check, partial_store, host):
    monkeypatch.setenv("REPARAM_BENCH_UI_PASSWORD", PASSWORD)
    refused(
        r"host='.*', port=5000 cannot be opened: .*; give another", "ui", "--host", host, "--output", str(partial_store)
    )


def test_a_port_of_mlflow_s_that_is_taken_is_refused(refused, partial_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = rf"host='127\.0\.0\.1', port={port} cannot be opened: Address already in use; give another"
        refused(message, "ui", "--output", str(partial_store), "--port", port)


class Ended:
    """Stands for a server that was started and has ended."""

    def __init__(self, command, **options):
        self.pid = os.getpid()

    def wait(self, timeout=None):
        return 0


def test_what_is_served_of_a_moved_folder_is_where_it_is_now(cli, partial_store, tmp_path, monkeypatch, free_port):
    from studies.cli import ui

    shutil.copytree(partial_store, tmp_path / "runs")
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    assert is_moved(uri)
    monkeypatch.setattr(ui.subprocess, "Popen", Ended)
    monkeypatch.setattr(ui.signal, "signal", lambda number, handler: None)
    port = free_port()
    code, out, _ = cli("ui", "--port", str(port))
    assert code == 0
    assert not is_moved(uri)
    assert re.search(rf"http://127.0.0.1:{port}/#/experiments/1/runs\?.*&viewStateShareKey=reparam-final \(final", out)


def test_the_address_of_a_store_is_in_no_command_line(tmp_path):
    uri = "postgresql://me:secret@host/mlflow"
    assert not any("secret" in word for word in server_command(tmp_path, 5000, with_password=True))
    assert server_environment(uri)["MLFLOW_BACKEND_STORE_URI"] == uri


def test_a_server_with_a_password_knows_its_own_names_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    environment = password_environment(PASSWORD, "192.0.2.1", 5000, tmp_path)
    hosts = environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"192.0.2.1:5000", "localhost:5000", f"{socket.gethostname()}:5000"} <= set(hosts)
    assert not any("*" in host for host in hosts)
    assert "http://192.0.2.1:5000" in environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert PASSWORD not in (tmp_path / "auth.ini").read_text()
    other = password_environment(PASSWORD, "192.0.2.1", 5000, tmp_path)
    assert environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] != other["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "runs.example.org")
    assert password_environment(PASSWORD, ALL, 1, tmp_path)["MLFLOW_SERVER_ALLOWED_HOSTS"] == "runs.example.org"


def asked(address: str, user: str = "", **headers: str) -> int:
    """The status with which a search for experiments is answered."""
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(address, b'{"max_results": 1}', headers)  # noqa: S310 - an address on this machine
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_others_must_sign_in(partial_store, tmp_path, free_port):
    pytest.importorskip("flask_wtf")
    output = shutil.copytree(partial_store, tmp_path / "runs")
    port = free_port()
    private = tmp_path / "private"
    private.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from studies.cli.main import main; main()", "ui", "--output", str(output)),
            *("--host", ALL, "--port", str(port)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "REPARAM_BENCH_UI_PASSWORD": PASSWORD, "TMPDIR": str(private)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search"
    try:
        until = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < until:
            try:
                answer = asked(address)
                break
            except OSError:
                time.sleep(0.5)
        assert process.poll() is None, process.communicate()[0]
        assert answer == 401
        assert asked(address.replace("/api/", "/ajax-api/")) == 401
        assert asked(f"http://127.0.0.1:{port}/graphql") == 401
        assert asked(address, "admin:password1234") == 401
        assert asked(address, f"admin:{PASSWORD}") == 200
        assert asked(address, f"admin:{PASSWORD}", Host=f"{socket.gethostname()}:{port}") == 200
        assert asked(address, f"admin:{PASSWORD}", Host="elsewhere.example") == 403
        assert asked(address, f"admin:{PASSWORD}", Origin="http://elsewhere.example") == 403
        servers = psutil.Process(process.pid).children(recursive=True)
        assert servers
        for server in servers:
            shown = " ".join(server.cmdline())
            assert PASSWORD not in shown
            assert "mlflow.db" not in shown
            assert "REPARAM_BENCH_UI_PASSWORD" not in server.environ()
        assert {folder.stat().st_mode & 0o077 for folder in private.glob("reparam-bench-ui-*")} == {0}
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "sign in as admin" in output
    assert PASSWORD not in output
    assert list(private.glob("reparam-bench-ui-*")) == []
    assert not (tmp_path / "basic_auth.db").exists()
