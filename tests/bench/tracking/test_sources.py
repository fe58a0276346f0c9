"""The fast ways of reading thousands of runs give what MLflow's own client gives."""

from __future__ import annotations

import math
import shutil

import pandas as pd
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.opening import open_study
from bench.tracking.reading import reader as read
from bench.tracking.reading import sources, studies
from bench.tracking.reading.sources import ClientSource, DatabaseSource, ServerSource, open_source
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.glow.config import GlowConfig
from tests.browser.chromium import mlflow_server

CURVE = "validation/bits_per_dim"
COMMIT = "0" * 40
STUDY = StudyDescription(
    study_id="tiny-digits-12345678",
    name="tiny",
    question="Does it run?",
    arms={"glow": "glow"},
    swept={"glow": ["flow_depth"]},
    settings={"trials": 3},
    provenance={"commit": COMMIT, "dirty": False, "command": "none"},
    dataset=DIGITS,
    digest="f" * 64,
)
CONFIG = RunConfig(
    model=GlowConfig(flow_depth=3), training=TrainingConfig(), dataset_digest="f" * 64, backend="tensorflow"
)


def write_store(folder):
    """Runs in every state a store can hold: with a NaN, a step logged twice, without curves, deleted, and another's."""
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "outbox")
    for study_id in (STUDY.study_id, "another-digits-12345678"):
        parent = open_study(tracker, StudyDescription(**{**vars(STUDY), "study_id": study_id}))
        for number, (state, evaluations) in enumerate(
            [(RunState.COMPLETE, 5), (RunState.DIVERGED, 3), (RunState.FAILED, 0), (RunState.PRUNED, 2)]
        ):
            run = parent.start_run(f"glow #{number}", "search", "glow", number, CONFIG, number)
            for evaluation in range(1, evaluations + 1):
                value = (
                    math.nan if state == RunState.DIVERGED and evaluation == evaluations else 1 / evaluation + number
                )
                values = {"train/bits_per_dim": value - 0.5, CURVE: value}
                run.log_evaluation(EvaluationRecord(evaluation, 64 * evaluation, 0.1 * evaluation, values))
            if state == RunState.COMPLETE:
                run.log_measurements([Measurement("validation", "bits_per_dim", 1 / 3, 0.01, 64)])
                run.log_measurements([Measurement("quality", "kid", math.nan, None, 64)])
            run.finish(state, "" if state == RunState.COMPLETE else "because")
        unfinished = parent.start_run("glow #4", "search", "glow", 4, CONFIG, 4)
        unfinished.log_evaluation(EvaluationRecord(1, 64, 0.1, {CURVE: 2.0}))
        tracker.drain()
        # Once more at the same step, later: what counts is the last.
        tracker.client.log_batch(unfinished.run_id, [Metric(f"{CURVE}_by_evaluation", 1.5, 2**42, 1)])
        deleted = parent.start_run("glow #5", "search", "glow", 5, CONFIG, 5)
        deleted.log_evaluation(EvaluationRecord(1, 64, 0.1, {CURVE: 9.0}))
        deleted.finish(RunState.COMPLETE)
        tracker.drain()
        tracker.client.delete_run(deleted.run_id)
    return tracker.uri


@pytest.fixture(scope="module")
def uri(tmp_path_factory, _empty_store):
    folder = tmp_path_factory.mktemp("many")
    shutil.copy(_empty_store, folder / "mlflow.db")
    return write_store(folder)


@pytest.fixture(scope="module")
def server(uri, tmp_path_factory):
    with mlflow_server(uri, tmp_path_factory.mktemp("served")) as address:
        yield address


def through_the_client(uri, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(read, "open_source", lambda client, uri: ClientSource(client))
        return read.load_results(uri, STUDY.study_id)


def assert_same_results(found, expected):
    for name in ("runs", "measurements", "histories"):
        one, other = getattr(found, name), getattr(expected, name)
        if name == "runs":
            one, other = one.drop(columns="url"), other.drop(columns="url")
        pd.testing.assert_frame_equal(one, other)


def test_what_the_client_gives_is_what_was_logged(uri, monkeypatch):
    histories = through_the_client(uri, monkeypatch).histories
    curve = histories[histories["metric"] == CURVE]
    assert [len(points) for _, points in curve.groupby("run_id", observed=True, sort=False)] == [5, 3, 2, 1]
    assert curve["value"].iloc[:5].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert curve["images"].iloc[:5].tolist() == [64, 128, 192, 256, 320]
    assert math.isnan(curve["value"].iloc[7])
    assert curve["value"].iloc[-1] == 1.5
    assert 9.0 not in set(histories["value"])


def test_a_database_is_read_by_queries_as_by_the_client(uri, monkeypatch):
    assert isinstance(open_source(MlflowClient(uri), uri), DatabaseSource)
    expected = through_the_client(uri, monkeypatch)
    monkeypatch.setattr(MlflowClient, "get_metric_history", None)
    assert_same_results(read.load_results(uri, STUDY.study_id), expected)


def test_a_database_is_read_in_parts(uri, monkeypatch):
    expected = read.load_results(uri, STUDY.study_id)
    monkeypatch.setattr(sources, "RUNS_AT_ONCE", 2)
    monkeypatch.setattr(sources, "ROWS_AT_ONCE", 3)
    assert_same_results(read.load_results(uri, STUDY.study_id), expected)


def test_a_server_gives_many_histories_at_once(uri, server, monkeypatch):
    expected = through_the_client(uri, monkeypatch)
    assert isinstance(open_source(MlflowClient(server), server), ServerSource)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "get_metric_history", None)
        assert_same_results(read.load_results(server, STUDY.study_id), expected)
    # Answers that may have been cut are asked for in halves, at last run by run.
    monkeypatch.setattr(sources, "BULK_RUNS", 3)
    monkeypatch.setattr(sources, "BULK_POINTS", 4)
    assert_same_results(read.load_results(server, STUDY.study_id), expected)


def test_the_pages_of_runs_are_named_without_credentials(server):
    results = read.load_results(server.replace("//", "//me:hunter2@"), STUDY.study_id)
    assert results.runs["url"].str.startswith(f"{server}/#/experiments/").all()


def test_a_server_without_the_bulk_endpoint_is_asked_run_by_run(uri, server, monkeypatch):
    monkeypatch.setattr(sources, "BULK_ENDPOINT", "/ajax-api/2.0/mlflow/no-such-endpoint")
    assert_same_results(read.load_results(server, STUDY.study_id), through_the_client(uri, monkeypatch))


def test_a_run_that_begins_while_a_study_is_read_is_left_out(uri):
    source = open_source(MlflowClient(uri), uri)
    parent = next(
        run for run in studies._parents(source.client, "") if run.data.tags["reparam.study_id"] == STUDY.study_id
    )
    first, *_ = source.children(parent.info.experiment_id, parent.info.run_id)
    found = source.history(parent.info.run_id, [first.run_id], f"{CURVE}_by_evaluation")
    assert found["run_id"].astype(str).unique().tolist() == [first.run_id]
    assert found["step"].tolist() == [1, 2, 3, 4, 5]
