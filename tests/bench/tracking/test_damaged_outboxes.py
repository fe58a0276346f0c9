"""An outbox that something damaged costs itself alone: it is named, kept and counted, and all others arrive."""

from __future__ import annotations

import json
import shutil

import pytest
from mlflow.tracking import MlflowClient

from bench.core.errors import TrackingError
from bench.tracking import tracker as of_store
from bench.tracking.outbox.outbox import Outbox, outboxes
from bench.tracking.outbox.records import Creation, File, Values
from bench.tracking.schema import KEY_TAG
from bench.tracking.tracker import Tracker

STUDY = "tiny-digits-12345678"


@pytest.fixture
def uri(tmp_path, _empty_store):
    shutil.copy(_empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def damaged(uri, tmp_path):
    """The folder of one of three outboxes, the second by name, which has logged a file."""
    experiment = MlflowClient(tracking_uri=uri).create_experiment("tiny", (tmp_path / "artifacts").as_uri())
    for key in ("a", "b", "c"):
        creation = Creation(
            store=uri,
            experiment_id=experiment,
            name=f"vae {key}",
            at=1,
            tags={KEY_TAG: key},
            parameters={"latent_size": "2"},
            dataset={"name": "digits", "digest": "0", "source_type": "local", "source": "{}"},
            context="training",
            note_if_lost="lost",
        )
        outbox = Outbox.create(tmp_path / "outbox", STUDY, creation)
        outbox.append(File(path=outbox.add_file("notes.txt", b"notes"), name="notes.txt"))
        outbox.append(Values(at=1, metrics={"x": 1.0}))
        outbox.release()
    return tmp_path / "outbox" / STUDY / "b"


def upload(uri, folder):
    """Upload all that waits: how many runs arrived, how many outboxes were refused, and the problems."""
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        tracker.waiting()
        tracker.waiting_elsewhere()
        uploaded = tracker.upload_orphans()
        return uploaded, len(tracker.refused), tracker.problems()


def arrived(uri):
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    return sorted(run.info.run_name for run in runs if run.info.status != "RUNNING")


def lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def write(folder, records):
    (folder / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))


@pytest.mark.parametrize("name", ["records.jsonl", "state.json", "state.new", "rejected.jsonl", "lock"])
def test_a_folder_in_place_of_an_own_file_is_named_and_others_arrive(uri, damaged, tmp_path, name):
    write(damaged, [*lines(damaged), {"kind": "none"}])  # so that a rejection is written, too
    (damaged / name).unlink(missing_ok=True)
    (damaged / name).mkdir()
    uploaded, refused, problems = upload(uri, tmp_path)
    assert (uploaded, refused) == (2, 1)
    assert any(f"{damaged / name} is a folder: " in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)
    assert {"vae a", "vae c"} <= set(arrived(uri))
    assert (damaged / name).is_dir()


