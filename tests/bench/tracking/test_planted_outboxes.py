"""Whoever can write to an outbox does not have the uploader publish, overwrite or remove anything outside it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from bench.core.errors import OutboxError
from bench.evaluation.image_grid import image_grid
from bench.tracking.outbox.inside import RefusedPathError, open_inside
from bench.tracking.outbox.outbox import Outbox, count_runs, outboxes, remove_study
from bench.tracking.outbox.records import Creation, File, Package, Samples, Values
from bench.tracking.schema import KEY_TAG
from bench.tracking.tracker import Tracker

PRIVATE = "a private key"
PNG = image_grid(np.zeros((4, 8, 8, 1), np.uint8), 17, 2)
STUDY = "tiny-digits-12345678"


@pytest.fixture
def uri(tmp_path, _empty_store):
    shutil.copy(_empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def client(uri, tmp_path):
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def secret(tmp_path):
    """A file that the uploader's user can read, and nobody is to see."""
    file = tmp_path / "home" / "id_rsa"
    file.parent.mkdir()
    file.write_text(PRIVATE)
    return file


@pytest.fixture
def outbox(uri, client, tmp_path):
    """The outbox of a run that has logged a file, a picture and a model, and a tracker's folder around it."""
    artifacts = (tmp_path / "artifacts").as_uri()
    left = Outbox.create(tmp_path / "outbox", STUDY, creation(uri, client.create_experiment("tiny", artifacts)))
    left.append(File(path=left.add_file("notes.txt", b"notes"), name="notes.txt"))
    left.append(Samples(path=left.add_file("grid.png", PNG)))
    package = left.new_path("model")
    (left.folder / package).mkdir()
    (left.folder / package / "MLmodel").write_text("flavors: {}")
    (left.folder / package / "model.keras").write_bytes(b"weights")
    left.append(Package(path=package, model_type="vae"))
    left.append(Values(at=1, metrics={"a": 1.0}))
    left.release()
    return left.folder


def creation(uri, experiment_id, key="key1"):
    dataset = {"name": "digits", "digest": "0", "source_type": "local", "source": "{}"}
    return Creation(
        store=uri,
        experiment_id=experiment_id,
        name="vae #0",
        at=1,
        tags={KEY_TAG: key},
        parameters={},
        dataset=dataset,
        context="training",
        note_if_lost="lost",
    )


def upload(uri, folder):
    """Upload all that waits; the problems."""
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        tracker.waiting()
        tracker.waiting_elsewhere()
        tracker.upload_orphans()
        return tracker.problems()


def published(folder):
    """What the store holds of files, by name."""
    return {path.name: path.read_bytes() for path in (folder / "artifacts").rglob("*") if path.is_file()}


def append(folder, line):
    with (folder / "records.jsonl").open("a") as file:
        file.write(line + "\n")


def rejections(folder):
    return [json.loads(line)["reason"] for line in (folder / "rejected.jsonl").read_text().splitlines()]


def test_an_honest_outbox_arrives_whole(uri, outbox, tmp_path):
    assert upload(uri, tmp_path) == []
    assert {"notes.txt", "grid.png", "grid+compressed.webp", "MLmodel", "model.keras"} == set(published(tmp_path))
    assert not outbox.exists()


def test_an_outbox_of_which_a_copy_with_hard_links_exists_arrives_whole(uri, outbox, tmp_path):
    shutil.copytree(outbox.parent, tmp_path / "backup", copy_function=os.link)
    assert upload(uri, tmp_path) == []
    assert {"notes.txt", "grid.png", "grid+compressed.webp", "MLmodel", "model.keras"} == set(published(tmp_path))
    assert not outbox.exists()


@pytest.mark.parametrize(
    ("kind", "path", "reason"),
    [
        ("file", "{secret}", "is no path within the outbox"),
        ("samples", "{secret}", "is no path within the outbox"),
        ("package", "{secret}", "is no path within the outbox"),
        ("file", "files/../../../../home/id_rsa", "is no path within the outbox"),
        ("file", "records.jsonl", "does not begin with files/"),
        ("package", "", "is no path within the outbox"),
    ],
)
def test_a_record_of_a_path_outside_is_refused(uri, outbox, secret, tmp_path, kind, path, reason):
    record = {"kind": kind, "path": path.format(secret=secret)}
    record |= {"file": {"name": "x"}, "samples": {}, "package": {"model_type": "vae"}}[kind]
    append(outbox, json.dumps(record))
    (problem,) = upload(uri, tmp_path)
    assert reason in problem
    assert "\n" not in problem
    (rejected,) = rejections(outbox)
    assert reason in rejected
    assert PRIVATE.encode() not in published(tmp_path).values()
    assert "notes.txt" in published(tmp_path)


