"""``reparam-bench delete`` as a user meets it."""

from __future__ import annotations

import io
import shutil

import pytest
from mlflow.tracking import MlflowClient

from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord

STUDY = "partial-digits-00000000"


@pytest.fixture
def runs(tmp_path, partial_store):
    """An output folder with a study in MLflow and in Optuna's storage."""
    folder = tmp_path / "runs"
    shutil.copytree(partial_store, folder)
    shutil.rmtree(folder / "outbox")
    record = StudyRecord(open_storage(str(folder / "optuna.journal")), STUDY, 60.0)
    record.publish({"settings": {"lease": 60.0}})
    return folder


def test_a_study_is_removed_and_the_commands_that_read_it_say_so(cli, runs):
    code, out, err = cli("delete", "partial", "--yes")
    assert (code, err) == (0, "")
    assert "MLflow    3 runs, which MLflow hides (State: Deleted) and keeps until `mlflow gc`" in out
    assert "storage   0 trials and final runs" in out
    code, out, err = cli("list")
    assert (code, out) == (0, "")
    assert "holds no study yet" in err
    for command in (("report",), ("report", "partial")):
        code, out, err = cli(*command)
        assert (code, out) == (2, "")
        assert f"the runs of {STUDY} were deleted in MLflow" in err
    assert cli("delete", "partial", "--yes")[0] == 0


def test_the_evaluations_of_the_study_s_runs_are_removed_and_no_others(cli, runs):
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    own, deleted, *_ = [each.info.run_id for each in client.search_runs(experiments, "tags.`reparam.role` = 'search'")]
    client.delete_run(deleted)
    folders = [runs / "evaluations" / name for name in (own, deleted, "0" * 32, f"{own}-mine")]
    for folder in folders:
        (folder / "tables").mkdir(parents=True)
        (folder / "measurements.csv").write_text("split\n")
    code, out, err = cli("delete", "partial", "--yes")
    assert (code, err) == (0, "")
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert f"folder    runs/evaluations/{own}" in out
    # What an interrupted removal left, its runs deleted already.
    folders[0].mkdir()
    assert cli("delete", "partial", "--yes")[0] == 0
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_an_evaluation_that_is_a_link_keeps_the_study(cli, runs, tmp_path):
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    (run,) = client.search_runs(
        [each.experiment_id for each in client.search_experiments()], "tags.`reparam.role` = 'study'"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (runs / "evaluations").mkdir()
    (runs / "evaluations" / run.info.run_id).symlink_to(elsewhere)
    code, _, err = cli("delete", "partial", "--yes")
    assert code == 2
    assert f"evaluations/{run.info.run_id} is a link to {elsewhere}" in err
    assert elsewhere.is_dir()
    assert cli("list")[1].split()[0] == STUDY


def test_it_asks_first(cli, runs, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, out, _ = cli("delete", STUDY)
    assert code == 1
    assert f"Remove {STUDY} with all its trials, runs and reports? [y/N]" in out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = cli("delete", STUDY)
    assert code == 2
    assert f"error: nobody confirmed that {STUDY} is to be removed: give --yes" in err
    assert cli("list")[1].split()[0] == STUDY


def test_an_unknown_study_is_named_with_those_that_there_are(cli, runs, tmp_path):
    assert cli("delete", "other") == (2, "", f"error: no study 'other': it holds {STUDY}\n")
    assert cli("delete", "other", "--output", "empty") == (2, "", "error: no study 'other': it holds none\n")
    assert not (tmp_path / "empty").exists()
