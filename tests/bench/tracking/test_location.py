"""A runs folder that is moved, renamed, copied or mounted elsewhere stays whole."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from bench.core.errors import SettingsError, TrackingError
from bench.core.file_locks import LockFileError
from bench.core.results import EvaluationRecord, RunState
from bench.data.bundled import DIGITS
from bench.data.kept import find_kept
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.location import find_moves, settle, store_name
from bench.tracking.opening import open_study
from bench.tracking.reading.model_runs import load_model_file, load_run
from bench.tracking.reading.reader import load_results
from bench.tracking.schema import MODEL_FILE, StudyDescription
from bench.tracking.tracker import Tracker
from models.vae.config import VAEConfig

STUDY = StudyDescription(
    study_id="moved-digits-12345678",
    name="moved",
    question="Is it still there?",
    arms={"vae": "vae"},
    swept={"vae": ["latent_size"]},
    settings={"trials": 3, "dataset": "digits"},
    provenance={"commit": "0" * 40, "command": "none"},
    dataset=DIGITS,
    digest="f" * 64,
)
CONFIG = RunConfig(model=VAEConfig(latent_size=4), training=TrainingConfig(), dataset_digest="0", backend="jax")


def write_package(model, example, folder):
    (folder / "artifacts").mkdir(parents=True)
    shutil.make_archive(str(folder / "artifacts" / "model"), "zip", folder)
    (folder / "artifacts" / "model.zip").rename(folder / MODEL_FILE)
    (folder / "MLmodel").write_text("flavors: {}")


@pytest.fixture(autouse=True)
def _package(monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "bench.tracking.logged_model", SimpleNamespace(write_package=write_package)
    )


def uri_of(folder):
    return f"sqlite:///{folder / 'mlflow.db'}"


def open_tracker(folder):
    return Tracker(uri_of(folder), folder / "artifacts", folder / "outbox")


def log_final(parent, key=None):
    run = parent.start_run("vae final, seed 1 of 1", "final", "vae", 0, CONFIG, key=key)
    run.log_evaluation(EvaluationRecord(1, 128, 0.5, {"validation/bits_per_dim": 2.5}))
    run.log_model(SimpleNamespace(configuration=SimpleNamespace(family="vae")), None)
    run.log_pictures([("samples", "four images", b"png")])
    run.log_tables({"latents": pd.DataFrame({"latent": [0], "kl_nats": [1.5]})})
    run.finish(RunState.COMPLETE)


@pytest.fixture(scope="module")
def written(tmp_path_factory, _empty_store):
    """A folder with a study, a final run and a registered model."""
    folder = tmp_path_factory.mktemp("written") / "runs"
    folder.mkdir()
    shutil.copy(_empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch, open_tracker(folder) as tracker:
        patch.setitem(
            __import__("sys").modules, "bench.tracking.logged_model", SimpleNamespace(write_package=write_package)
        )
        parent = open_study(tracker, STUDY)
        log_final(parent)
        assert tracker.drain() == 0
        parent.register({"vae": parent.children()[0]})
    return folder


@pytest.fixture
def moved(written, tmp_path):
    """The folder at another place, and none where it was written."""
    before, now = written, tmp_path / "else where" / "my runs, ü"
    copy = tmp_path / "kept"
    shutil.copytree(before, copy)
    now.parent.mkdir()
    before.rename(now)
    yield SimpleNamespace(before=before, now=now)
    shutil.copytree(copy, before, dirs_exist_ok=True)


def addresses(folder):
    """All that the database of a folder says, in one text."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return "\n".join(connection.iterdump())


def assert_readable(folder):
    uri = uri_of(folder)
    results = load_results(uri, STUDY.study_id)
    assert [grid.png for grid in results.images] == [b"png"] * len(results.runs)
    assert list(results.tables["latents"]["kl_nats"]) == [1.5] * len(results.runs)
    for run_id in results.runs["run_id"]:
        assert load_run(uri, run_id).keeps_model
        assert load_model_file(uri, run_id, folder.parent / "downloaded").is_file()


def test_a_moved_folder_is_read_and_nothing_iswritten(moved):
    before = {path: path.read_bytes() for path in moved.now.rglob("*") if path.is_file()}
    assert_readable(moved.now)
    assert {path: path.read_bytes() for path in moved.now.rglob("*") if path.is_file()} == before
    assert not moved.before.exists()


def test_what_writes_to_a_moved_folder_rewrites_its_addresses_and_says_so(moved, caplog):
    caplog.set_level("INFO")
    with open_tracker(moved.now) as tracker:
        parent = open_study(tracker, STUDY)
        log_final(parent)
        assert tracker.drain() == 0
    (line,) = [record.getMessage() for record in caplog.records if "was moved" in record.getMessage()]
    assert str(moved.before) in line
    assert str(moved.before) not in addresses(moved.now)
    assert not moved.before.exists()
    assert len(load_results(uri_of(moved.now), STUDY.study_id).runs) == 2
    assert_readable(moved.now)


