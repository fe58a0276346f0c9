"""What is logged arrives once and in order, whatever the tracking store, the network, the disk and the process do."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from bench.core.errors import OutboxError, TrackingError
from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.evaluation.image_grid import image_grid
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.opening import join_study, open_study
from bench.tracking.outbox import uploader as uploader
from bench.tracking.outbox.outbox import Outbox
from bench.tracking.outbox.records import End, Values
from bench.tracking.outbox.retry import is_transient
from bench.tracking.schema import LOST, StudyDescription
from bench.tracking.tracker import Tracker
from bench.training.history import VALIDATION
from models.vae.config import VAEConfig
from tests.browser.chromium import mlflow_server
from tests.faults.proxy import FAULTS, Proxy, at_random

ROOT = Path(__file__).resolve().parents[2]
STUDY = StudyDescription(
    study_id="tiny-digits-12345678",
    name="tiny",
    question="Does it arrive?",
    arms={"vae": "vae"},
    swept={"vae": ["latent_size"]},
    settings={"trials": 3},
    provenance={"commit": "0" * 40, "command": "none"},
    dataset=DIGITS,
    digest="f" * 64,
)
CONFIG = RunConfig(model=VAEConfig(latent_size=4), training=TrainingConfig(), dataset_digest="0", backend="jax")
PNG = image_grid(np.zeros((4, 8, 8, 1), np.uint8), 17, 2)
CURVE = "validation/bits_per_dim_by_evaluation"
EVALUATIONS = 20
LINES = EVALUATIONS + 11
"""Of a run that logs all there is."""
MEASURED = [
    Measurement("test", "bits_per_dim", 1 / 3, 0.01, 64),
    Measurement("quality", "kid", math.nan, math.inf, 64),
]
AWAY = MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)


class Faulty:
    """MLflow's client, some of whose calls fail: before they are done, or after, so that the answer is lost."""

    def __init__(self, client, fault=lambda call: ""):
        self.client = client
        self.fault = fault
        self.calls = []

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **options):
            fault = self.fault(name)
            self.calls.append(name)
            if fault == "before":
                raise AWAY
            if isinstance(fault, Exception):
                raise fault
            answer = method(*arguments, **options)
            if fault == "after":
                raise AWAY
            return answer

        return call


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses that a test can wait for; a model whose package takes no time."""
    monkeypatch.setattr(uploader, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(uploader, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(uploader, "FLUSH_SECONDS", 0.05)
    monkeypatch.setitem(sys.modules, "bench.tracking.logged_model", SimpleNamespace(write_package=write_package))


def write_package(model, example, folder):
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "model.keras").write_bytes(b"weights")
    (folder / "MLmodel").write_text("flavors: {}")


@pytest.fixture
def uri(tmp_path, _empty_store):
    shutil.copy(_empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@contextmanager
def tracking(uri, folder, fault=lambda call: ""):
    """A tracker whose client fails as arranged."""
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        vars(tracker)["client"] = Faulty(MlflowClient(tracking_uri=uri), fault)
        yield tracker


@pytest.fixture
def tracker(uri, tmp_path):
    with tracking(uri, tmp_path) as opened:
        yield opened


@pytest.fixture
def client(uri):
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def parent(tracker):
    return open_study(tracker, STUDY)


def begin(parent, number=0, **options):
    return parent.start_run(f"vae #{number}", "search", "vae", number, CONFIG, number, **options)


def train(run, evaluations=EVALUATIONS):
    """A learning curve, with samples at two evaluations."""
    for evaluation in range(1, evaluations + 1):
        samples = PNG if evaluation in (1, evaluations) else None
        run.log_evaluation(
            EvaluationRecord(evaluation, 128 * evaluation, 0.5 * evaluation, {VALIDATION: 1 / evaluation}, samples)
        )


def log_all(run, evaluations=EVALUATIONS):
    """All that a run can log."""
    train(run, evaluations)
    run.log_model(SimpleNamespace(configuration=SimpleNamespace(family="vae")), None)
    run.log_measurements(MEASURED)
    run.log_pictures([("samples", "four black images", PNG)])
    run.log_tables({"by_image": pd.DataFrame({"image": [0], "bound_nats": [1.5]})})
    run.log_unavailable({"precision": "too few images"})
    run.finish(RunState.COMPLETE, rank="First")


def artifacts(client, run_id, path=""):
    found = []
    for file in client.list_artifacts(run_id, path):
        found += artifacts(client, run_id, file.path) if file.is_dir else [file.path]
    return sorted(found)


def assert_arrived(client, run_id, evaluations=EVALUATIONS, ended=True):
    """All of :func:`log_all`, each once."""
    run = client.get_run(run_id)
    curve = [(point.step, point.value) for point in client.get_metric_history(run_id, CURVE)]
    assert curve == [(evaluation, 1 / evaluation) for evaluation in range(1, evaluations + 1)]
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, len(dataset.tags)) == ("digits", 1)
    assert run.data.params["latent_size"] == "4"
    if not ended:
        return
    (bits,) = client.get_metric_history(run_id, "test/bits_per_dim")
    assert bits.value == 1 / 3
    (kid,) = client.get_metric_history(run_id, "quality/kid")
    assert math.isnan(kid.value)
    assert len(client.get_metric_history(run_id, "quality/kid_standard_error")) == 1
    tags = run.data.tags
    assert json.loads(tags["reparam.captions"]) == {"samples": "four black images"}
    assert json.loads(tags["reparam.unavailable"]) == {"precision": "too few images"}
    assert set(json.loads(tags["reparam.details.test"])) == {"bits_per_dim"}
    assert (run.info.status, tags["reparam.state"]) == ("FINISHED", "complete")
    assert "First." in tags["mlflow.note.content"]
    names = artifacts(client, run_id)
    assert [name for name in names if not name.startswith("images/")] == ["pictures/samples.png", "tables/by_image.csv"]
    assert sorted(Path(name).suffix for name in names if name.startswith("images/")) == [".png"] * 2 + [".webp"] * 2
    (output,) = run.outputs.model_outputs
    (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    assert (model.model_id, model.status) == (output.model_id, "READY")
    assert {metric.key for metric in model.metrics} == {"test/bits_per_dim", "quality/kid"}
    described = Path(client.get_logged_model(model.model_id).artifact_location.removeprefix("file://"), "MLmodel")
    if described.exists():
        assert f"model_id: {model.model_id}" in described.read_text()
        assert f"run_id: {run_id}" in described.read_text()


def await_left(tracker, records):
    """Wait until no more records are left, however slow the machine is."""
    until = time.monotonic() + 60
    while (left := tracker.drain(0.2)) > records:
        assert time.monotonic() < until, left
    assert left == records


def keys(parent):
    """The keys of the runs that the store has, one for each run."""
    return [run.key for run in parent.children()]


def outboxed(folder):
    """All files of all outboxes."""
    return [path for path in (folder / "outbox").rglob("*") if path.is_file()]


def test_a_run_arrives_whole_and_leaves_no_outbox(parent, tracker, client, tmp_path):
    run = begin(parent, attempt=2, continuation="an earlier attempt, from evaluation *3*")
    log_all(run)
    assert tracker.drain(30) == 0
    assert_arrived(client, run.run_id)
    assert outboxed(tmp_path) == []
    (child,) = parent.children()
    assert (child.key, child.attempt, child.run_id) == (run.key, 2, run.run_id)
    tags = client.get_run(run.run_id).data.tags
    assert tags["reparam.continuation"] == "an earlier attempt, from evaluation *3*"
    assert "Continues an earlier attempt, from evaluation &#42;3&#42;. First." in tags["mlflow.note.content"]
    assert tracker.problems() == []


def test_the_times_are_those_of_the_logging_not_of_the_upload(parent, tracker, client):
    tracker.client.fault = lambda call: "before"
    before = time.time() * 1000
    run = begin(parent)
    train(run, 3)
    time.sleep(0.1)
    run.finish(RunState.COMPLETE)
    after = time.time() * 1000
    time.sleep(0.3)
    tracker.client.fault = lambda call: ""
    assert tracker.drain(30) == 0
    info = client.get_run(run.run_id).info
    stamps = [point.timestamp for point in client.get_metric_history(run.run_id, CURVE)]
    assert before - 1 <= info.start_time <= min(stamps) <= max(stamps) < info.end_time <= after + 1


def test_a_run_takes_as_few_requests_as_can_be_and_no_search(tracker, parent, client, monkeypatch):
    monkeypatch.setattr(uploader, "FLUSH_SECONDS", 60.0)
    tracker.client.calls.clear()
    run = begin(parent)
    while tracker.client.calls.count("log_batch") == 0:  # what its creation brings
        time.sleep(0.01)
    for evaluation in range(1, 201):
        run.log_evaluation(EvaluationRecord(evaluation, evaluation, evaluation, {"validation/bits_per_dim": 1.0}))
    run.log_measurements(MEASURED)
    run.finish(RunState.COMPLETE)
    assert tracker.drain(30) == 0
    assert tracker.client.calls == ["create_run", "log_inputs", "log_batch", "log_batch", "set_terminated"]
    assert len(client.get_metric_history(run.run_id, CURVE)) == 200


def test_more_values_than_a_request_takes_are_sent_in_several(parent, tracker, client):
    log_batch, sizes = tracker.client.client.log_batch, []

    def logged(run_id, metrics, params, tags):
        sizes.append(len(metrics) + len(params) + len(tags))
        log_batch(run_id, metrics=metrics, params=params, tags=tags)

    tracker.client.client.log_batch = logged
    tracker.client.fault = lambda call: "before"
    run = begin(parent)
    train(run, 1500)
    run.finish(RunState.COMPLETE)
    tracker.client.fault = lambda call: ""
    assert tracker.drain(60) == 0
    assert_arrived(client, run.run_id, 1500, ended=False)
    assert max(sizes) <= 1000
    assert len(sizes) <= 9


def test_nothing_is_lost_or_doubled_where_any_request_may_fail_or_its_answer_be_lost(uri, tmp_path, client):
    rng = random.Random(1)  # noqa: S311 - no secret
    with tracking(uri, tmp_path) as tracker:
        parent = open_study(tracker, STUDY)
        tracker.client.fault = lambda call: rng.choice(("before", "after", "after")) if rng.random() < 0.4 else ""
        runs = [begin(parent, number) for number in range(4)]
        for run in runs:
            log_all(run)
        assert tracker.drain(60) == 0
        tracker.client.fault = lambda call: ""
        assert sorted(keys(parent)) == sorted(run.key for run in runs)
        for run in runs:
            assert_arrived(client, run.run_id)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        (rows,) = database.execute("SELECT COUNT(*) FROM metrics").fetchone()
    assert rows == 4 * (4 * EVALUATIONS + 5)
    assert outboxed(tmp_path) == []


def test_no_value_comes_after_the_end(uri, tmp_path):
    rng = random.Random(2)  # noqa: S311 - no secret
    with tracking(uri, tmp_path) as tracker:
        parent = open_study(tracker, STUDY)
        seen = []
        log_batch, end = tracker.client.client.log_batch, tracker.client.client.set_terminated

        def logged(run_id, metrics, params, tags):
            seen.extend(metric.step for metric in metrics if metric.key == CURVE)
            seen.extend("state" for tag in tags if tag.key == "reparam.state")
            log_batch(run_id, metrics=metrics, params=params, tags=tags)

        def ended(*arguments):
            seen.append("end")
            end(*arguments)

        tracker.client.client.log_batch, tracker.client.client.set_terminated = logged, ended
        tracker.client.fault = lambda call: rng.choice(("before", "after")) if rng.random() < 0.5 else ""
        run = begin(parent)
        for evaluation in range(1, 31):
            run.log_evaluation(EvaluationRecord(evaluation, evaluation, evaluation, {"validation/bits_per_dim": 1.0}))
            time.sleep(0.01)
        run.finish(RunState.COMPLETE)
        assert tracker.drain(60) == 0
    once = list(dict.fromkeys(seen))
    assert once == [*range(1, 31), "state", "end"]
    assert seen[-1] == "end"
    assert len(seen) > len(once)  # some were sent again


def test_nothing_can_be_logged_after_the_end(parent):
    run = begin(parent)
    run.finish(RunState.COMPLETE)
    with pytest.raises(ValueError, match="closed"):
        run.log_evaluation(EvaluationRecord(1, 1, 1.0, {}))


def test_a_twin_that_came_late_out_of_a_server_that_hung_is_removed(parent, tracker, client):
    real = tracker.client.client.create_run

    def create(*arguments):
        real(*arguments)  # the one of which the client heard nothing, handled only now
        return real(*arguments)

    tracker.client.fault = lambda call: "before" if call == "create_run" and not tracker.client.calls else ""
    tracker.client.calls.clear()
    tracker.client.client.create_run = create
    run = begin(parent)
    log_all(run)
    assert tracker.drain(30) == 0
    assert tracker.client.calls[:3] == ["create_run", "search_runs", "create_run"]
    assert keys(parent) == [run.key]
    assert_arrived(client, run.run_id)


def test_every_float_arrives_as_it_was(parent, tracker, client):
    rng = np.random.default_rng(0)
    values = [*np.frombuffer(rng.bytes(8 * 400)).tolist(), 5e-324, 1.7976931348623157e308, -0.0, 0.1]
    values = [value for value in values if math.isfinite(value)]
    run = begin(parent)
    for step, value in enumerate(values):
        run.log_evaluation(EvaluationRecord(step, step, 0.0, {"validation/bits_per_dim": np.float64(value)}))
    run.log_evaluation(EvaluationRecord(len(values), 1, 0.0, {"validation/bits_per_dim": np.float32(0.1)}))
    run.finish(RunState.COMPLETE)
    assert tracker.drain(30) == 0
    found = {point.step: point.value for point in client.get_metric_history(run.run_id, CURVE)}
    assert [found[step] for step in range(len(values) + 1)] == [*values, float(np.float32(0.1))]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (AWAY, True),
        (MlflowException("API request failed with exception: connection refused"), True),
        (MlflowException("token has expired", PERMISSION_DENIED), True),
        (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), False),
        (MlflowException.invalid_parameter_value("too long"), False),
        (ConnectionResetError("reset"), True),
        (TimeoutError("late"), True),
        (KeyError("a fault of ours"), False),
        (FileNotFoundError("a file of the outbox"), False),
    ],
    ids=str,
)
def test_transient_failures_differ_from_rejections(error, passes):
    assert is_transient(error) is passes


def test_what_the_store_rejects_is_kept_and_reported_and_all_else_arrives(parent, tracker, client, tmp_path, caplog):
    refusals = [MlflowException.invalid_parameter_value("no room for files")]
    tracker.client.fault = lambda call: refusals.pop() if call == "log_artifact" and refusals else ""
    run = begin(parent)
    run._tag("bad name!", ["first"])
    run.log_file("text", "notes.txt")
    log_all(run)
    assert tracker.drain(30) == 0
    assert_arrived(client, run.run_id)
    problem, count = tracker.problems()
    assert problem.startswith("the tracking store rejected a record of run 'vae #0' (MlflowException: ")
    assert count.startswith("2 records of run 'vae #0' are not uploaded; ")
    (kept,) = (path for path in outboxed(tmp_path) if path.name == "rejected.jsonl")
    assert str(kept) in problem
    rejected = [json.loads(line) for line in kept.read_text().splitlines()]
    assert {json.loads(row["line"])["kind"] for row in rejected} == {"file", "values"}
    assert [path.read_text() for path in outboxed(tmp_path) if path.name == "notes.txt"] == ["text"]
    assert [record.getMessage() for record in caplog.records if record.name == uploader.log.name] == [problem, count]
    # Another process finds nothing left to do.
    tracker.close()
    with tracking(tracker.uri, tmp_path) as later:
        assert later.waiting() == (0, 0)
        assert later.upload_orphans() == 0


def test_what_may_not_be_opened_for_a_while_is_uploaded_by_the_same_process(parent, tracker, client, monkeypatch):
    opened, denials = os.open, iter(range(4))

    def denied_at_first(path, flags, *arguments, **named):
        if path == "samples.png" and not flags & os.O_CREAT and next(denials, None) is not None:
            raise PermissionError(errno.EACCES, "denied")
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr("os.open", denied_at_first)
    run = begin(parent)
    log_all(run)
    assert tracker.drain(30) == 0
    assert next(denials, None) is None
    assert_arrived(client, run.run_id)
    assert tracker.problems() == []


def test_an_outbox_that_was_altered_does_not_end_the_process_that_waits_for_it(parent, tracker, client, tmp_path):
    altered, other = begin(parent), begin(parent, 1)
    while tracker.client.calls.count("log_batch") < 2:  # what their creation brings
        time.sleep(0.01)
    (records,) = (tmp_path / "outbox").rglob(f"{altered.key}/records.jsonl")
    records.rename(tmp_path / "elsewhere")
    records.symlink_to(tmp_path / "elsewhere")
    log_all(altered)
    log_all(other)
    assert tracker.drain(30) == 1
    assert_arrived(client, other.run_id)
    (problem,) = tracker.problems()
    assert "records.jsonl is a symbolic link" in problem


def test_a_folder_in_place_of_a_living_run_s_state_costs_that_run_alone(parent, tracker, client, tmp_path):
    altered, other = begin(parent), begin(parent, 1)
    (folder,) = (tmp_path / "outbox").glob(f"*/{altered.key}")
    state = folder / "state.json"
    # Until its creation is uploaded, and noted.
    while not state.exists() or '"sent":0' in state.read_text():
        time.sleep(0.01)
    state.unlink()
    state.mkdir()
    log_all(altered)
    log_all(other)
    assert tracker.drain(60) > 0
    assert_arrived(client, other.run_id)
    (problem,) = tracker.problems()
    assert problem == f"an outbox is not uploaded: {state} is a folder: a file is accepted"
    assert (state.parent / "records.jsonl").exists()


def test_a_run_that_the_store_rejects_waits_for_a_later_process(parent, tracker, client, tmp_path):
    client.delete_experiment(parent.experiment_id)
    run = begin(parent)
    while not tracker.problems():
        time.sleep(0.01)
    log_all(run)
    started = time.monotonic()
    assert tracker.drain(30) == LINES
    assert time.monotonic() - started < 5
    (problem,) = tracker.problems()
    assert "rejected a run" in problem
    tracker.close()
    with tracking(tracker.uri, tmp_path) as later:
        assert later.upload_orphans() == 0
        assert len(later.problems()) == 1
        client.restore_experiment(parent.experiment_id)
        assert later.waiting() == (1, LINES)
        assert later.upload_orphans() == 1
        (child,) = open_study(later, STUDY).children()
    assert_arrived(client, child.run_id)


def test_an_outage_is_reported_once_and_so_is_its_end(parent, tracker, tmp_path, caplog):
    caplog.set_level(logging.WARNING, uploader.log.name)
    tracker.client.fault = lambda call: "before"
    for number in range(3):
        log_all(begin(parent, number))
    time.sleep(0.5)
    tracker.client.fault = lambda call: ""
    assert tracker.drain(30) == 0
    away, back = (record.getMessage() for record in caplog.records if record.name == uploader.log.name)
    assert away == (
        f"tracking server {tracker.uri} cannot be reached (database is locked); "
        f"what is logged waits in {tmp_path / 'outbox'}"
    )
    assert back == f"tracking server {tracker.uri} is back; what waited is uploaded"


def test_a_drain_waits_no_longer_than_it_may_and_says_what_is_left(parent, tracker):
    tracker.client.fault = lambda call: "before"
    run = begin(parent)
    train(run, 5)
    started = time.monotonic()
    assert tracker.drain(0.2) == 1 + 5 + 2
    assert 0.2 <= time.monotonic() - started < 2


def test_nothing_is_waited_for_where_no_server_is(tmp_path):
    """A worker begins, trains and ends its run: no request is made in its thread, which costs microseconds."""
    with Tracker("http://me:secret@127.0.0.1:1", tmp_path, tmp_path / "outbox") as tracker:
        run = begin(join_study(tracker, STUDY, "1", "0" * 32))
        seconds = []
        for evaluation in range(1, 301):
            record = EvaluationRecord(evaluation, 128, 0.5, {f"train/{name}": 1 / evaluation for name in "abcdefgh"})
            before = time.perf_counter()
            run.log_evaluation(record)
            seconds.append(time.perf_counter() - before)
            time.sleep(0.001)
        run.finish(RunState.COMPLETE)
        assert statistics.median(seconds) < 1e-3, statistics.quantiles(seconds, n=10)
        assert run.run_id is None
        assert tracker.drain(0) == 302


def leave(uri, folder, number=0, ended=True):
    """A run whose process ends without having uploaded any of it; the run's key."""
    with tracking(uri, folder, lambda call: "before") as tracker:
        run = begin(join_study(tracker, STUDY, *opened_elsewhere(uri, folder)), number)
        if ended:
            log_all(run)
        else:
            train(run)
    return run.key


