"""How studies scale over worker processes: what is measured, and written to reports/benchmarks/scaling.csv and .md.

Trials wait instead of computing, so that what is left is the harness itself: claims, reports, signs of life, outboxes,
uploads, the coordinator. Then each part by itself, to tell which one is the first that 1,000 workers would exhaust.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from optuna.storages import InMemoryStorage, RDBStorage, run_grpc_proxy_server
from optuna.trial import TrialState, create_trial
from scipy.stats import mannwhitneyu

from bench.core.errors import LostTrialError
from bench.core.results import RunState
from bench.runtime.provenance import commit, processor
from bench.search.queue import Attempt, Queue, Task
from bench.search.sampler import Search
from bench.search.storage import open_storage
from bench.study.search_space import Integers, Reals
from tests.benchmarks.scaling.page import page
from tests.browser.chromium import mlflow_server
from tests.faults.expected import EVALUATIONS
from tests.faults.invariants import check
from tests.faults.postgres import Postgres, find_programs, free_port
from tests.faults.processes import Place
from tests.faults.proxy import Proxy

OUTPUT = Path(__file__).resolve().parents[3] / "reports" / "benchmarks"
WORKERS = (1, 2, 4, 8, 16)
ATTEMPTS = (100, 1_000, 10_000)
SEEDS = 20
Row = tuple[str, str, str, float]
"""Part, what it was measured of, figure, value."""

_context = multiprocessing.get_context("forkserver")
# All that is forked has what it needs at once: what is timed is work, not imports.
_context.set_forkserver_preload(["tests.faults.stand_in", "tests.benchmarks.scaling.measure"])


def study_of_waiting_trials(workers: int, storage: str | None, evaluation_seconds: float, trials: int) -> list[Row]:
    """A whole study, through the real coordinator and its worker processes; ``trials`` for each of them."""
    from rich.console import Console

    from bench.core.signals import StopRequest
    from bench.data.bundled import load_digits
    from bench.data.shared import share
    from bench.execution.coordinator import Coordinator
    from bench.execution.executors.local import LocalWorkers
    from bench.execution.progress import StudyProgress
    from bench.execution.session import open_session
    from tests.faults.waiting_worker import STORAGE, TRACKING

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place(
            storage or str(folder / "optuna.journal"),
            f"sqlite:///{folder / 'mlflow.db'}",
            folder,
            folder / "logs",
            lease=60.0,
            seeds=1,
        )
        bound = place.bound(max(1, workers * trials // 2))
        share(load_digits(), folder / "data")
        study = open_session(bound)
        command = [sys.executable, "-m", "tests.faults.waiting_worker", bound.study_id]
        command += ["--output", name, "--workers", str(workers), "--evaluation-seconds", str(evaluation_seconds)]
        environment = {STORAGE: place.storage, TRACKING: place.tracking_uri or "", "PYTHONPATH": str(Path.cwd())}
        executor = LocalWorkers(workers, command, environment, folder / "logs")
        before = time.process_time()
        with StopRequest() as stop:
            Coordinator(study, executor, StudyProgress(Console(file=io.StringIO()), runs=1), stop).run()
        cpu = time.process_time() - before
        attempts = [each for search in study.searches.values() for each in search.attempts()]
        began = min(each.frozen.datetime_start for each in attempts if each.frozen.datetime_start)
        seconds = (max(each.ended for each in attempts) - began).total_seconds()
        study.tracker.close()
        found = check(bound, place.tracking_uri or "")
        reports = [json.loads(each.read_text()) for each in (folder / "operations").iterdir()]
        logs = "".join(each.read_text() for each in (folder / "logs").glob("*worker*.log"))
        done = len(attempts) + len(study.record.finals.attempts())
    kind = "journal" if storage is None else "postgresql"
    figures = {
        "trials": len(attempts),
        "seconds": seconds,
        "seconds of waiting": sum(_looks(each) for each in attempts) * evaluation_seconds / workers,
        "trials a minute": 60 * len(attempts) / seconds,
        "storage operations a trial": sum(sum(each["calls"].values()) for each in reports) / done,
        "storage seconds a trial": sum(each["seconds"] for each in reports) / done,
        "worker CPU seconds a trial": sum(each["cpu_seconds"] for each in reports) / done,
        "coordinator CPU seconds": cpu,
        "workers that ended in error": workers - len(reports),
        "warnings and errors logged": logs.count("WARNING:") + logs.count("ERROR:"),
        "lost or doubled": len(found.violations),
    }
    for violation in found.violations:
        print(violation, file=sys.stderr)
    return [
        (f"study on {kind}", f"{workers} worker{'s' * (workers > 1)}", figure, value)
        for figure, value in figures.items()
    ]


def _looks(attempt: Attempt) -> int:
    """For how many looks it waited: one that diverged did so before it could report the last."""
    return len(attempt.frozen.intermediate_values) + (attempt.state == RunState.DIVERGED)


def _claim_and_report(address: str, plain: bool, reports: int, ready: Any, results: Any) -> None:
    queue = _queue(address, plain)
    ready.wait()
    operations, claimed = 0, []
    while True:
        # Where two have claimed one trial, one of them finds it ended.
        with suppress(LostTrialError):
            claim = queue.claim()
            if claim is None:
                break
            claimed.append(claim.number)
            for look in range(reports):
                claim.report(1.0 / (look + 1), look)
            claim.end(RunState.COMPLETE, 1.0)
        operations += reports + 4
    results.put((operations, claimed))


def _queue(address: str, plain: bool = False) -> Queue:
    storage = RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 60}}) if plain else open_storage(address)
    return Queue(storage, "study/kind")


def claims(name: str, address: str, processes: int, trials: int, plain: bool = False, reports: int = 10) -> list[Row]:
    """So many processes that claim, report and end trials, without a pause: operations a second, and double claims."""
    queue = _queue(address)
    queue.set_open(True)
    queue.offer([Task(number) for number in range(processes * trials)])
    results, ready = _context.Queue(), _context.Barrier(processes + 1)
    crowd = [
        _context.Process(target=_claim_and_report, args=(address, plain, reports, ready, results))
        for _ in range(processes)
    ]
    for each in crowd:
        each.start()
    ready.wait()
    began = time.monotonic()
    answers = [results.get(timeout=600) for _ in crowd]
    seconds = time.monotonic() - began
    for each in crowd:
        each.join()
    claimed = [number for _, numbers in answers for number in numbers]
    figures = {
        "seconds": seconds,
        "operations a second": sum(operations for operations, _ in answers) / seconds,
        "trials claimed twice": float(len(claimed) - len(set(claimed))),
        "trials never claimed": float(processes * trials - len(set(claimed))),
    }
    what = f"{processes} processes × {trials} trials × {reports} reports"
    return [(f"claims, {name}", what, figure, value) for figure, value in figures.items()]


def looking_at_attempts(name: str, address: str, counts: Sequence[int]) -> list[Row]:
    """What the coordinator does twice a second, by the number of attempts that there are."""
    rows: list[Row] = []
    queue = Queue(open_storage(address), "study/kind")
    queue.set_open(True)
    there = 0
    for count in counts:
        for number in range(there, count):
            known = {"task": number, "attempt": 1, "key": str(number), "note": {}}
            queue.study.add_trial(
                create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs=known, intermediate_values={1: 1.0})
            )
        there = count
        cold = _seconds(lambda: Queue(open_storage(address), "study/kind").attempts(), 1)
        again = Queue(open_storage(address), "study/kind")
        again.attempts()
        warm = _seconds(again.attempts, 5)
        rows.append((f"attempts, {name}", f"{count} attempts", "milliseconds, the first time", 1000 * cold))
        rows.append((f"attempts, {name}", f"{count} attempts", "milliseconds, each further time", 1000 * warm))
    return rows


def _seconds(action: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


def tracking_requests(folder: Path, seconds: float = 6.0, clients: int = 8) -> list[Row]:
    """How many of an uploader's requests an MLflow server answers in a second."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    with mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts") as address:
        experiment = MlflowClient(address).create_experiment("rate")
        answered, over = [0] * clients, threading.Event()

        def send(i: int) -> None:
            client = MlflowClient(address)
            run = client.create_run(experiment).info.run_id
            step = 0
            while not over.is_set():
                step += 1
                client.log_batch(run, [Metric(f"m{k}", 1.0, 0, step) for k in range(6)])
                answered[i] += 1

        threads = [threading.Thread(target=send, args=(i,)) for i in range(clients)]
        began = time.monotonic()
        for each in threads:
            each.start()
        time.sleep(seconds)
        over.set()
        for each in threads:
            each.join()
        rate = sum(answered) / (time.monotonic() - began)
    return [("MLflow server on SQLite", f"{clients} clients", "requests a second", rate)]


