"""A study whose terminal or output is lost: it stops as it should, or continues as if nothing had happened."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data.dataset import TuningData
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from studies.cli.output import lasting_output
from tests.studies.small_study import COMMAND, DEADLINE, ROOT, TRIALS, is_running, small_study

PROGRAM = [sys.executable, "-c", "from studies.cli.main import main; main()"]
SHORT = """
import sys
from studies.cli.output import lasting_output
with lasting_output():
    for _ in range(3):
        print("x" * 100_000, flush=True)
        print("y", file=sys.stderr, flush=True)
    with open("done", "w") as file:  # must not get the descriptor of standard output or error
        assert file.fileno() > 2
        file.write("done")
"""


@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        (">/dev/full", 1, "error: standard output cannot be written (No space left on device)\n"),
        (">/dev/full 2>&1", 1, ""),
        ("2>/dev/full", 0, ""),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("| head -c 1 >/dev/null", 0, ""),
    ],
)
def test_output_that_cannot_be_written_is_dropped_and_a_lost_result_has_its_status(
    tmp_path, redirection, status, message
):
    (tmp_path / "short.py").write_text(SHORT)
    command = f"set -o pipefail; {sys.executable} short.py {redirection}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.replace("y\n", "")) == (status, message)
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str)
def test_a_terminal_of_few_characters_gets_the_others_as_escapes(tmp_path, setting):
    program = (
        "import sys; from studies.cli.output import lasting_output\nwith lasting_output(): print('2.04 \\xb1 0.01')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONCOERCECLOCALE": "0", **setting}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, b"", b"2.04 \\xb1 0.01\n")


def test_what_can_be_written_is_and_the_streams_come_back(capsys):
    before = sys.stdout
    with lasting_output():
        print("seen")
        assert not sys.stdout.isatty()
    assert sys.stdout is before
    assert capsys.readouterr().out == "seen\n"


@pytest.mark.slow
def test_a_study_whose_terminal_is_closed_stops_and_continues_without_any_output(
    tmp_path: Path, keep_classifier: Callable[[TuningData, Path], None]
):
    folder = small_study(tmp_path, keep_classifier)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    terminal, of_the_study = pty.openpty()
    # A session of its own with this as its terminal, which gets SIGHUP where it is closed.
    acquire = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", acquire, *PROGRAM, *COMMAND],
        cwd=folder,
        env=environment,
        stdin=of_the_study,
        stdout=of_the_study,
        stderr=of_the_study,
        start_new_session=True,
    )
    os.close(of_the_study)
    os.set_blocking(terminal, False)
    try:
        until = time.monotonic() + DEADLINE
        while not is_running(folder / "runs" / "mlflow.db", "reparam.number", "1"):
            assert first.poll() is None
            assert time.monotonic() < until
            try:
                os.read(terminal, 1 << 16)
            except BlockingIOError:
                time.sleep(0.05)
        os.close(terminal)
        assert first.wait(DEADLINE) == 130
    finally:
        first.kill()
    with Path("/dev/full").open("w") as full:
        second = subprocess.run(
            [*PROGRAM, *COMMAND], cwd=folder, env=environment, stdout=full, stderr=full, check=False, timeout=DEADLINE
        )
    # The study is complete, and what it said of it is lost.
    assert second.returncode == 1
    uri = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    (study_id,) = list_studies(uri)
    runs = load_results(uri, study_id).runs
    assert sorted(runs["state"]) == ["complete"] * (TRIALS + 1) + ["interrupted"]
    logs = "".join(path.read_text(encoding="utf-8") for path in (folder / "runs" / "logs").glob("*.log"))
    assert "Traceback" not in logs
