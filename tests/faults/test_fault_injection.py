"""Whatever breaks, and whenever: nothing of a study is lost, and nothing of it is there twice.

Real processes on loopback, a real tracking server behind a proxy that fails, a real storage. Training alone is a
stand-in that waits, but for the last scenario. What breaks is drawn under a seed; when it meets what is left to chance.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.browser.chromium import mlflow_server
from tests.faults.chaos import NETWORK, Chaos, FullDisk, Tally, can_be_made_unwritable
from tests.faults.clock import Clock
from tests.faults.invariants import Findings, check
from tests.faults.postgres import Postgres, find_programs
from tests.faults.processes import Place
from tests.faults.proxy import Proxy

TABLE = "FAULTS_TABLE"
"""Environment variable: the CSV file that the scenarios' figures are written to."""
PROCESSES = {
    "worker killed": 5.0,
    "worker stopped shortly": 2.0,
    "worker stopped for long": 3.0,
    "worker terminated": 2.0,
    "worker hung up": 2.0,
    "coordinator killed": 1.0,
    "coordinator hung up": 0.5,
    "coordinator stopped shortly": 0.5,
    "coordinator stopped for long": 0.5,
}
TERMINALS = {"worker lost its terminal": 3.0, "coordinator lost its terminal": 1.0}
CLOCK = {"clock steps": 4.0}
IMAGES = {"images altered": 30.0, "coordinator terminated": 6.0}
EDITS = {
    "run deleted": 2.0,
    "tag edited": 2.0,
    "metric logged": 2.0,
    "note written": 1.0,
    "run made by hand": 1.0,
    "trial enqueued by hand": 1.0,
    "trial added by hand": 1.0,
    "trial ended by hand": 2.0,
}
SERVER = dict.fromkeys(NETWORK, 1.0)
DATABASE = {"database killed": 2.0, "database restarted": 2.0}
DISK = {"disk full": 6.0}
FOLDER = {"outbox not writable": 6.0}
KILLS = {"worker killed": 5.0, "worker stopped for long": 1.0, "coordinator killed": 2.0}


@dataclass(frozen=True)
class Scenario:
    """What a study is run on, and what breaks.

    Attributes:
        faults: kinds of faults, and how likely each is beside the others.
        count: how many there are.
        workers: processes that work.
        storage: ``journal`` or ``postgres``.
        sampler: who proposes values.
        pruner: which trials are stopped early.
        pause: seconds between two faults, on average.
        evaluation_seconds: that training to an evaluation takes.
        lease: seconds without a sign of life that mean death.
        trials: of each arm at first; None: about as many as are done while faults are injected, 12 at least.
        extended: faults while the complete study is continued to twice its budget; None: it is not.
    """

    faults: dict[str, float]
    count: int = 50
    workers: int = 8
    storage: str = "journal"
    sampler: str = "qmc"
    pruner: str = "none"
    pause: float = 1.5
    evaluation_seconds: float = 0.2
    lease: float = 3.0
    trials: int | None = None
    extended: int | None = None


SCENARIOS = {
    "journal": Scenario({**PROCESSES, **TERMINALS, **CLOCK, **SERVER}, count=90),
    "postgres": Scenario(
        {**PROCESSES, **TERMINALS, **CLOCK, **SERVER, **DATABASE}, count=80, storage="postgres", pause=2.0
    ),
    "postgres, many workers": Scenario(
        {**PROCESSES, **SERVER, **DATABASE}, workers=16, storage="postgres", sampler="tpe", pruner="halving", pause=2.0
    ),
    "full disk": Scenario({**PROCESSES, **SERVER, **DISK}, count=60),
    "folder not writable": Scenario({**PROCESSES, **TERMINALS, **FOLDER}, count=50),
    "terminals and clocks": Scenario({**TERMINALS, **CLOCK, "worker killed": 1.0}, count=60, pause=1.0),
    "edits by hand": Scenario({**PROCESSES, **EDITS}, count=70),
    "altered images": Scenario({**PROCESSES, **IMAGES}, count=50),
    "rungs, one worker": Scenario(KILLS, count=20, workers=1, pruner="halving", pause=6.0, extended=10),
    "rungs, four workers": Scenario({**PROCESSES, **SERVER}, count=60, workers=4, pruner="halving", extended=30),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Proxy, str]]:
    """A tracking server behind a network that can be made to fail, and its own address."""
    proxied = ("--artifacts-destination", str(tmp_path / "kept"), "--default-artifact-root", "mlflow-artifacts:/")
    with (
        mlflow_server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, *proxied) as address,
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        yield proxy, address


