"""A study that really trains comes to the very same figures, whatever becomes of its processes and of its server."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bench.core.results import RunState
from bench.search.queue import MAX_DEATHS, Attempt, Queue
from bench.search.storage import COORDINATOR, open_storage
from bench.tracking.schema import EVALUATION_SUFFIX, KEY_TAG
from tests.browser.chromium import mlflow_server
from tests.faults.expected import VALUE
from tests.faults.proxy import FAULTS, Proxy

ROOT = Path(__file__).resolve().parents[2]
LEASE = 5.0
KINDS = ["worker killed"] * 2 + ["worker stopped", "coordinator killed", "server away"]
KILLS = ["worker killed"] * 3 + ["coordinator killed"]
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


def start(output: Path, tracking_uri: str, study: str = "expected", **changes: str) -> subprocess.Popen[bytes]:
    """The command, with two worker processes."""
    program = "from studies.cli.main import main; main()"
    changed = {f"--{name}": value for name, value in changes.items()}
    options = [part for option in ({"--pruner": "none"} | OPTIONS | changed).items() for part in option]
    where = ["--output", str(output), "--tracking-uri", tracking_uri]
    flags = ["--no-reference-model", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", program, "study", str(ROOT / f"tests/faults/{study}.py"), *options, *where, *flags],
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
    lost: Counter[tuple[str, int]] = Counter()
    for name, each in attempts:
        task = name, each.user_attrs["task"]
        if each.state in (TrialState.COMPLETE, TrialState.PRUNED):
            lost[task] = 0
        elif each.state == TrialState.FAIL:
            lost[task] += 1
        elif lost[task] >= MAX_DEATHS - 1:
            return True
    return False


def disturbed(
    begin: Callable[[], subprocess.Popen[bytes]],
    output: Path,
    first: int,
    last: int,
    of: Sequence[str],
    proxy: Proxy | None = None,
) -> Counter[str]:
    """Run the study with faults, spread over its evaluations from one to another, and without faults to its end."""
    rng, faults = random.Random(1), Counter[str]()  # noqa: S311 - no secret
    kinds = rng.sample(of, len(of))
    study = begin()
    try:
        while study.poll() is None or study.returncode:
            if study.poll() is not None:
                # Killed, or at an end without its server: the same command continues.
                study = begin()
            time.sleep(0.3)
            if faults.total() == len(kinds):
                continue
            attempts = attempts_so_far(output)
            # However fast the machine is: no fault before the study has come further than at the one before.
            due = first + (last - first) * (faults.total() + 0.5) / (len(kinds) + 0.5)
            if evaluations(attempts) < due or is_at_its_last_attempt(attempts):
                continue
            kind = kinds[faults.total()]
            if kind == "server away":
                assert proxy is not None
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


def names_of(output: Path) -> list[str]:
    return queue_names(open_storage(str(output / "optuna.journal")))


def queue_of(output: Path, name: str) -> Queue:
    return Queue(open_storage(str(output / "optuna.journal")), name)


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
        whole = evaluations(attempts_so_far(quiet))
        faults = disturbed(lambda: start(loud, proxy.address), loud, 0, whole, KINDS, proxy)
        print(dict(faults))
        client = MlflowClient(address)
        (experiment,) = [each for each in client.search_experiments() if each.name.startswith("reparam-bench/")]
        expected, found = settled(quiet), settled(loud)
        assert_logged_once(client, experiment.experiment_id, found)
    assert faults.total() == len(KINDS)
    assert expected.keys() == found.keys()
    for task, attempt in expected.items():
        assert (found[task].state, found[task].objective) == (attempt.state, attempt.objective), task
        assert found[task].frozen.intermediate_values == attempt.frozen.intermediate_values, task
    assert_tidy(loud)


def assert_tidy(output: Path) -> None:
    """Nothing waits for upload, and the checkpoints that are left are whole."""
    assert [file for file in (output / "outbox").rglob("*") if file.is_file()] == []
    assert [file for file in (output / "checkpoints").rglob("*") if file.is_file() and file.suffix != ".npz"] == []


def assert_curves_equal(quiet: Path, loud: Path) -> Counter[str]:
    """Each attempt that counts logged the whole curve of the one before, and what was trained without faults.

    Which trials are continued depends on the order in which they end: compared is how far both were trained.
    """
    compared = Counter[str]()
    for name in names_of(loud):
        expected, curves = queue_of(quiet, name).settled(), dict[int, dict[int, float]]()
        for attempt in queue_of(loud, name).attempts():
            same = expected.get(attempt.number)
            if not attempt.counts or same is None or same.note.get("config_hash") != attempt.note.get("config_hash"):
                continue
            assert attempt.state in (RunState.COMPLETE, RunState.PRUNED), attempt
            curve, earlier = attempt.frozen.intermediate_values, curves.get(attempt.number, {})
            common = curve.keys() & same.frozen.intermediate_values.keys()
            assert same.values == attempt.values
            assert {step: curve[step] for step in common} == {
                step: same.frozen.intermediate_values[step] for step in common
            }
            assert earlier.items() < curve.items()
            curves[attempt.number] = curve
            compared["continued" if earlier and len(common) > len(earlier) else "begun"] += 1
            if (
                (attempt.state, attempt.evaluations)
                == (same.state, same.evaluations)
                == (RunState.COMPLETE, len(curve))
            ):
                assert attempt.objective == same.objective, attempt
                compared["objectives"] += 1
    return compared


EPOCHS = 30


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_trials_that_are_continued_after_kills_equal_those_that_never_stopped(tmp_path: Path) -> None:
    """A search by rungs and its extension to twice the budget; beside one of that budget at once, without faults."""
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"

    def begin(epochs: int, output: Path = loud) -> subprocess.Popen[bytes]:
        options = {"study": "one_vae", "trials": "4", "pruner": "halving", "epochs": str(epochs)}
        return start(output, f"sqlite:///{output}.db", **options)

    assert begin(2 * EPOCHS, quiet).wait() == 0

    # At least: all trials to the first rung, two to the second and one to the end, which is trained again.
    least = (4 + 2) * (EPOCHS // 4) + (EPOCHS - EPOCHS // 2) + EPOCHS
    faults = disturbed(lambda: begin(EPOCHS), loud, 0, least, KILLS)
    reached = evaluations(attempts_so_far(loud))
    faults += disturbed(lambda: begin(2 * EPOCHS), loud, reached, reached + EPOCHS, KILLS)
    assert faults.total() == 2 * len(KILLS)
    compared = assert_curves_equal(quiet, loud)
    print(dict(faults), dict(compared))
    assert compared["continued"] >= 3
    assert compared["objectives"] >= 1
    assert_tidy(loud)
