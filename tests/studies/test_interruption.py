"""A study that is stopped in every way a process can be, and continued with the same command."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bench.data.dataset import TuningData
from bench.tracking.reading.model_runs import load_model_file
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from tests.studies.small_study import (
    COMMAND,
    DEADLINE,
    TRIALS,
    foreign_lines,
    kill_during,
    small_study,
    start_command,
)

pytestmark = pytest.mark.slow

ON_JAX = (*COMMAND, "--backend", "jax")


@dataclass(frozen=True)
class Finished:
    """A trial as Optuna remembers it."""

    number: int
    values: dict[str, object]
    objective: float


def finished_trials(folder: Path) -> list[Finished]:
    storage = JournalStorage(JournalFileBackend(str(folder / "runs" / "optuna.journal")))
    (name,) = (each.study_name for each in storage.get_all_studies() if each.study_name.endswith("/vae"))
    study = optuna.load_study(study_name=name, storage=storage)
    return [Finished(t.user_attrs["task"], t.params, t.value) for t in study.get_trials(states=(TrialState.COMPLETE,))]


@pytest.fixture(scope="module")
def history(
    tmp_path_factory: pytest.TempPathFactory, keep_classifier: Callable[[TuningData, Path], None]
) -> dict[str, object]:
    """Ctrl-C in trial 1, kill -9 in the trial that makes up for it, a scheduler's SIGTERM in the final run; the end.

    After each stop somebody moves the folder.
    """
    folder = small_study(tmp_path_factory.mktemp("small"), keep_classifier)
    stops, seen, before = [], [], []
    for tag, value, how in (
        ("reparam.number", "1", signal.SIGINT),
        ("reparam.attempt", "2", signal.SIGKILL),
        ("reparam.role", "final", signal.SIGTERM),
    ):
        ended = kill_during(folder, ON_JAX, tag, value, how)
        stops.append((ended.returncode, ended.stdout))
        seen.append(finished_trials(folder))
        before.append(folder)
        folder = folder.rename(folder.with_name(f"moved {len(before)}"))
    process = start_command(folder, ON_JAX)
    output, _ = process.communicate(timeout=DEADLINE)
    seen.append(finished_trials(folder))
    uri = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    (study_id,) = list_studies(uri)
    return {
        "folder": folder,
        "before": before,
        "stops": stops,
        "seen": seen,
        "end": (process.returncode, output),
        "uri": uri,
        "results": load_results(uri, study_id),
    }


def test_a_stopped_command_says_that_it_can_be_continued(history):
    (interrupted, first), (killed, _), (terminated, last) = history["stops"]
    assert (interrupted, killed, terminated) == (130, -signal.SIGKILL, 130)
    for output in (first, last):
        assert output.splitlines()[-1] == "stopped: finished runs are kept; the same command continues"
        assert "Traceback" not in output
    assert history["end"][0] == 0, history["end"][1]
    assert "vae 1, attempt 2: its process ended before it did; it is queued again" in history["stops"][2][1]


def test_the_terminal_shows_no_line_of_a_library(history):
    # The last command logged a model by Keras on JAX.
    assert foreign_lines(history["end"][1]) == []
    assert [foreign_lines(output) for _, output in history["stops"]] == [[], [], []]


def test_exactly_the_trials_that_were_asked_for_finish_and_none_is_lost_or_changed(history):
    seen = history["seen"]
    assert [len(trials) for trials in seen] == [1, 1, TRIALS, TRIALS]
    for earlier, later in pairwise(seen):
        assert later[: len(earlier)] == earlier


def test_each_configuration_finishes_once_and_the_interrupted_one_is_made_up_for(history):
    runs = history["results"].runs.query("role == 'search'").sort_values(["number", "attempt"])
    assert runs["number"].tolist() == [0, 1, 1, 1, 2]
    assert runs["state"].tolist() == ["complete", "interrupted", "interrupted", "complete", "complete"]
    assert runs.query("state == 'complete'")["config_hash"].is_unique
    for column in ("config_hash", "seed"):
        assert runs[column].iloc[1:4].nunique() == 1


def test_the_final_run_is_done_again_once(history):
    finals = history["results"].runs.query("role == 'final'")
    assert finals["state"].tolist() == ["interrupted", "complete"]
    assert finals["seed"].nunique() == finals["config_hash"].nunique() == 1


def test_a_study_that_was_moved_leaves_nothing_where_it_was_and_lacks_nothing(history):
    results, folder = history["results"], history["folder"]
    assert not any(place.exists() for place in history["before"])
    (final,) = results.runs.query("role == 'final' and state == 'complete'")["run_id"]
    assert {grid.kind for grid in results.images if grid.run_id == final} >= {"samples", "reconstructions"}
    assert load_model_file(history["uri"], final, folder / "fetched").is_file()
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as database:
        addresses = database.execute("SELECT artifact_uri FROM runs UNION SELECT source FROM model_versions").fetchall()
    assert all(address.startswith((folder / "runs").as_uri()) for (address,) in addresses)


def test_no_run_is_left_running(history):
    client = MlflowClient(tracking_uri=history["uri"])
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    statuses = [run.info.status for run in client.search_runs(experiments)]
    assert sorted(statuses) == ["FINISHED"] * 5 + ["KILLED"] * 3


def test_interrupted_runs_have_their_reason(history):
    runs = history["results"].runs.query("state == 'interrupted'")
    assert sorted(runs["reason"]) == ["its process ended before it did"] + ["stopped by the user or the scheduler"] * 2


def test_the_report_counts_the_interrupted_runs(history):
    (page,) = (history["folder"] / "runs" / "reports").glob("*/report.md")
    assert "interrupted" in page.read_text(encoding="utf-8").lower()