def run(scenario: Scenario, seed: int, folder: Path, server: tuple[Proxy, str]) -> tuple[Tally, Findings]:
    """Let a study live through it; what happened, and what is found afterwards."""
    proxy, address = server
    with ExitStack() as stack:
        database = None
        if scenario.storage == "postgres":
            programs = find_programs()
            if programs is None:
                pytest.skip("PostgreSQL is not installed here: this scenario needs its programs")
            pytest.importorskip("psycopg2", reason="psycopg2 is not installed here: PostgreSQL cannot be reached")
            database = stack.enter_context(Postgres(programs))
        disk = FullDisk(folder / "output")
        stack.callback(disk.close)
        if "disk full" in scenario.faults and not disk.mounted:
            pytest.skip("no file system may be mounted here: a full disk needs one of its own")
        if "outbox not writable" in scenario.faults and not can_be_made_unwritable(disk.folder):
            pytest.skip("no folder can be closed to this user here: chattr does not work")
        clock = Clock(folder / "clock")
        place = Place(
            database.url if database else str(folder / "study.journal"),
            proxy.address,
            disk.folder,
            folder / "logs",
            sampler=scenario.sampler,
            pruner=scenario.pruner,
            evaluation_seconds=scenario.evaluation_seconds,
            lease=scenario.lease,
            clock=clock.path,
            # Onto the disk that becomes full; terminals are lost elsewhere.
            printed=disk.folder / "printed.txt" if "disk full" in scenario.faults else None,
        )

        def chaos_of(place: Place, count: int) -> Chaos:
            return Chaos(
                place,
                scenario.workers,
                scenario.faults,
                count,
                scenario.pause,
                seed,
                proxy=proxy,
                database=database,
                disk=disk,
                clock=clock,
                tracking_uri=address,
            )

        chaos = chaos_of(place, scenario.count)
        chaos.trials = scenario.trials or chaos.trials
        tally, found = chaos.run(), check(place.bound(chaos.trials), address)
        if scenario.extended is None:
            return tally, found
        found.assert_none()
        place = replace(place, evaluations=2 * place.evaluations)
        extended = chaos_of(place, scenario.extended)
        extended.trials = max(chaos.trials, extended.trials)
        return tally + extended.run(), check(place.bound(extended.trials), address)


def record(name: str, tally: Tally, found: Findings) -> None:
    """Print the figures, and add them to the table if one is asked for."""
    figures = {
        "scenario": name,
        "seconds": round(tally.seconds),
        "faults": tally.faults.total(),
        **{f"fault: {kind}": n for kind, n in sorted(tally.faults.items())},
        "requests hit": tally.requests_hit,
        "processes ended": tally.ends.total(),
        **dict(found.counts),
        "violations": len(found.violations),
    }
    print(*(f"{figure}: {value}" for figure, value in figures.items()), sep="\n")
    if TABLE in os.environ:
        path = Path(os.environ[TABLE])
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            rows = csv.writer(file)
            if is_new:
                rows.writerow(("scenario", "figure", "value"))
            rows.writerows((name, figure, value) for figure, value in figures.items() if figure != "scenario")


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_nothing_is_doubled(name: str, tmp_path: Path, server: tuple[Proxy, str]) -> None:
    scenario = SCENARIOS[name]
    tally, found = run(scenario, seed=sorted(SCENARIOS).index(name), folder=tmp_path, server=server)
    record(name, tally, found)
    assert tally.faults.total() == scenario.count + (scenario.extended or 0)
    assert set(tally.faults) == set(scenario.faults)
    found.assert_none()


@pytest.mark.slow
def test_a_search_by_rungs_and_its_extension_live_through_kills(tmp_path: Path, server: tuple[Proxy, str]) -> None:
    scenario = Scenario(KILLS, count=4, workers=4, pruner="halving", pause=0.8, evaluation_seconds=0.05, extended=3)
    tally, found = run(scenario, seed=3, folder=tmp_path, server=server)
    record("short, rungs", tally, found)
    assert tally.faults.total() == 7
    assert found.counts["attempts that continued a trial"] > 0
    found.assert_none()


def test_a_study_lives_through_a_fault_of_each_kind(tmp_path: Path, server: tuple[Proxy, str]) -> None:
    kinds = {**PROCESSES, **TERMINALS, **CLOCK, **SERVER, **EDITS, **IMAGES}
    scenario = Scenario(kinds, count=len(kinds), workers=3, pause=0.3, evaluation_seconds=0.05, lease=2.0, trials=8)
    tally, found = run(scenario, seed=7, folder=tmp_path, server=server)
    record("short", tally, found)
    assert tally.faults.total() == scenario.count
    assert set(tally.faults) == set(scenario.faults)
    found.assert_none()
