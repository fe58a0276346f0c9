"""A study that really trains comes to the very same figures, whatever becomes of its processes and of its server."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from bench.search.queue import MAX_DEATHS, Attempt, Queue
from bench.search.storage import COORDINATOR, open_storage
from bench.tracking.schema import EVALUATION_SUFFIX, KEY_TAG
from tests.browser.chromium import mlflow_server
from tests.faults.expected import VALUE
from tests.faults.proxy import FAULTS, Proxy

ROOT = Path(__file__).resolve().parents[2]
LEASE = 5.0
KINDS = ["worker killed"] * 2 + ["worker stopped", "coordinator killed", "server away"]
COUNT = len(KINDS)
OPTIONS = {
    "--epochs": "20",
    "--trials": "2",
    "--seeds": "1",
    "--sampler": "qmc",
    "--backend": "tensorflow",
    "--workers": "2",
    "--lease": str(LEASE),
    "--selection-samples": "2",
    "--importance-samples": "4",
    "--evaluation-images": "64",
}


def start(output: Path, tracking_uri: str) -> subprocess.Popen[bytes]:
    """The command, with two worker processes."""
    program = "from studies.cli.main import main; main()"
    options = [part for option in OPTIONS.items() for part in option]
    where = ["--output", str(output), "--tracking-uri", tracking_uri]
    flags = ["--pruner", "none", "--no-reference-model", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", program, "study", str(ROOT / "tests/faults/expected.py"), *options, *where, *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"},
        stdout=subprocess.DEVNULL,
    )


def workers(output: Path) -> list[psutil.Process]:
    """The worker processes of a study that is run there, those that have lost their coordinator too."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "worker" in command and str(output) in command:
            found.append(process)
    return found


def queue_names(storage: BaseStorage) -> list[str]:
    names = [study.study_name for study in storage.get_all_studies()]
    return [name for name in names if not name.endswith(COORDINATOR)]


def attempts_so_far(output: Path) -> list[tuple[str, FrozenTrial]]:
    """All attempts that the storage has, with the names of their queues."""
    if not (output / "optuna.journal").exists():
        return []
    storage = open_storage(str(output / "optuna.journal"))
    names = queue_names(storage)
    found = [
        (name, trial) for name in names for trial in storage.get_all_trials(storage.get_study_id_from_name(name), False)
    ]
    return [(name, trial) for name, trial in found if "task" in trial.user_attrs]


def evaluations(attempts: list[tuple[str, FrozenTrial]]) -> int:
    """How many evaluations are reported, each counted once however many attempts came to it."""
    return len({(name, each.user_attrs["task"], step) for name, each in attempts for step in each.intermediate_values})


def is_at_its_last_attempt(attempts: list[tuple[str, FrozenTrial]]) -> bool:
    """Whether a task is worked on that counts as failed if its process dies once more, as it should."""
    return any(not each.state.is_finished() and each.user_attrs["attempt"] >= MAX_DEATHS for _, each in attempts)


def disturbed(output: Path, proxy: Proxy, whole: int) -> Counter[str]:
    """Run the study with faults, spread over its evaluations, ``whole`` of them, and without faults to its end."""
    rng, faults = random.Random(1), Counter[str]()  # noqa: S311 - no secret
    kinds = rng.sample(KINDS, COUNT)
    study = start(output, proxy.address)
    try:
        while study.poll() is None or study.returncode:
            if study.poll() is not None:
                # Killed, or at an end without its server: the same command continues.
                study = start(output, proxy.address)
            time.sleep(0.3)
            if faults.total() == COUNT:
                continue
            attempts = attempts_so_far(output)
            # However fast the machine is: no fault before the study has come further than at the one before.
            if evaluations(attempts) < whole * (faults.total() + 0.5) / (COUNT + 0.5) or is_at_its_last_attempt(
                attempts
            ):
                continue
            kind = kinds[faults.total()]
            if kind == "server away":
                proxy.mode = rng.choice(FAULTS)
                time.sleep(rng.uniform(1.0, 4.0))
                proxy.mode = "pass"
            elif kind == "coordinator killed":
                study.kill()
                study.wait()
            elif living := workers(output):
                victim = rng.choice(living)
                if kind == "worker killed":
                    victim.kill()
                else:
                    victim.suspend()
                    time.sleep(LEASE * rng.uniform(0.5, 2.0))
                    victim.resume()
            else:
                continue
            faults[kind] += 1
        psutil.wait_procs(workers(output), timeout=120)
    finally:
        if study.poll() is None:
            study.send_signal(signal.SIGTERM)
            study.wait()
        for process in workers(output):
            process.kill()
    return faults


def settled(output: Path) -> dict[tuple[str, int], Attempt]:
    """Each task's attempt that counts, by the name of its queue and its number."""
    storage = open_storage(str(output / "optuna.journal"))
    return {
        (name, number): each for name in queue_names(storage) for number, each in Queue(storage, name).settled().items()
    }


def assert_logged_once(client: MlflowClient, experiment: str, found: dict[tuple[str, int], Attempt]) -> None:
    runs: dict[str, list[Any]] = {}
    for run in client.search_runs([experiment], max_results=1000):
        assert run.info.status != "RUNNING"
        runs.setdefault(run.data.tags.get(KEY_TAG, ""), []).append(run)
    for attempt in found.values():
        (run,) = runs[attempt.key]
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, f"{VALUE}{EVALUATION_SUFFIX}")
        logged = [(each.step, each.value) for each in sorted(history, key=lambda each: each.step)]
        assert logged == sorted(attempt.frozen.intermediate_values.items())


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_training_comes_to_the_same_figures_whatever_breaks(tmp_path: Path) -> None:
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    undisturbed = start(quiet, f"sqlite:///{tmp_path / 'quiet.db'}")
    assert undisturbed.wait() == 0
    proxied = ("--artifacts-destination", str(tmp_path / "kept"), "--default-artifact-root", "mlflow-artifacts:/")
    with (
        mlflow_server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, *proxied) as address,
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        faults = disturbed(loud, proxy, evaluations(attempts_so_far(quiet)))
        print(dict(faults))
        client = MlflowClient(address)
        (experiment,) = [each for each in client.search_experiments() if each.name.startswith("reparam-bench/")]
        expected, found = settled(quiet), settled(loud)
        assert_logged_once(client, experiment.experiment_id, found)
    assert faults.total() == COUNT
    assert expected.keys() == found.keys()
    for task, attempt in expected.items():
        assert (found[task].state, found[task].objective) == (attempt.state, attempt.objective), task
        assert found[task].frozen.intermediate_values == attempt.frozen.intermediate_values, task
    for folder in ("outbox", "checkpoints"):
        assert [file for file in (loud / folder).rglob("*") if file.is_file()] == []
