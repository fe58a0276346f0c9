"""A study whose tracking store or storage somebody changed by hand says so, and how it is put right."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from mlflow.tracking import MlflowClient

from bench.core.errors import DisagreementError, OutboxError, SettingsError, TrackingError
from bench.core.results import RunState
from bench.execution.removal import Stores, remove
from bench.search.queue import Task
from bench.search.storage import open_storage
from bench.search.study_record import list_studies
from bench.tracking.reading.reader import load_results
from bench.tracking.tracker import Tracker

TRIALS = 2


@pytest.fixture(scope="module")
def complete(start, tiny_study, digits, tmp_path_factory):
    """Two trials of each arm and a final run, complete, as a study leaves them that was then stopped."""
    folder = tmp_path_factory.mktemp("complete")
    opened = start(tiny_study, digits, folder)
    for arm, search in opened.searches.items():
        search.set_open(True)
        search.offer([Task(number) for number in range(TRIALS)])
        for _ in range(TRIALS):
            settle(opened, search, arm)
    finals = opened.shared.record.finals
    finals.set_open(True)
    config = config_of(opened, "vae")
    note = {"arm": "vae", "trial": 0, "values": {}, "config": {}, "config_hash": config.hash, "seed": 0}
    finals.offer([Task(0, note=note)])
    settle(opened, finals, "vae", "final")
    assert opened.shared.tracker.drain() == 0
    opened.shared.tracker.close()
    return SimpleNamespace(
        folder=folder,
        id=opened.bound.study_id,
        experiment=opened.parent.experiment_id,
        parent=opened.parent.run_id,
        runs=[run.run_id for run in opened.parent.children()],
    )


@pytest.fixture
def study(complete, start, tiny_study, digits, settings_for, tmp_path):
    """A copy of that study, as of a folder that was moved."""
    shutil.copytree(complete.folder, tmp_path, dirs_exist_ok=True)
    settings = settings_for(tmp_path)
    # Its addresses are rewritten before a test's own client opens the store.
    with Tracker(settings.tracking, tmp_path, tmp_path / "outbox") as tracker:
        tracker.open()
    return SimpleNamespace(
        id=complete.id,
        settings=settings,
        output=settings.output,
        client=MlflowClient(tracking_uri=settings.tracking),
        experiment=complete.experiment,
        parent=complete.parent,
        runs=list(complete.runs),
        open=lambda **changes: start(tiny_study, digits, tmp_path, **changes),
        stores=Stores(settings.storage_url, settings.tracking, settings.output),
    )


def config_of(opened, arm):
    return opened.bound.base(opened.bound.study.arm(arm))


def settle(opened, queue, arm, role="search"):
    claim = queue.claim()
    config = config_of(opened, arm)
    number = claim.number if role == "search" else None
    run = opened.parent.start_run(f"{arm} {claim.number}", role, arm, 0, config, number, claim.attempt, claim.key)
    claim.end(RunState.COMPLETE, 2.5)
    run.finish(RunState.COMPLETE)


def hidden(study):
    """Delete all runs of the study, as the MLflow UI does."""
    for run_id in [*study.runs, study.parent]:
        study.client.delete_run(run_id)


def refused(study, message):
    """The study cannot be opened, for the reason and with the way out that the message says, in a line."""
    before = open_storage(study.settings.storage_url).get_all_studies()
    with pytest.raises(DisagreementError, match=message) as raised:
        study.open()
    assert "\n" not in str(raised.value)
    after = open_storage(study.settings.storage_url).get_all_studies()
    assert [each.study_name for each in before] == [each.study_name for each in after]


def removed(study):
    return list(remove(study.stores, study.id))


def begun_again(study):
    """The study begins from nothing."""
    opened = study.open()
    assert opened.parent.run_id not in (study.parent, *study.runs)
    assert opened.parent.children() == []
    assert [queue.attempts() for queue in opened.shared.queues.values()] == [[], [], []]
    return opened


def test_a_study_that_nobody_changed_opens(study):
    assert [run.run_id for run in study.open().parent.children()] == study.runs


def test_runs_that_were_deleted_in_mlflow_are_named_and_restored_or_removed(study):
    hidden(study)
    refused(study, f"the runs of {study.id} were deleted in MLflow .*State: Deleted.*`reparam-bench delete`")
    with pytest.raises(DisagreementError, match=f"the runs of {study.id} were deleted in MLflow"):
        load_results(study.settings.tracking, study.id)
    for run_id in [*study.runs, study.parent]:
        study.client.restore_run(run_id)
    assert len(study.open().parent.children()) == len(study.runs)


def test_some_deleted_runs_are_counted_and_named(study):
    for run_id in study.runs[:2]:
        study.client.delete_run(run_id)
    refused(study, rf"2 runs of {study.id}, such as {study.runs[0]}, were deleted in MLflow .*restore them")
    assert load_results(study.settings.tracking, study.id).settings["deleted_runs"] == 2


def test_deleted_runs_under_a_study_s_run_that_stayed_are_no_empty_study(study):
    for run_id in study.runs:
        study.client.delete_run(run_id)
    refused(study, f"5 runs of {study.id}, such as .* were deleted in MLflow")
    with pytest.raises(DisagreementError, match=f"all 5 runs of {study.id} were deleted in MLflow"):
        load_results(study.settings.tracking, study.id)


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(study):
    study.client.delete_experiment(study.experiment)
    refused(study, f"experiment 'reparam-bench/tiny'.*mlflow experiments restore --experiment-id {study.experiment}`")
    study.client.restore_experiment(study.experiment)
    assert len(study.open().parent.children()) == len(study.runs)


def test_a_deleted_experiment_is_named_to_a_new_study_too(study):
    removed(study)
    study.client.delete_experiment(study.experiment)
    with pytest.raises(
        DisagreementError, match=r"the runs of reparam-bench/tiny were deleted .* restore their experiment"
    ):
        study.open()


def test_a_deleted_study_of_a_deleted_experiment_begins_again(study):
    study.client.delete_experiment(study.experiment)
    assert removed(study)[-1].startswith("storage")
    begun_again(study)


def test_a_renamed_experiment_is_found(study):
    study.client.rename_experiment(study.experiment, "my digits")
    opened = study.open()
    assert (opened.parent.experiment_id, opened.parent.run_id) == (study.experiment, study.parent)
    assert len(load_results(study.settings.tracking, study.id).runs) == len(study.runs)


@pytest.mark.parametrize("tag", ["reparam.study_id", "reparam.role", "reparam.study", "reparam.settings"])
def test_tags_of_the_study_s_own_run_are_written_again(study, tag):
    study.client.set_tag(study.parent, tag, "mine")
    assert study.open().parent.run_id == study.parent
    assert len(load_results(study.settings.tracking, study.id).runs) == len(study.runs)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("reparam.arm", None, "its tag reparam.arm is missing"),
        ("reparam.role", "mine", "its tag reparam.role is 'mine'"),
        ("reparam.seed", "one", "its tag reparam.seed is 'one'"),
        ("reparam.state", "done", "its tag reparam.state is 'done'"),
        ("reparam.details.test", "[]", "what a tag holds cannot be read"),
        ("reparam.details.test", "{", "what a tag holds cannot be read"),
        ("reparam.captions", "none", "what a tag holds cannot be read"),
    ],
)
def test_edited_tags_of_a_run_are_named_when_it_is_read(study, tag, value, message):
    if value is None:
        study.client.delete_tag(study.runs[-1], tag)
    else:
        study.client.set_tag(study.runs[-1], tag, value)
    with pytest.raises(
        DisagreementError, match=f"run {study.runs[-1]} is not as it was logged: .*{message}.*set it back"
    ):
        load_results(study.settings.tracking, study.id)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("reparam.number", "7", "has reparam.number=7 in MLflow, and 0 in the storage"),
        ("reparam.attempt", "3", "has reparam.attempt=3 in MLflow, and 1 in the storage"),
        ("reparam.arm", "glow", "has reparam.arm='glow' in MLflow, and 'vae' in the storage"),
        ("reparam.key", "mine", "that the storage does not"),
        ("reparam.role", "final", "has reparam.role='final' in MLflow, and 'search' in the storage"),
    ],
)
def test_tags_that_became_those_of_another_run_are_named(study, tag, value, message):
    study.client.set_tag(study.runs[0], tag, value)
    refused(study, message)


def test_a_run_that_is_gone_for_good_is_counted(study, digits):
    study.client.set_tag(study.runs[0], "mlflow.parentRunId", "mine")
    opened = study.open()
    opened.progress.console.file.truncate(0)
    from bench.execution.study_tracking import StudyTracking

    StudyTracking(opened.shared, opened.progress).name_runless()
    assert "not in MLflow: 1 run of finished trials or final runs" in opened.progress.console.file.getvalue()


def test_a_removed_tracking_store_is_named(study):
    # Another file, as MLflow keeps a connection to one that is removed while a process has it open.
    study.open = partial(study.open, tracking_uri=f"sqlite:///{study.output / 'other.db'}")
    refused(study, f"the storage holds trials of {study.id}, and tracking store .* lacks its run {study.parent}: give")
    study.stores = replace(study.stores, tracking=None)
    assert removed(study)[-1].startswith("storage")
    begun_again(study)


def test_a_removed_storage_is_named(study):
    (study.output / "search.journal").unlink()
    with pytest.raises(
        DisagreementError, match=f"MLflow holds 5 runs of {study.id} that the storage does not.*--storage"
    ):
        study.open()
    removed(study)
    begun_again(study)


def test_a_study_that_was_restored_beside_a_new_one_is_named(study):
    removed(study)
    begun = begun_again(study)
    begun.parent.start_run("vae 0", "search", "vae", 0, config_of(begun, "vae"), 0).finish(RunState.COMPLETE)
    assert begun.shared.tracker.drain() == 0
    begun.shared.tracker.close()
    for run_id in [*study.runs, study.parent]:
        study.client.restore_run(run_id)
    for attempt in (study.open, lambda: load_results(study.settings.tracking, study.id)):
        with pytest.raises(DisagreementError, match=f"holds 2 runs of study {study.id} .*delete all but one"):
            attempt()


def test_a_removed_study_leaves_nothing_but_what_mlflow_can_restore(study):
    for folder in (f"checkpoints/{study.id}", f"reports/{study.id}", f"gradients/{study.id}-0", "reports/other"):
        (study.output / folder).mkdir(parents=True)
        (study.output / folder / "file").touch()
    lines = removed(study)
    assert [line.split()[0] for line in lines] == ["MLflow", "storage", "folder", "folder", "folder"]
    assert "6 runs" in lines[0]
    assert "5 trials and final runs" in lines[1]
    assert open_storage(study.settings.storage_url).get_all_studies() == []
    assert [path.name for path in (study.output / "reports").iterdir()] == ["other"]
    assert not (study.output / "checkpoints" / study.id).exists()
    with pytest.raises(DisagreementError, match="were deleted in MLflow"):
        load_results(study.settings.tracking, study.id)
    begun_again(study)


def test_a_removal_that_was_interrupted_is_continued(study, monkeypatch):
    def fail(path):
        raise OSError("the disk is gone")

    (study.output / "reports" / study.id).mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("bench.execution.removal.delete_runs", lambda client, study_id: fail(study_id))
        with pytest.raises(TrackingError, match="the disk is gone"):
            removed(study)
    assert list_studies(open_storage(study.settings.storage_url)) == [study.id]
    assert [line.split()[0] for line in removed(study)] == ["MLflow", "storage", "folder"]


def test_what_waits_in_an_outbox_is_removed_too(study):
    opened = study.open()
    vars(opened.shared.tracker)["client"] = None
    run = opened.parent.start_run("vae 9", "search", "vae", 0, config_of(opened, "vae"), 9)
    with pytest.raises(OutboxError, match=r"a process logs to .*: stop it"):
        removed(study)
    opened.shared.tracker.close()
    assert run.run_id is None
    assert removed(study)[0] == "outbox    1 runs that waited for upload"
    assert not list((study.output / "outbox").rglob("records.jsonl"))


@pytest.mark.parametrize("name", ["/home/someone", "../elsewhere", "a/b", ".."])
def test_an_identifier_from_a_store_is_never_a_path(study, name):
    with pytest.raises(SettingsError, match="is no identifier of a study"):
        list(remove(study.stores, name))


def test_a_study_is_not_removed_while_a_process_works_on_it(study):
    before = json.dumps([run.info.run_id for run in study.client.search_runs([study.experiment])])
    opened = study.open()
    with opened.shared.record.coordinator_lock(), pytest.raises(SettingsError, match=r"works on .*: stop it"):
        removed(study)
    search = opened.searches["vae"]
    search.offer([Task(5)])
    claim = search.claim()
    with pytest.raises(SettingsError, match=r"process \d+ on .* works on .*: stop it before the study is removed"):
        removed(study)
    claim.end(RunState.INTERRUPTED)
    assert json.dumps([run.info.run_id for run in study.client.search_runs([study.experiment])]) == before
    assert removed(study)
