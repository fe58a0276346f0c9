"""``reparam-bench delete`` as a user meets it."""

from __future__ import annotations

import io
import shutil

import pytest

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
    assert cli("list") == (0, "", "")
    for command in (("report",), ("report", "partial")):
        code, out, err = cli(*command)
        assert (code, out) == (2, "")
        assert f"the runs of {STUDY} were deleted in MLflow" in err
    assert cli("delete", "partial", "--yes")[0] == 0


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