@pytest.mark.parametrize("name", ["../../../x", "/etc/cron.d/x", ""])
def test_an_artifact_has_no_name_outside_its_run(uri, outbox, tmp_path, name):
    append(outbox, json.dumps({"kind": "file", "path": "files/1/notes.txt", "name": name}))
    (problem,) = upload(uri, tmp_path)
    assert f"{name!r} is no name of an artifact: a relative path without .. is accepted" in problem


def link(place, secret):
    place.unlink(missing_ok=True)
    place.symlink_to(secret)


def pipe(place, secret):
    place.unlink(missing_ok=True)
    os.mkfifo(place)


def linked_folder(place, secret):
    shutil.rmtree(place.parent)
    place.parent.symlink_to(secret.parent)
    (secret.parent / place.name).write_text(PRIVATE)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (link, "symbolic link"),
        (pipe, "pipe"),
        (linked_folder, "symbolic link"),
    ],
)
@pytest.mark.parametrize("place", ["1/notes.txt", "2/grid.png", "3/model/MLmodel", "3/model/model.keras"])
def test_what_was_put_in_place_of_a_file_is_refused_and_the_rest_arrives(
    uri, outbox, secret, tmp_path, place, plant, reason
):
    plant(outbox / "files" / place, secret)
    (problem,) = upload(uri, tmp_path)
    assert reason in problem
    (rejected,) = rejections(outbox)
    assert reason in rejected
    assert PRIVATE.encode() not in published(tmp_path).values()
    assert secret.read_text() == PRIVATE
    assert "notes.txt" in published(tmp_path) or place == "1/notes.txt"
    assert "grid.png" in published(tmp_path) or place == "2/grid.png"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("name", ["notes.txt", "grid.png", "MLmodel", "records.jsonl", "lock"])
