"""Links in an output folder, where a command would write or remove what lies elsewhere."""

from __future__ import annotations

import os
import shutil

import pytest

from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord

STUDY = "partial-digits-00000000"
DELETE, REPORT = ("delete", STUDY, "--yes"), ("report", STUDY)


@pytest.fixture
def runs(tmp_path, partial_store):
    """An output folder with a study in MLflow and in Optuna's storage."""
    folder = tmp_path / "runs"
    shutil.copytree(partial_store, folder, ignore=shutil.ignore_patterns("outbox", "logs"))
    StudyRecord(open_storage(str(folder / "optuna.journal")), STUDY, 60.0).publish({"settings": {"lease": 60.0}})
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of the user's, with a file of each name that a command would write or remove."""
    folder = tmp_path / "elsewhere"
    for name in ("report.html", "measurements.csv", "figures/mine.svg", "images/mine.png", "tables/mine.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    return folder


@pytest.mark.parametrize("target", ["a folder", "nothing", "itself"])
@pytest.mark.parametrize(
    ("command", "place"),
    [
        (DELETE, f"checkpoints/{STUDY}"),
        (DELETE, f"reports/{STUDY}"),
        (DELETE, f"outbox/{STUDY}"),
        (DELETE, f"gradients/{STUDY}-0123"),
        (DELETE, f"reports/{STUDY}-gradients"),
        (("delete", STUDY), f"checkpoints/{STUDY}"),
        (REPORT, f"reports/{STUDY}"),
        (REPORT, f"reports/{STUDY}/figures"),
        (REPORT, f"reports/{STUDY}/images"),
        (REPORT, f"reports/{STUDY}/tables"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_link_at_a_study_s_own_folder_is_refused_by_name(refused, runs, elsewhere, command, place, target):
    link = runs / place
    link.parent.mkdir(parents=True, exist_ok=True)
    leads_to = {"a folder": elsewhere, "nothing": elsewhere / "gone", "itself": link}[target]
    link.symlink_to(leads_to)
    refused(rf"runs/{place} is a link to {leads_to}, .*remove the link.*runs/{place.split('/')[0]}\b", *command)


def test_a_comparison_follows_no_link_either(refused, runs, elsewhere):
    shutil.copytree(runs, runs.with_name("other"))
    link = runs / "reports" / f"compare-{STUDY}-{STUDY}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    refused(rf"{link.name} is a link to {elsewhere}, .*", "compare", STUDY, STUDY, "--output-after", "other")


def test_what_a_link_led_to_stays_and_the_study_is_removed_without_it(cli, runs, elsewhere):
    link = runs / "checkpoints" / STUDY
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    assert cli(*DELETE)[0] == 2
    link.unlink()
    code, out, _ = cli(*DELETE)
    assert (code, "MLflow    3 runs" in out) == (0, True)
    assert (elsewhere / "report.html").read_text() == "mine"


@pytest.mark.parametrize("place", ["", "reports", "checkpoints", "outbox"])
def test_a_link_at_a_folder_of_all_studies_is_the_user_s_choice(cli, runs, tmp_path, place):
    link, disk = runs / place, tmp_path / "disk"
    for kind in ("reports", "checkpoints", "outbox"):
        (runs / kind / STUDY).mkdir(parents=True)
    link.rename(disk)
    link.symlink_to(disk)
    assert cli(*REPORT)[0] == 0
    assert (runs / "reports" / STUDY / "report.html").is_file()
    code, out, err = cli(*DELETE)
    assert (code, err) == (0, "")
    assert "MLflow    3 runs" in out
    assert not list(disk.rglob(STUDY))


def dangling(file):
    file.symlink_to("gone")


def circular(file):
    file.symlink_to(file.name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "it is not a file"),
        (os.mkfifo, "it is not a file"),
        (dangling, "is a link to gone, which is not there: .*remove the link"),
        (circular, "is a link to .*, which is not there: .*remove the link"),
    ],
)
@pytest.mark.parametrize("name", ["optuna.journal", "mlflow.db"])
def test_a_store_of_the_output_folder_that_cannot_be_opened_is_named(refused, runs, name, make, message):
    (runs / "checkpoints" / STUDY).mkdir(parents=True)
    (runs / name).unlink()
    make(runs / name)
    refused(rf"{name} .*{message}", *DELETE)


@pytest.mark.parametrize("name", ["optuna.journal", "mlflow.db"])
def test_a_link_to_a_store_on_another_disk_is_followed(cli, runs, tmp_path, name):
    (runs / name).rename(tmp_path / name)
    (runs / name).symlink_to(tmp_path / name)
    code, out, err = cli(*DELETE)
    assert (code, err) == (0, "")
    assert "MLflow    3 runs" in out
    assert "storage   0 trials and final runs" in out
