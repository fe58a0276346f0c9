"""A study on a Ray cluster comes to its end though a node dies, and goes on without Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.tracking.reading.reader import load_results
from reports.pages.write import write_report
from tests.faults.chaos import WORKERS_SECONDS
from tests.faults.invariants import check
from tests.faults.processes import start_coordinator, start_worker
from tests.faults.ray_study import place

ROOT = Path(__file__).resolve().parents[2]
OWN_NETWORK = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Ray listens on all interfaces, and leaves processes behind: here it has its own, and they end with it."""
TRIALS, MORE_TRIALS = 3, 5


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_study_outlives_a_node_of_its_cluster_and_goes_on_without_one(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed here: pip install -e '.[ray]'")
    if subprocess.run([*OWN_NETWORK, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network of its own can be made here (unshare): Ray would listen on all interfaces")
    began = time.monotonic()
    ended = subprocess.run(
        [*OWN_NETWORK, sys.executable, "-m", "tests.faults.ray_study", str(tmp_path), str(TRIALS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=400,
        check=True,
    )
    printed = json.loads(ended.stdout.splitlines()[-1])
    where = place(tmp_path)
    found = check(where.bound(TRIALS), str(where.tracking_uri))
    print(f"{time.monotonic() - began:.0f} s", dict(found.counts), sep="\n")
    found.assert_none()
    assert printed["killed"]
    assert found.counts["deaths"] == 1
    assert printed["logs"] > 0
    assert printed["held the address"] == []
    results = load_results(str(where.tracking_uri), where.bound(TRIALS).study_id)
    assert write_report(results, tmp_path / "report").html.stat().st_size > 0

    coordinator = start_coordinator(where, MORE_TRIALS)
    while coordinator.is_alive():
        # One that comes before the coordinator finds the study over, and ends.
        assert start_worker(where).join(WORKERS_SECONDS)
    assert coordinator.exitcode == 0
    found = check(where.bound(MORE_TRIALS), str(where.tracking_uri))
    found.assert_none()
    assert found.counts["tasks"] >= 2 * MORE_TRIALS
    assert found.counts["attempts"] == found.counts["tasks"] + 1
