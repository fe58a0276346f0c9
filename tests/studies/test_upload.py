"""``reparam-bench upload``, after a command that could not reach its tracking store."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest

from bench.core.results import EvaluationRecord, RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.location import is_moved
from bench.tracking.opening import join_study, open_study
from bench.tracking.reading.reader import load_results
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.vae.config import VAEConfig
from studies.cli.main import main

STUDY = StudyDescription("away-digits-0", "away", "Does it arrive?", {}, {}, {}, {"commit": "0" * 40}, DIGITS, "0" * 64)
CONFIG = RunConfig(model=VAEConfig(), training=TrainingConfig(), dataset_digest="0", backend="jax")
ELSEWHERE = "http://me:secret@127.0.0.1:1"


@pytest.fixture
def upload(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: exit status, and its lines on standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "runs").mkdir()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["reparam-bench", "upload", *arguments])
        capsys.readouterr()  # what a test's own store said as it was made
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"


class Away:
    """Stands for MLflow's client of a store that is away."""

    def __getattr__(self, name):
        raise ConnectionError("away")


def leave_runs(uri, folder, experiment_id="1", run_id="0" * 32):
    """Two runs that are logged and not uploaded, one without its end."""
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        vars(tracker)["client"] = Away()
        parent = join_study(tracker, STUDY, experiment_id, run_id)
        for number in range(2):
            run = parent.start_run(f"vae #{number}", "search", "vae", 0, CONFIG, number)
            run.log_evaluation(EvaluationRecord(1, 128, 0.5, {"train/bits_per_dim": 3.0}))
            if number == 0:
                run.finish(RunState.COMPLETE)


def test_what_waits_is_delivered_once(upload, store, tmp_path):
    with Tracker(store, tmp_path / "runs" / "artifacts", tmp_path / "runs" / "outbox") as tracker:
        parent = open_study(tracker, STUDY)
    leave_runs(store, tmp_path / "runs", parent.experiment_id, parent.run_id)
    assert upload() == (0, ["uploaded 2 of 2 runs, 5 records"], [])
    runs = load_results(store, STUDY.study_id).runs.sort_values("number")
    assert runs["state"].tolist() == ["complete", "interrupted"]
    assert upload() == (0, ["nothing waits in runs/outbox"], [])


def test_what_waits_is_delivered_though_the_disk_is_full(upload, store, tmp_path, monkeypatch):
    with Tracker(store, tmp_path / "runs" / "artifacts", tmp_path / "runs" / "outbox") as tracker:
        parent = open_study(tracker, STUDY)
    leave_runs(store, tmp_path / "runs", parent.experiment_id, parent.run_id)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    assert upload() == (0, ["uploaded 2 of 2 runs, 5 records"], [])


def test_a_moved_folder_has_its_addresses_rewritten_though_nothing_waits(upload, store, tmp_path):
    with Tracker(store, tmp_path / "runs" / "artifacts", tmp_path / "runs" / "outbox") as tracker:
        open_study(tracker, STUDY)
    (tmp_path / "runs").rename(tmp_path / "moved")
    line = "moved was moved: MLflow's addresses are those of its new place"
    assert upload("--output", "moved") == (0, [line, "nothing waits in moved/outbox"], [])
    assert upload("--output", "moved") == (0, ["nothing waits in moved/outbox"], [])
    assert not is_moved(f"sqlite:///{tmp_path / 'moved' / 'mlflow.db'}")


def test_a_store_that_cannot_be_reached_is_reported_in_a_line_with_what_waits(upload, tmp_path):
    leave_runs(ELSEWHERE, tmp_path / "runs")
    for _ in range(2):
        code, out, err = upload("--tracking-uri", ELSEWHERE)
        assert (code, out, len(err)) == (2, [], 1)
        assert "tracking store http://***@127.0.0.1:1 cannot be reached: " in err[0]
        # One more, once the run that had none has an end.
        assert re.search(r"; [56] records of 2 runs wait in runs/outbox: `reparam-bench upload` uploads them$", err[0])


def test_what_waits_for_another_store_is_named_without_its_credentials(upload, tmp_path):
    leave_runs(ELSEWHERE, tmp_path / "runs")
    lines = ["2 runs wait for http://***@127.0.0.1:1: give it with --tracking-uri", "nothing waits in runs/outbox"]
    assert upload() == (0, lines, [])
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_what_the_store_rejects_is_reported_and_shows_in_the_exit_status(upload, store, tmp_path):
    assert Tracker(store, tmp_path, tmp_path).client.search_experiments()
    leave_runs(store, tmp_path / "runs", experiment_id="999")
    code, out, err = upload()
    assert (code, err) == (3, [])
    assert len([line for line in out if "the tracking store rejected a run (No Experiment with id=999" in line]) == 2
    assert out[-1] == "uploaded 0 of 2 runs, 5 records; 2 refused"


def test_what_is_refused_has_a_status_of_its_own_though_nothing_else_waits(upload, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "key").mkdir(parents=True)
    (elsewhere / "key" / "records.jsonl").write_text("{}\n")
    (tmp_path / "runs" / "outbox").mkdir()
    (tmp_path / "runs" / "outbox" / "study").symlink_to(elsewhere)
    code, out, err = upload()
    assert (code, out[-1], err) == (3, "uploaded 0 of 0 runs, 0 records; 1 refused", [])
    assert len([line for line in out if "symbolic link" in line]) == 1


def test_what_something_damaged_is_counted_and_all_else_is_delivered(upload, store, tmp_path):
    with Tracker(store, tmp_path / "runs" / "artifacts", tmp_path / "runs" / "outbox") as tracker:
        parent = open_study(tracker, STUDY)
    leave_runs(store, tmp_path / "runs", parent.experiment_id, parent.run_id)
    damaged = tmp_path / "runs" / "outbox" / STUDY.study_id / "damaged"
    (damaged / "records.jsonl").mkdir(parents=True)
    code, out, err = upload()
    assert (code, out[-1], err) == (3, "uploaded 2 of 2 runs, 5 records; 1 refused", [])
    assert len([line for line in out if "damaged/records.jsonl is a folder: a file is accepted" in line]) == 1
    code, out, _ = upload()
    assert (code, out[-1]) == (3, "uploaded 0 of 0 runs, 0 records; 1 refused")