def opened_elsewhere(uri, folder):
    parent = parent_of(uri, folder)
    return parent.experiment_id, parent.run_id


def parent_of(uri, folder):
    with tracking(uri, folder) as tracker:
        return open_study(tracker, STUDY)


def test_what_a_process_left_is_uploaded_by_a_later_one(uri, tmp_path, client):
    left = [leave(uri, tmp_path, number) for number in range(2)]
    with tracking(uri, tmp_path) as later:
        assert later.waiting() == (2, 2 * LINES)
        assert later.upload_orphans() == 2
        assert later.waiting() == (0, 0)
        children = open_study(later, STUDY).children()
    assert sorted(child.key for child in children) == sorted(left)
    for child in children:
        assert_arrived(client, child.run_id)
    assert outboxed(tmp_path) == []


def test_what_was_uploaded_but_could_not_be_removed_is_removed_by_a_later_process(uri, tmp_path, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "remove", lambda outbox: outbox.release())
        leave(uri, tmp_path)
        with tracking(uri, tmp_path) as tracker:
            assert tracker.upload_orphans() == 1
    assert outboxed(tmp_path) != []
    with tracking(uri, tmp_path) as tracker:
        assert tracker.upload_orphans() == 0
    assert outboxed(tmp_path) == []
    (child,) = parent_of(uri, tmp_path).children()
    assert_arrived(client, child.run_id)