@pytest.mark.parametrize(
    "first",
    [
        {"kind": "creation", "of": "another version"},
        {"kind": "values", "at": 1},
        {"version": 2},
        [],
        "text",
    ],
    ids=str,
)
def test_an_outbox_that_this_version_did_not_write_is_named_and_others_arrive(uri, damaged, tmp_path, first):
    write(damaged, [first, *lines(damaged)[1:]])
    before = (damaged / "records.jsonl").read_bytes()
    uploaded, refused, (problem,) = upload(uri, tmp_path)
    assert (uploaded, refused) == (2, 1)
    assert f"{damaged / 'records.jsonl'} does not begin with a run as this version logs it (" in problem
    assert problem.endswith("): upload it with the version that wrote it, or remove its folder")
    assert "\n" not in problem
    assert arrived(uri) == ["vae a", "vae c"]
    assert (damaged / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize("at", [-1, 10**13, None], ids=str)
def test_a_run_that_begins_at_no_time_is_named(uri, damaged, tmp_path, at):
    creation, *others = lines(damaged)
    write(damaged, [creation | {"at": at}, *others])
    uploaded, refused, (problem,) = upload(uri, tmp_path)
    assert (uploaded, refused) == (2, 1)
    assert "at" in problem.partition("logs it (")[2]
    assert arrived(uri) == ["vae a", "vae c"]


def test_absurd_records_are_kept_with_their_reasons_and_all_others_arrive(uri, damaged, tmp_path):
    absurd = [
        *({"kind": "values", "at": at, "metrics": {"y": 1.0}} for at in [-1, 10**13, 10**30, 1e300, "soon", None]),
        *({"kind": "values", "at": 1, "step": step, "metrics": {"y": 1.0}} for step in [-1, 2**63, 10**30, "first"]),
        {"kind": "values", "at": 1, "metrics": {"y": "much"}},
        {"kind": "values", "at": 1, "metrics": {"y" * 10_000: 1.0}},
        {"kind": "values", "at": 1, "metrics": {"": 1.0}},
        {"kind": "values", "at": 1, "tags": {"t": "\0"}, "more": 1},
        {"kind": "values", "at": 1, "tags": {"t" * 10_000: "x"}},
        {"kind": "file", "path": "files/9/none", "name": "none"},
        {"kind": "package", "path": "files/1/notes.txt", "model_type": "vae"},
        {"kind": "samples", "path": "files/1"},
        {"kind": "end", "at": 1, "status": "ENDED", "tags": {}},
        {"kind": "end", "at": 10**30, "status": "FINISHED", "tags": {}},
        {"kind": "telemetry"},
        [[[]]],
    ]
    write(damaged, [*lines(damaged), *absurd])
    uploaded, refused, problems = upload(uri, tmp_path)
    assert (uploaded, refused) == (3, 0)
    assert all(str(damaged / "rejected.jsonl") in problem for problem in problems)
    assert f"{len(absurd)} records of run 'vae b' are not uploaded" in problems[-1]
    rejected = [json.loads(line) for line in (damaged / "rejected.jsonl").read_text().splitlines()]
    assert sorted(str(json.loads(each["line"])) for each in rejected) == sorted(map(str, absurd))
    assert all(each["reason"] for each in rejected)
    assert arrived(uri) == ["vae a", "vae b", "vae c"]
    client = MlflowClient(tracking_uri=uri)
    assert all(run.data.metrics["x"] == 1.0 for run in client.search_runs(["1"]))


@pytest.mark.parametrize("sent", [10, 10**6, 2**63 - 1])
def test_a_state_that_no_upload_leaves_loses_nothing(uri, damaged, tmp_path, sent):
    (damaged / "state.json").write_text(json.dumps({"sent": sent}))
    assert upload(uri, tmp_path) == (3, 0, [])
    assert arrived(uri) == ["vae a", "vae b", "vae c"]
    client = MlflowClient(tracking_uri=uri)
    assert all(run.data.metrics["x"] == 1.0 for run in client.search_runs(["1"]))


def test_a_state_of_another_run_is_not_believed(uri, damaged, tmp_path):
    other = MlflowClient(tracking_uri=uri).create_run("1", run_name="another")
    size = len((damaged / "records.jsonl").read_bytes().splitlines(keepends=True)[0])
    (damaged / "state.json").write_text(json.dumps({"sent": size, "run_id": other.info.run_id}))
    upload(uri, tmp_path)
    assert MlflowClient(tracking_uri=uri).get_run(other.info.run_id).data.metrics == {}
    assert "vae b" in arrived(uri)


def test_a_run_that_is_not_in_the_store_any_more_is_named_and_others_arrive(uri, damaged, tmp_path):
    size = len((damaged / "records.jsonl").read_bytes().splitlines(keepends=True)[0])
    (damaged / "state.json").write_text(json.dumps({"sent": size, "run_id": "0" * 32}))
    uploaded, refused, (problem,) = upload(uri, tmp_path)
    assert (uploaded, refused) == (2, 1)
    assert f"rejected a run (Run with id={'0' * 32} not found); what it logged is kept in {damaged}" in problem


def test_a_store_that_fails_on_one_run_alone_gets_the_others(uri, damaged, tmp_path, monkeypatch):
    """As a server does that ends with status 500 on what one run logs."""
    create = MlflowClient.create_run

    def fail(self, experiment_id, at, tags, name):
        if name == "vae b":
            raise ConnectionError("aborted")
        return create(self, experiment_id, at, tags, name)

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    uploaded, refused, (problem,) = upload(uri, tmp_path)
    assert (uploaded, refused) == (2, 1)
    assert problem == f"an outbox is not uploaded: the tracking store fails on {damaged} (aborted): it is tried again"
    assert arrived(uri) == ["vae a", "vae c"]
    monkeypatch.undo()
    assert upload(uri, tmp_path) == (1, 0, [])


def test_a_run_that_the_store_rejects_is_named_though_the_store_is_then_away(uri, damaged, tmp_path, monkeypatch):
    size = len((damaged / "records.jsonl").read_bytes().splitlines(keepends=True)[0])
    (damaged / "state.json").write_text(json.dumps({"sent": size, "run_id": "0" * 32}))
    create = MlflowClient.create_run

    def fail(self, experiment_id, at, tags, name):
        if name == "vae c":
            raise ConnectionError("aborted")
        return create(self, experiment_id, at, tags, name)

    def search(self, **query):
        raise ConnectionError("aborted")

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    monkeypatch.setattr(MlflowClient, "search_experiments", search)
    monkeypatch.setattr(of_store, "outboxes", lambda root: sorted(outboxes(root)))
    with Tracker(uri, tmp_path / "artifacts", tmp_path / "outbox") as tracker:
        with pytest.raises(TrackingError, match=r"cannot be reached: aborted; .* of 2 runs wait in "):
            tracker.upload_orphans()
        assert list(tracker.refused) == [damaged]
        (problem,) = tracker.problems()
    assert f"rejected a run (Run with id={'0' * 32} not found); what it logged is kept in {damaged}" in problem
