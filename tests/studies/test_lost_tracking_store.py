"""A study whose tracking store is lost while it runs."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bench.data.dataset import TuningData
from tests.studies.small_study import COMMAND, DEADLINE, ROOT, is_running, small_study


@pytest.mark.slow
def test_a_tracking_store_that_is_lost_ends_a_quiet_study_in_one_line_with_its_traceback_in_the_log(
    keep_classifier: Callable[[TuningData, Path], None], tmp_path: Path
):
    """It is the only line: what the backend tells of its start and its compilations is not there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = small_study(tmp_path, keep_classifier)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            # Nobody waits half a minute for a store that does not come back.
            "import bench.tracking.tracker as w; w.DRAIN_SECONDS = 2.0; from studies.cli.main import main; main()",
            *COMMAND,
            "--backend",
            "tensorflow",
            "--images",
            "15000",
            "--trials",
            "1",
            "--quiet",
            "--log-file",
            "a.log",
        ],
        cwd=folder,
        env={name: value for name, value in environment.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + DEADLINE
        while not is_running(folder / "runs" / "mlflow.db", "reparam.number", "0"):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, "no trial began"
            time.sleep(0.05)
        with closing(sqlite3.connect(folder / "runs" / "mlflow.db", timeout=60)) as database:
            for table in ("metrics", "latest_metrics"):
                database.execute(f"DROP TABLE {table}")
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == 2
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert re.match(r"error: tracking store sqlite:.* cannot be (reached|used): ", err)
    log = (folder / "a.log").read_text()
    assert "no such table: metrics" in log
    assert re.search(r"ended by an error: tracking store .*\nTraceback \(most recent call last\)", log)
    assert len(re.findall("tracking server .* cannot be reached", log)) == 1
    assert re.search(r"INFO +bench\.execution\.progress: vae #0 latent_size=2: begins\n", log)
