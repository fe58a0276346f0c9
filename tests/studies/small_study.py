"""A study of a few seconds in processes of its own, for tests that stop it or take its stores away."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from bench.data.bundled import load_digits
from bench.data.dataset import TuningData

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from bench.study.search_space import Integers
from bench.study.definition import Arm, Study
from models.vae.config import VAEConfig

STUDY = Study(
    name="small",
    question="Does a stopped study go on?",
    arms=(Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), sweep={"latent_size": Integers(1, 64)}),),
)
"""
TRIALS = 3
COMMAND = (
    f"study small.py --trials {TRIALS} --seeds 1 --images 2560 --batch-size 32 --selection-samples 2 "
    "--importance-samples 4 --evaluation-images 60 --pruner none --no-reference-model --output runs"
).split()
DEADLINE = 240
"""Seconds within which a process must come so far, or end."""


OURS = re.compile(
    r"small-digits-[0-9a-f]{8}: |vae (#\d|final|\d)|answer    |report    |MLflow    |log       |next      |stopped: |$"
    r"|your data |serve     |ask it    |the study continues|trial |best |study |final |evaluation "
)
"""How a line begins that a command of ours prints."""


def foreign_lines(output: str) -> list[str]:
    """What was printed that is none of ours, such as the messages of a library."""
    return [line for line in output.splitlines() if not OURS.match(line)]


def small_study(folder: Path, keep_classifier: Callable[[TuningData, Path], None]) -> Path:
    """The folder with the script, and the trained feature extractor, as an earlier study would have left it."""
    (folder / "small.py").write_text(SCRIPT)
    keep_classifier(load_digits().tuning, folder / "runs")
    return folder


def is_running(database: Path, tag: str, value: str) -> bool:
    """Whether a run with this tag is under way, its parameters logged: asked of the database itself."""
    query = (
        "SELECT COUNT(*) FROM runs JOIN tags USING (run_uuid) JOIN params USING (run_uuid) "
        "JOIN inputs ON destination_id = run_uuid WHERE status = 'RUNNING' AND tags.key = ? AND tags.value = ?"
    )
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return bool(connection.execute(query, (tag, value)).fetchone()[0])
    except sqlite3.OperationalError:  # not there yet, or just being made
        return False


def start_command(folder: Path, command: Sequence[str]) -> subprocess.Popen[str]:
    """A command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from studies.cli.main import main; main()", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_during(
    folder: Path, command: Sequence[str], tag: str, value: str, how: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Run a command until a run with this tag is under way, then send a signal; how it ended."""
    process = start_command(folder, command)
    try:
        until = time.monotonic() + DEADLINE
        while not is_running(folder / "runs" / "mlflow.db", tag, value):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until, f"no run with {tag}={value}"
            time.sleep(0.05)
        process.send_signal(how)
        output, _ = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output)
