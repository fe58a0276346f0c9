"""Credentials in the addresses of stores: in nothing that is shown or kept, whatever goes wrong."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKING = "http://keeper:hunter2@127.0.0.1:1/"
STORAGE = "postgresql+psycopg2://keeper:hun%40ter2@127.0.0.1:1/x?password=hunter3"
SECRETS = ("hunter2", "hun%40ter2", "hun@ter2", "hunter3", "keeper")


def kept(folder: Path) -> str:
    """All that stands in the names and the contents of the files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "\n".join(f"{path} {path.read_bytes().decode(errors='replace')}" for path in files)


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "addresses",
    [["--tracking-uri", TRACKING], ["--storage", STORAGE], ["--storage", STORAGE, "--tracking-uri", TRACKING]],
    ids=["tracking", "storage", "both"],
)
def test_a_process_tells_nobody_the_credentials_of_stores_that_it_cannot_reach(tmp_path, addresses):
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from studies.cli.main import main; main()", "study", "vae_vs_glow"),
            *(*addresses, "--log-file", "mine/a.log"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "***@127.0.0.1:1" in done.stderr
    assert secrets_in(done.stdout + done.stderr + kept(tmp_path)) == []


def failure() -> None:
    """What libraries say of addresses: in warnings, in logs, and in errors of errors."""
    import requests
    import sqlalchemy

    warnings.warn(f"{TRACKING} is slow", stacklevel=2)
    logging.getLogger("mlflow.store").warning("retrying %s", TRACKING)
    logging.getLogger("sqlalchemy").error(
        "%s is gone", sqlalchemy.make_url(STORAGE).render_as_string(hide_password=False)
    )
    try:
        try:
            requests.get(TRACKING.replace(":1/", ":x/"), timeout=1)
        except requests.RequestException as error:
            raise OSError(f"no answer from {STORAGE}") from error
    except OSError as error:
        error.add_note(f"while {TRACKING} was asked")
        raise RuntimeError(f"{{'uri': '{TRACKING}', 'storage': \"{STORAGE}\"}}") from error


def test_a_study_that_breaks_tells_nobody_the_credentials(cli, tmp_path, monkeypatch):
    """The log has the tracebacks of all the errors, without what must not be in them."""
    monkeypatch.setattr("bench.workflows.run.check_stores", lambda *arguments: None)
    monkeypatch.setattr("bench.workflows.run.select_backend", lambda name: None)
    monkeypatch.setattr("bench.workflows.run.load", lambda *arguments: failure())
    stores = ["--tracking-uri", TRACKING, "--storage", STORAGE]
    code, out, err = cli("study", "vae_vs_glow", *stores, "--log-file", "a.log")
    assert code == 1
    log = (tmp_path / "a.log").read_text()
    for words in ("InvalidURL", "no answer from postgresql", "was asked", "is slow", "is gone"):
        assert words in log
    assert secrets_in(out + err + kept(tmp_path)) == []


def test_a_plan_tells_nobody_the_credentials(cli, tmp_path):
    code, out, err = cli("study", "vae_vs_glow", "--dry-run", "--tracking-uri", TRACKING, "--storage", STORAGE)
    assert code == 0
    assert "postgresql+psycopg2://***@127.0.0.1:1/x?password=***" in out
    assert secrets_in(out + err + kept(tmp_path)) == []


def test_the_command_that_is_kept_with_results_has_no_credentials(monkeypatch):
    from bench.runtime.provenance import command_line

    words = ["python", "-m", "x", "--tracking-uri", TRACKING, f"--storage={STORAGE}", "it's here"]
    monkeypatch.setattr(sys, "orig_argv", words)
    line = command_line()
    assert secrets_in(line) == []
    assert "http://***@127.0.0.1:1/" in line