def test_registered_models_and_the_command_that_serves_them_move_too(moved):
    settle(uri_of(moved.now)).close()
    client = MlflowClient(tracking_uri=uri_of(moved.now))
    (model,) = client.search_registered_models()
    (version,) = client.search_model_versions(f"name = '{model.name}'")
    assert version.source.startswith((moved.now / "artifacts").as_uri())
    assert uri_of(moved.now) in model.description
    assert client.download_artifacts(version.run_id, "pictures/samples.png")


def test_a_copy_leaves_the_original_alone(written, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    with open_tracker(copy) as tracker:
        log_final(open_study(tracker, STUDY))
        assert tracker.drain() == 0
    shutil.rmtree(copy / "artifacts" / "moved" / "models")
    results = load_results(uri_of(copy), STUDY.study_id)
    assert {path: path.read_bytes() for path in written.rglob("*") if path.is_file()} == before
    with pytest.raises(TrackingError, match=f"lacks file://{copy}.*model.keras"):
        load_model_file(uri_of(copy), results.runs["run_id"][0], tmp_path)
    assert_readable(written)


def test_what_waits_in_an_outbox_is_uploaded_from_where_it_is_now(moved):
    with open_tracker(moved.now) as tracker:
        parent = open_study(tracker, STUDY)
        vars(tracker)["client"] = None
        log_final(parent, key="0" * 32)
    last = moved.now.with_name("last")
    moved.now.rename(last)
    (creation,) = last.glob("outbox/*/*/records.jsonl")
    assert str(moved.now) not in json.loads(creation.read_text().splitlines()[0])["store"]
    with open_tracker(last) as tracker:
        assert tracker.waiting_elsewhere() == {}
        assert tracker.upload_orphans() == 1
    assert_readable(last)


def test_an_address_is_kept_while_another_process_writes_under_it(moved):
    with open_tracker(moved.now) as tracker:
        assert tracker.client
        last = moved.now.with_name("last")
        moved.now.rename(last)
        with pytest.raises(SettingsError, match="another process still writes there: wait until it ends"):
            settle(uri_of(last))
        assert_readable(last)
    settle(uri_of(last)).close()


def test_a_folder_that_is_a_link_to_another_disk_has_not_moved(written, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(written)
    before = addresses(written)
    settle(uri_of(link)).close()
    assert addresses(written) == before


def test_a_database_whose_artifacts_are_elsewhere_is_left_as_it_is(written, tmp_path):
    shutil.copy(written / "mlflow.db", tmp_path / "mlflow.db")
    settle(uri_of(tmp_path)).close()
    assert addresses(tmp_path) == addresses(written)


def test_a_folder_moved_before_anything_lay_in_it_gets_what_is_logged_later(tmp_path):
    first, last = tmp_path / "first", tmp_path / "last"
    first.mkdir()
    with open_tracker(first) as tracker:
        open_study(tracker, STUDY)
    first.rename(last)
    with open_tracker(last) as tracker:
        log_final(open_study(tracker, STUDY))
        assert tracker.drain() == 0
    assert not first.exists()
    assert_readable(last)


def test_kept_arrays_are_found_below_the_output_folder_wherever_it_is(tmp_path):
    kept = tmp_path / "data" / ("a" * 12) / "arrays.npz"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert find_kept(f"/before/runs/data/{'a' * 12}/arrays.npz", tmp_path) == str(kept)
    for other in ("digits", "/before/my.npz", f"/before/runs/data/{'b' * 12}/arrays.npz"):
        assert find_kept(other, tmp_path) == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql:///mlflow?host=/run/a", "postgresql:///mlflow?host=/run/b"),
        ("postgresql://h/db?options=-csearch_path%3Da", "postgresql://h/db?options=-csearch_path%3Db"),
        ("mysql://h/db?unix_socket=/a", "mysql://h/db?unix_socket=/b"),
    ],
)
def test_two_stores_stay_two_though_their_queries_are_not_shown(one, other):
    assert store_name(one) != store_name(other)
    assert store_name(one) == store_name(one)


def test_a_password_is_no_part_of_a_store_s_name():
    names = {store_name(f"postgresql://me:{secret}@h/db?password={secret}") for secret in ("a", "hunter2")}
    assert len(names) == 1
    assert "hunter2" not in names.pop()


def test_artifacts_in_object_storage_are_not_moved(tmp_path):
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("INSERT INTO experiments VALUES ('s3://bucket/artifacts/3')")
        connection.commit()
    (tmp_path / "artifacts" / "3").mkdir(parents=True)
    assert find_moves(database) == []


@pytest.mark.parametrize("planted", ["itself", "nowhere", "target", "folder"])
def test_what_is_no_file_in_place_of_the_lock_is_named_and_left_alone(written, planted):
    lock = written / "mlflow.db.lock"
    lock.unlink(missing_ok=True)
    target = written / planted
    if planted == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(lock if planted == "itself" else target)
    try:
        with pytest.raises(LockFileError, match=r"mlflow\.db\.lock is a (symbolic link|folder).*remove it"):
            settle(uri_of(written))
        assert not target.exists()
    finally:
        lock.rmdir() if planted == "folder" else lock.unlink()