def test_a_run_that_its_process_did_not_end_is_interrupted_and_a_line_cut_off_counts_for_nothing(uri, tmp_path, client):
    leave(uri, tmp_path, ended=False)
    (records,) = (path for path in outboxed(tmp_path) if path.name == "records.jsonl")
    with records.open("a") as file:
        file.write('{"kind":"values","at":1,"step":21,"metrics":{"valid')
    last = records.stat().st_mtime * 1000
    with tracking(uri, tmp_path) as later:
        assert later.upload_orphans() == 1
        (child,) = open_study(later, STUDY).children()
    run = client.get_run(child.run_id)
    assert_arrived(client, child.run_id, ended=False)
    assert (run.info.status, child.state, run.data.tags["reparam.reason"]) == ("KILLED", RunState.INTERRUPTED, LOST)
    assert abs(run.info.end_time - last) < 2
    assert f"**Interrupted.** {LOST}." in run.data.tags["mlflow.note.content"]


def test_a_line_that_is_being_written_is_not_read_before_it_is_whole(parent, tracker, client, tmp_path):
    run = begin(parent)
    train(run, EVALUATIONS - 1)
    assert tracker.drain(30) == 0
    (records,) = (path for path in outboxed(tmp_path) if path.name == "records.jsonl")
    last = (
        Values(at=int(time.time() * 1000), step=EVALUATIONS, metrics={CURVE: 1 / EVALUATIONS}).model_dump_json() + "\n"
    )
    with records.open("a") as file:
        file.write(last[:40])
        file.flush()
        tracker.uploader.notify(End.model_construct())
        assert tracker.drain(30) == 0
        file.write(last[40:])
    run.finish(RunState.COMPLETE)
    assert tracker.drain(30) == 0
    assert tracker.problems() == []
    assert_arrived(client, run.run_id, ended=False)