def test_what_may_not_be_opened_now_is_uploaded_later_and_others_now(
    uri, outbox, client, tmp_path, monkeypatch, name, number
):
    """As with an expired ticket of a file server."""
    other = Outbox.create(tmp_path / "outbox", STUDY, creation(uri, client.search_experiments()[0].experiment_id, "k2"))
    other.append(File(path=other.add_file("other.txt", b"other"), name="other.txt"))
    other.release()
    opened = os.open
    others = (outbox.parent / "k2").stat().st_ino

    def denied(path, flags, mode=0o777, *, dir_fd=None):
        if path == name and (dir_fd is None or os.fstat(dir_fd).st_ino != others):
            raise PermissionError(number, os.strerror(number))
        return opened(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr("os.open", denied)
        (problem,) = upload(uri, tmp_path)
    assert f"{name} may not be opened by this user now" in problem
    assert not (outbox / "rejected.jsonl").exists()
    assert published(tmp_path)["other.txt"] == b"other"
    assert upload(uri, tmp_path) == []
    assert published(tmp_path).keys() >= {"notes.txt", "grid.png", "MLmodel", "model.keras"}
    assert not outbox.exists()


def no_temporary_files():
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


@pytest.mark.parametrize("full", ["memory", None])
def test_files_are_copied_where_there_is_room(uri, outbox, tmp_path, monkeypatch, full):
    """As where temporary files lie in a small memory."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: full or no_temporary_files())
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=int(folder != full)))
    assert upload(uri, tmp_path) == []
    assert {"notes.txt", "grid.png", "grid+compressed.webp", "MLmodel", "model.keras"} == set(published(tmp_path))
    assert not list((tmp_path / "outbox").glob("reparam-bench-*"))


def test_several_refused_records_are_counted(uri, outbox, secret, tmp_path):
    link(outbox / "files/1/notes.txt", secret)
    link(outbox / "files/2/grid.png", secret)
    first, last = upload(uri, tmp_path)
    assert "rejected a record" in first
    assert last.startswith("2 records of run 'vae #0' are not uploaded; ")
    assert str(outbox / "rejected.jsonl") in last


@pytest.mark.parametrize(
    ("place", "content", "reason"),
    [
        ("2/grid.png", b"no picture", "is no PNG picture"),
        ("2/grid.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no PNG picture"),
        ("3/model/MLmodel", b"a: [", "ParserError"),
    ],
)
def test_what_cannot_be_read_is_rejected_once_and_not_retried(uri, outbox, tmp_path, place, content, reason):
    (outbox / "files" / place).write_bytes(content)
    (problem,) = upload(uri, tmp_path)
    assert reason in problem
    assert "notes.txt" in published(tmp_path)


@pytest.mark.parametrize("name", ["state.json", "state.new", "rejected.jsonl", "lock", "records.jsonl"])
def test_no_link_in_place_of_an_own_file_is_written_through(uri, outbox, client, secret, tmp_path, name):
    content = (outbox / "records.jsonl").read_text()
    append(outbox, "no record")
    if name == "records.jsonl":
        secret.write_text(content)
    before = secret.read_text()
    link(outbox / name, secret)
    other = Outbox.create(tmp_path / "outbox", STUDY, creation(uri, client.search_experiments()[0].experiment_id, "k2"))
    other.append(File(path=other.add_file("other.txt", b"other"), name="other.txt"))
    other.release()
    problems = upload(uri, tmp_path)
    assert any("link" in problem for problem in problems)
    assert secret.read_text() == before
    assert published(tmp_path)["other.txt"] == b"other"


@pytest.mark.parametrize("level", ["study", "run"])
def test_a_linked_outbox_is_refused_and_others_hidden_folders_stay(uri, outbox, tmp_path, level):
    elsewhere = tmp_path / "elsewhere"
    hidden = elsewhere / (".ssh" if level == "study" else "files")
    outbox.parent.rename(elsewhere) if level == "study" else outbox.rename(elsewhere)
    hidden.mkdir(exist_ok=True)
    (hidden / "keep").write_text(PRIVATE)
    (outbox.parent if level == "study" else outbox).symlink_to(elsewhere)
    (problem,) = upload(uri, tmp_path)
    assert "symbolic link" in problem
    assert (hidden / "keep").read_text() == PRIVATE
    assert published(tmp_path) == {}
    assert count_runs(tmp_path / "outbox") == {}
    with pytest.raises(OutboxError, match="symbolic link"):
        remove_study(tmp_path / "outbox", STUDY)
    assert (hidden / "keep").read_text() == PRIVATE


def test_what_was_half_removed_is_removed(outbox, tmp_path):
    outbox.rename(outbox.with_name(".key1"))
    assert list(outboxes(tmp_path / "outbox")) == []
    assert list(outbox.parent.iterdir()) == []


def test_a_folder_is_no_file(uri, outbox, tmp_path):
    append(outbox, json.dumps({"kind": "file", "path": "files/3/model", "name": "model"}))
    (problem,) = upload(uri, tmp_path)
    assert "files/3/model is a folder" in problem


def test_folders_without_end_are_refused(uri, outbox, tmp_path):
    (outbox / "files/3/model" / "/".join("d" * 20)).mkdir(parents=True)
    (problem,) = upload(uri, tmp_path)
    assert "16 folders" in problem


def test_an_outbox_is_its_users_alone(outbox, tmp_path):
    for path in (tmp_path / "outbox", *(tmp_path / "outbox").rglob("*")):
        # The package is written by Keras and MLflow, below a private folder.
        if "model" not in path.parts:
            expected = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_a_root_may_be_a_link_of_the_users_own(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("text")
    (tmp_path / "runs").symlink_to(tmp_path / "real")
    descriptor = open_inside(tmp_path / "runs", "file")
    assert os.read(descriptor, 9) == b"text"
    os.close(descriptor)
    with pytest.raises(RefusedPathError):
        open_inside(tmp_path, "runs/file")
    with pytest.raises(FileNotFoundError):
        open_inside(tmp_path, "real/absent")
    with pytest.raises(RefusedPathError, match="pipe"):
        open_inside(Path("/dev"), "null")


def test_uploading_changes_no_file_of_the_outbox(uri, outbox, secret, tmp_path):
    link(outbox / "files/1/notes.txt", secret)
    upload(uri, tmp_path)
    assert (outbox / "files/3/model/MLmodel").read_text() == "flavors: {}"
