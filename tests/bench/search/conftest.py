"""A search in a storage of this test's own, and a quick way to run it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.results import RunState
from bench.search.sampler import Search
from bench.search.storage import open_storage
from bench.study.search_space import Choices, Integers, Reals
from tests.faults.postgres import Postgres, find_programs
from tests.faults.storage_server import StorageServer

SPACE = {"depth": Integers(1, 64), "rate": Reals(1e-4, 1e-1, log=True), "kind": Choices(("a", "b", "c"))}
FIRST = {"depth": 4, "rate": 1e-3, "kind": "b"}


def objective(values):
    return abs(values["depth"] - 20) + values.get("rate", 0.0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed: PostgreSQL is not tested")
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed, and is not tested")
    with Postgres(programs) as server:
        yield server


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    """Optuna's gRPC proxy before a journal."""
    with StorageServer(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optuna's tables in SQLite without a row: making them takes half a second, copying them none."""
    file = tmp_path_factory.mktemp("tables") / "s.db"
    open_storage(f"sqlite:///{file}").remove_session()
    return file


@pytest.fixture(params=["journal", "sqlite", "postgresql", "grpc"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every kind of storage, empty."""
    if request.param == "journal":
        return str(tmp_path / "s.journal")
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('empty_tables'), tmp_path / 's.db')}"
    if request.param == "grpc":
        return _emptied(request.getfixturevalue("storage_server").url)
    server: Postgres = request.getfixturevalue("postgres")
    # Storages of earlier tests keep theirs until they are collected, and the server admits a hundred.
    server.close_connections()
    return _emptied(server.url)


def _emptied(url: str) -> str:
    storage = open_storage(url)
    for study in storage.get_all_studies():
        storage.delete_study(study._study_id)
    return url


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "s.journal")


@pytest.fixture(scope="session")
def search() -> Callable[..., Search]:
    """A search that is open; opened again at the same address it is the same one."""

    def opened(address: str, sampler: str = "tpe", space: Any = SPACE, first: Any = FIRST, **changes: Any) -> Search:
        settings = {"pruner": "none", "evaluations": 10, "seed": 0, **changes}
        made = Search(open_storage(address), "study/arm", space, first, sampler, **settings)
        made.set_open(True)
        return made

    return opened


@pytest.fixture(scope="session")
def run() -> Callable[[Search, int], list[dict[str, Any]]]:
    """Complete so many trials; their values."""

    def complete(search: Search, trials: int) -> list[dict[str, Any]]:
        search.offer(search.tasks(len(search.settled()) + trials))
        proposed = []
        for _ in range(trials):
            claim = search.claim()
            proposed.append(claim.values)
            claim.end(RunState.COMPLETE, objective(claim.values))
        return proposed

    return complete