def test_a_process_that_died_before_its_first_line_was_whole_leaves_nothing(uri, tmp_path):
    leave(uri, tmp_path)
    (records,) = (path for path in outboxed(tmp_path) if path.name == "records.jsonl")
    records.write_bytes(records.read_bytes()[:100])
    with tracking(uri, tmp_path) as later:
        assert later.upload_orphans() == 0
    assert outboxed(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"sent": -1}', b'{"sent": 99999999999999999999999}'], ids=ascii)
def test_a_state_that_was_lost_or_is_impossible_costs_a_second_upload_that_changes_nothing(
    uri, tmp_path, client, content
):
    with tracking(uri, tmp_path) as tracker:
        tracker.client.fault = lambda call: "before" if call == "set_terminated" else ""
        run = begin(open_study(tracker, STUDY))
        log_all(run)
        await_left(tracker, 1)
        run_id = run.run_id
    (state,) = (path for path in outboxed(tmp_path) if path.name == "state.json")
    state.write_bytes(content)
    with tracking(uri, tmp_path) as later:
        assert later.upload_orphans() == 1
        assert later.problems() == []
        (child,) = open_study(later, STUDY).children()
    assert child.run_id == run_id
    assert_arrived(client, run_id)
    assert outboxed(tmp_path) == []