def requests_a_trial(folder: Path) -> list[Row]:
    """What the uploader of a worker asks of a server for one trial of ten looks that each take a while."""
    from tests.faults.chaos import Chaos

    proxied = ("--artifacts-destination", str(folder / "kept"), "--default-artifact-root", "mlflow-artifacts:/")
    with (
        mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", folder, *proxied) as address,
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        place = Place(
            str(folder / "s.journal"), proxy.address, folder / "output", folder / "logs", evaluation_seconds=0.5
        )
        chaos = Chaos(place, 2, {}, count=0, pause=0.0, seed=0, proxy=proxy)
        chaos.run()
        runs = 2 * (chaos.trials + place.seeds)
        requests = sum(proxy.forwarded.values())
    return [("uploader", f"{runs} runs", "requests a run", requests / runs)]


@contextmanager
def grpc_proxy(folder: Path) -> Iterator[str]:
    """Optuna's proxy before a journal, in a process of its own; its address."""
    port = free_port()
    process = _context.Process(target=_serve, args=(str(folder / "grpc.journal"), port), daemon=True)
    process.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def _serve(path: str, port: int) -> None:
    run_grpc_proxy_server(open_storage(path), host="127.0.0.1", port=port)


SPACE = {"x": Reals(-5.0, 5.0), "y": Reals(1e-3, 10.0, log=True), "n": Integers(1, 64, log=True)}
FIRST = {"x": 4.0, "y": 5.0, "n": 2}


def synthetic_objective(values: dict[str, Any]) -> float:
    """A smooth valley with its bottom, 0, away from the first trial, as bits/dim have over learning rate and size."""
    return float(
        (values["x"] - 1.0) ** 2 / 10 + np.log10(values["y"] / 0.1) ** 2 / 4 + np.log2(values["n"] / 24) ** 2 / 20
    )


def simulated_search(workers: int, seed: int, trials: int, evaluations: int = 8) -> float:
    """The best value that so many workers find: an evaluation takes a time drawn at random, and nobody waits."""
    search = Search(InMemoryStorage(), "study/synthetic", SPACE, FIRST, "tpe", "halving", evaluations, seed)
    search.set_open(True)
    search.offer(search.tasks(trials))
    rng = np.random.default_rng(seed)
    due = [(float(rng.uniform(0, 1)), i) for i in range(workers)]
    working: dict[int, tuple[Any, int]] = {}
    while due:
        now, i = min(due)
        due.remove((now, i))
        if i not in working:
            claim = search.claim()
            if claim is None:
                continue
            working[i] = (claim, 0)
        else:
            claim, evaluation = working[i]
            evaluation += 1
            reached = synthetic_objective(claim.values)
            claim.report(reached + 2.0 * 0.6**evaluation, evaluation)
            working[i] = (claim, evaluation)
            if evaluation == evaluations:
                claim.end(RunState.COMPLETE, reached)
                del working[i]
            elif claim.should_prune():
                claim.end(RunState.PRUNED, reason="lags behind")
                del working[i]
        due.append((now + float(rng.uniform(0.5, 1.5)), i))
    best = search.best()
    assert best is not None
    assert len(search.settled()) == trials
    assert best.objective is not None
    return best.objective


def outcome_by_workers(trials: int) -> list[Row]:
    """The best-found value for 1, 4 and 16 workers over several seeds, each against one worker."""
    found = {workers: [simulated_search(workers, seed, trials) for seed in range(SEEDS)] for workers in (1, 4, 16)}
    rows: list[Row] = []
    rng = np.random.default_rng(0)
    for workers, values in found.items():
        what = f"{workers} worker{'s' * (workers > 1)}, {trials} trials, {SEEDS} seeds"
        rows.append(("best found", what, "median", statistics.median(values)))
        rows.append(("best found", what, "lower quartile", float(np.quantile(values, 0.25))))
        rows.append(("best found", what, "upper quartile", float(np.quantile(values, 0.75))))
        if workers > 1:
            one = found[1]
            rows.append(
                ("best found", what, "p, Mann-Whitney, against 1 worker", float(mannwhitneyu(one, values).pvalue))
            )
            differences = [
                np.median(rng.choice(values, SEEDS)) - np.median(rng.choice(one, SEEDS)) for _ in range(5_000)
            ]
            low, high = np.quantile(differences, [0.025, 0.975])
            rows.append(("best found", what, "difference of medians, 95 % from", float(low)))
            rows.append(("best found", what, "difference of medians, 95 % to", float(high)))
    return rows


def measure(options: argparse.Namespace) -> list[Row]:
    """All figures, one part after the other."""
    rows: list[Row] = []

    def keep(new: list[Row]) -> None:
        rows.extend(new)
        for row in new:
            print(*row, sep=" | ", flush=True)

    programs = find_programs()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(Postgres(programs)) if programs else None
        for workers in WORKERS:
            keep(study_of_waiting_trials(workers, None, options.evaluation_seconds, options.trials_a_worker))
        if programs:
            fresh = stack.enter_context(Postgres(programs))
            keep(study_of_waiting_trials(WORKERS[-1], fresh.url, options.evaluation_seconds, options.trials_a_worker))
        for name, address, plain in (
            ("journal", str(folder / "a.journal"), False),
            ("SQLite, BEGIN IMMEDIATE", f"sqlite:///{folder / 'a.db'}", False),
            ("SQLite as Optuna uses it", f"sqlite:///{folder / 'b.db'}", True),
            *([("PostgreSQL", postgres.url, False)] if postgres else []),
        ):
            keep(claims(name, address, processes=16, trials=options.claims, plain=plain))
        with grpc_proxy(folder) as address:
            keep(claims("gRPC proxy before a journal", address, processes=16, trials=options.claims))
        keep(looking_at_attempts("journal", str(folder / "c.journal"), ATTEMPTS))
        if postgres:
            other = stack.enter_context(Postgres(programs)) if programs else postgres
            # To make 10,000 there would take longer than all else.
            keep(looking_at_attempts("PostgreSQL", other.url, ATTEMPTS[:-1]))
        for part in ("rate", "uploader"):
            (folder / part).mkdir()
        keep(tracking_requests(folder / "rate"))
        keep(requests_a_trial(folder / "uploader"))
        keep(outcome_by_workers(options.trials))
    return rows


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluation-seconds", type=float, default=0.5, help="that a trial waits before each look")
    parser.add_argument("--trials-a-worker", type=int, default=4)
    parser.add_argument("--claims", type=int, default=5, help="trials that each process claims without a pause")
    parser.add_argument("--trials", type=int, default=96, help="of a simulated search")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    rows = measure(options)
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / "scaling.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("part", "of", "figure", "value"))
        table.writerows((*row[:3], f"{row[3]:.6g}") for row in rows)
    about = {
        "command": f"python -m tests.benchmarks.scaling {' '.join(sys.argv[1:])}".strip(),
        "machine": f"{processor()}, {os.cpu_count()} processors, {platform.system()}",
        "commit": commit(),
        "looks": f"{EVALUATIONS} looks of {options.evaluation_seconds:g} s",
    }
    (options.output / "scaling.md").write_text(page(rows, about))
    print(options.output / "scaling.md")