def test_the_runs_of_living_processes_are_left_to_them(uri, tmp_path, parent, tracker):
    run = begin(parent)
    with tracking(uri, tmp_path) as other:
        assert other.waiting() == (0, 0)
        assert other.upload_orphans() == 0
    log_all(run)
    assert tracker.drain(30) == 0


def test_runs_go_to_no_other_store_than_their_own_whatever_its_password(uri, tmp_path, client):
    server = "http://me:{}@127.0.0.1:1"
    with Tracker(server.format("secret"), tmp_path, tmp_path / "outbox") as tracker:
        begin(join_study(tracker, STUDY, "1", "0" * 32)).finish(RunState.COMPLETE)
    with tracking(uri, tmp_path) as other:
        assert other.waiting() == (0, 0)
        assert (other.upload_orphans(), other.problems()) == (0, [])
        assert other.waiting_elsewhere() == {"http://***@127.0.0.1:1": 1}
    with Tracker(server.format("changed") + "/", tmp_path, tmp_path / "outbox") as same:
        assert same.waiting() == (1, 2)
        message = r"http://\*\*\*@127.0.0.1:1/ cannot be reached.*; 2 records of 1 runs wait in .*outbox"
        with pytest.raises(TrackingError, match=message):
            same.upload_orphans()
        assert same.waiting() == (1, 2)


def test_no_outbox_holds_credentials(tmp_path):
    with Tracker("http://me:secret@127.0.0.1:1", tmp_path, tmp_path / "outbox") as tracker:
        leaky = "postgresql://me:secret@host/db?token=secret"
        parent = join_study(tracker, STUDY, "1", "0" * 32)
        run = begin(parent, uri=leaky, continuation=leaky)
        run.log_measurements([Measurement("cost", "parameters", 1, conditions=leaky)])
        run.log_file(f"Traceback {leaky}", "traceback.txt")
        run.log_unavailable({"kid": leaky})
        run.finish(RunState.FAILED, leaky, rank="last")
        assert tracker.drain(0.2) > 0
    files = outboxed(tmp_path)
    assert {"records.jsonl", "state.json", "traceback.txt"} <= {path.name for path in files}
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_a_reason_that_is_no_text_is_spelt_out(parent, tracker, client):
    run = begin(parent)
    run.log_file("cannot open a\udcff.png", "traceback.txt")
    run.finish(RunState.FAILED, "cannot open a\udcff.png")
    assert tracker.drain(30) == 0
    assert client.get_run(run.run_id).data.tags["reparam.reason"] == r"cannot open a\udcff.png"


@contextmanager
def full_disk(room):
    """No file grows beyond so many bytes: the rest of a write that would is not written, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_reported_in_a_line_and_spoils_nothing(uri, tmp_path, client):
    experiment_id, run_id = opened_elsewhere(uri, tmp_path)
    with tracking(uri, tmp_path, lambda call: "before") as tracker:
        run = begin(join_study(tracker, STUDY, experiment_id, run_id))
        train(run, 10)
        (records,) = (path for path in outboxed(tmp_path) if path.name == "records.jsonl")
        size = records.stat().st_size
        with full_disk(size + 50), pytest.raises(OutboxError) as raised:
            run.log_evaluation(EvaluationRecord(11, 1, 1.0, {"validation/bits_per_dim": 1.0}))
        assert records.stat().st_size == size
        with full_disk(100), pytest.raises(OutboxError):
            run.log_file(b"x" * 1000, "large")
        with full_disk(100), pytest.raises(OutboxError):
            begin(join_study(tracker, STUDY, experiment_id, run_id), 1)
        for evaluation in range(11, EVALUATIONS + 1):
            run.log_evaluation(
                EvaluationRecord(evaluation, 128 * evaluation, 0.5 * evaluation, {VALIDATION: 1 / evaluation})
            )
        run.finish(RunState.COMPLETE)
    message = str(raised.value)
    assert str(records.parent) in message
    assert "make room on its disk" in message
    assert "\n" not in message
    with tracking(uri, tmp_path) as later:
        assert later.upload_orphans() == 1
        (child,) = open_study(later, STUDY).children()
    assert_arrived(client, child.run_id, ended=False)
    assert outboxed(tmp_path) == []


def test_an_outbox_that_cannot_be_made_is_reported_before_any_work(uri, tmp_path):
    (tmp_path / "file").touch()
    with (
        Tracker(uri, tmp_path, tmp_path / "file") as tracker,
        pytest.raises(OutboxError, match=r"file.*File exists"),
    ):
        begin(join_study(tracker, STUDY, "1", "0" * 32))


def test_an_outbox_that_somebody_removes_is_reported_as_lost(parent, tracker, tmp_path):
    tracker.client.fault = lambda call: "before"
    begin(parent)
    time.sleep(0.1)
    shutil.rmtree(tmp_path / "outbox")
    while not tracker.problems():
        time.sleep(0.01)
    assert "somebody removed" in tracker.problems()[0]
    assert tracker.drain(30) == 0


def test_a_store_that_is_away_at_the_start_is_reported_and_nothing_is_left_half_written(
    uri, tmp_path, client, monkeypatch
):
    monkeypatch.setattr("bench.tracking.tracker.PAUSES", (0.0, 0.0))
    for failing in ("create_experiment", "set_experiment_tag", "create_run", "log_batch", "log_inputs"):
        with (
            tracking(uri, tmp_path, lambda call, failing=failing: "before" if call == failing else "") as tracker,
            pytest.raises(TrackingError, match=r"tracking store sqlite:.*cannot be reached: .*database is locked"),
        ):
            open_study(tracker, STUDY)
    with tracking(uri, tmp_path) as tracker:
        parent = open_study(tracker, STUDY)
    run = client.get_run(parent.run_id)
    assert run.data.params == {"trials": "3"}
    assert len(client.search_runs([parent.experiment_id])) == 1
    tags = client.get_experiment(parent.experiment_id).tags
    assert sum(name.startswith("mlflow.sharedViewState.") for name in tags) == 2
    assert len(run.inputs.dataset_inputs) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda parent, folder: parent.select({}),
        lambda parent, folder: parent.log_report(folder),
        lambda parent, folder: parent.finish(RunState.COMPLETE),
        lambda parent, folder: parent.end_run(parent.run_id, RunState.FAILED),
        lambda parent, folder: parent.children(),
    ],
    ids=["select", "log_report", "finish", "end_run", "children"],
)
def test_what_a_study_writes_at_once_outlives_a_failure_and_tells_of_an_outage(
    parent, tracker, tmp_path, write, monkeypatch
):
    monkeypatch.setattr("bench.tracking.tracker.PAUSES", (0.0, 0.0))
    report = tmp_path / "report"
    report.mkdir()
    tracker.client.calls.clear()
    tracker.client.fault = lambda call: "before" if not tracker.client.calls else ""
    write(parent, report)
    tracker.client.fault = lambda call: "before"
    with pytest.raises(TrackingError, match="database is locked"):
        write(parent, report)


CHILD = """
import os, random, signal, sys, threading
from pathlib import Path
from tests.bench.tracking.test_outbox import *
import bench.tracking.outbox.uploader as uploader

uri, folder = sys.argv[1], Path(sys.argv[2])
uploader.FLUSH_SECONDS = 0.01
sys.modules["bench.tracking.logged_model"] = SimpleNamespace(write_package=write_package)


def in_processes(work, each, at_once):
    running = []
    for one in each:
        pid = os.fork()
        if not pid:
            try:
                work(one)
            finally:
                os._exit(1)
        running.append(pid)
        if not at_once:
            os.waitpid(running.pop(), 0)
    for pid in running:
        os.waitpid(pid, 0)


def die(point):
    # Killed within the upload: after a request is done, and before its answer is remembered.
    call, count = point
    seen, logged = [], threading.Event()

    class Dying(Faulty):
        def __getattr__(self, name):
            method = getattr(self.client, name)

            def answer(*arguments, **options):
                found = method(*arguments, **options)
                seen.append(name)
                if seen.count(call) > count:
                    # A run whose end was not logged yet would be an interrupted one.
                    logged.wait(60)
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            return answer

    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        vars(tracker)["client"] = Dying(MlflowClient(tracking_uri=uri))
        log_all(begin(join_study(tracker, STUDY, *sys.argv[3:5])))
        logged.set()
        tracker.drain(60)


def upload(number):
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        print(tracker.upload_orphans(), flush=True)


points = [("create_run", 0), ("log_batch", 0), ("log_artifact", 1), ("create_logged_model", 0), ("log_outputs", 0)]
points += [("set_terminated", 0)]
in_processes(die, points, at_once=False)
print(*(path.parent.name for path in outboxed(folder) if path.name == "records.jsonl"), flush=True)
in_processes(upload, range(3), at_once=True)
"""


def test_of_processes_killed_anywhere_in_their_upload_others_that_upload_at_once_upload_all_once(uri, tmp_path, client):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHILD, uri, str(tmp_path), *opened_elsewhere(uri, tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    left, *uploaded = done.stdout.splitlines()
    assert len(left.split()) == 6, done.stderr
    assert len(uploaded) == 3, done.stderr
    assert sum(map(int, uploaded)) == 6
    with tracking(uri, tmp_path) as later:
        children = open_study(later, STUDY).children()
    assert sorted(child.key for child in children) == sorted(left.split())
    for child in children:
        assert_arrived(client, child.run_id)
    assert outboxed(tmp_path) == []


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, _empty_store):
    """A real server that keeps artifacts itself, behind a network that can be made to fail."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(_empty_store, folder / "mlflow.db")
    proxied = ("--artifacts-destination", str(folder / "kept"), "--default-artifact-root", "mlflow-artifacts:/")
    with mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", folder, *proxied) as address:
        port = int(address.rpartition(":")[2])
        with Proxy(port) as opened:
            yield opened


@pytest.fixture
def server(proxy, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy.mode = "pass"
    proxy.injected.clear(), proxy.forwarded.clear()
    yield proxy
    proxy.mode = "pass"


@pytest.mark.slow
def test_a_real_server_that_fails_in_every_way_gets_everything_once(server, tmp_path):
    server.seconds = 1.2  # longer than a client waits
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{server.target}")
    with Tracker(server.address, tmp_path, tmp_path / "outbox") as tracker:
        parent = open_study(tracker, STUDY)
        faults = {"refuse": 0.1, "error500": 0.1, "drop_response": 0.1, "reset": 0.1, "delay": 0.02}
        server.mode = at_random(faults, seed=3)
        runs = [begin(parent, number) for number in range(2)]
        for run in runs:
            log_all(run)
        assert tracker.drain(120) == 0
        server.mode = "pass"
        assert sorted(keys(parent)) == sorted(run.key for run in runs)
        for run in runs:
            assert_arrived(client, run.run_id)
        assert tracker.problems() == []
    assert set(server.injected) == set(FAULTS)
    assert outboxed(tmp_path) == []


def test_a_creation_whose_answer_is_lost_is_found_and_not_repeated(server, tmp_path):
    with Tracker(server.address, tmp_path, tmp_path / "outbox") as tracker:
        parent = open_study(tracker, replace_study("ambiguous"))
        creation = "/api/2.0/mlflow/runs/create"
        server.forwarded.clear()

        def lose_the_first(method, path):
            return "drop_response" if path == creation and not server.injected else "pass"

        server.mode = lose_the_first
        run = begin(parent)
        train(run)
        run.finish(RunState.COMPLETE)
        assert tracker.drain(30) == 0
        assert server.injected == {"drop_response": 1}
        assert server.forwarded[f"POST {creation}"] == 1
        assert keys(parent) == [run.key]


def test_a_server_that_comes_back_after_the_process_is_gone_gets_everything_then(server, tmp_path):
    with Tracker(server.address, tmp_path, tmp_path / "outbox") as tracker:
        parent = open_study(tracker, replace_study("gone"))
        run = begin(parent)
        train(run, 5)
        assert tracker.drain(30) == 0
        server.mode = "error500"
        for evaluation in range(6, EVALUATIONS + 1):
            run.log_evaluation(
                EvaluationRecord(evaluation, 128 * evaluation, 0.5 * evaluation, {VALIDATION: 1 / evaluation})
            )
        run.finish(RunState.COMPLETE)
        assert tracker.drain(0.5) > 0
    server.mode = "pass"
    with Tracker(server.address, tmp_path, tmp_path / "outbox") as later:
        assert later.upload_orphans() == 1
        assert keys(open_study(later, replace_study("gone"))) == [run.key]
    assert_arrived(MlflowClient(tracking_uri=server.address), run.run_id, ended=False)


def replace_study(study_id):
    return StudyDescription(**{**vars(STUDY), "study_id": study_id})
