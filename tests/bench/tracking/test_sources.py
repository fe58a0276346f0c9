"""The fast ways of reading thousands of runs give what MLflow's own client gives."""

from __future__ import annotations

import math
import shutil

import pandas as pd
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from bench.core.results import HISTORY_COLUMNS, EvaluationRecord, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.opening import open_study
from bench.tracking.reading import reader as read
from bench.tracking.reading import sources, studies
from bench.tracking.reading.sources import ClientSource, DatabaseSource, ServerSource, open_source
from bench.tracking.schema import EVALUATION_SUFFIX, StudyDescription
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


@pytest.mark.parametrize("share", [0.0, math.inf])
def test_points_of_other_studies_are_left_out_here_as_by_the_database(uri, monkeypatch, share):
    expected = through_the_client(uri, monkeypatch)
    monkeypatch.setattr(sources, "NEARLY_ALL", share)
    assert_same_results(read.load_results(uri, STUDY.study_id), expected)


def test_all_points_of_a_database_are_read_where_nearly_all_of_its_runs_are_wanted(uri):
    source = open_source(MlflowClient(uri), uri)
    # Five runs of each study have this curve, a deleted one among them.
    assert [source._are_nearly_all(["a run"] * wanted, f"{CURVE}_by_evaluation") for wanted in (8, 9)] == [False, True]


class Given(ClientSource):
    """Given points of each metric: the run, the step and the value."""

    def __init__(self, points):
        self.points = points

    def history(self, parent_id, runs, key):
        return sources._frame([self.points.get(key.removesuffix(EVALUATION_SUFFIX), [])], runs)


def joined(points, runs):
    """Histories as pandas sorts and joins them, by runs and steps themselves."""
    order, place = pd.CategoricalDtype(runs), ["run_id", "step"]

    def read_metric(metric, name):
        frame = pd.DataFrame(points.get(metric, []), columns=[*place, name])
        frame = frame[frame["run_id"].isin(runs)].astype({"run_id": order, "step": "int64", name: "float64"})
        return frame.drop_duplicates(place, keep="last")

    curves = []
    for metric in read.CURVES:
        curve = read_metric(metric, "value")
        for name, spent in read.SPENT.items():
            curve = curve.merge(read_metric(spent, name), how="left", on=place)
        curves.append(curve.assign(metric=pd.Categorical([metric], list(read.CURVES)).repeat(len(curve))))
    return pd.concat(curves)[HISTORY_COLUMNS].sort_values(["run_id", "metric", "step"], ignore_index=True)


IMAGES, SECONDS = read.SPENT.values()
TRAINING = "train/bits_per_dim"
LOGGED = {
    "no points": ({}, ["b", "a"]),
    "no runs": ({CURVE: [("other", 1, 2.0)]}, []),
    "one run": ({IMAGES: [("a", 1, 64.0)], SECONDS: [("a", 1, 0.5)], CURVE: [("a", 1, 2.0)]}, ["a"]),
    "other studies": ({CURVE: [("other", 1, 9.0), ("b", 1, 2.0), ("other", 2, 8.0), ("a", 1, 3.0)]}, ["b", "a"]),
    "a curve without images": ({SECONDS: [("a", 2, 0.5)], CURVE: [("a", 1, 2.0), ("a", 2, 1.0)]}, ["a"]),
    "images without a curve": ({IMAGES: [("a", 1, 64.0), ("b", 1, 64.0)], TRAINING: [("b", 1, 3.0)]}, ["a", "b"]),
    "a run without points": ({IMAGES: [("c", 1, 64.0)], CURVE: [("c", 1, 3.0), ("a", 1, 2.0)]}, ["a", "b", "c"]),
    "steps logged again": (
        {
            IMAGES: [("b", 2, 64.0), ("a", 1, 1.0), ("b", 2, 128.0), ("a", 1, math.nan), ("b", 1, 32.0)],
            SECONDS: [("b", 2, 0.5), ("b", 1, 0.25), ("a", 1, 0.125)],
            TRAINING: [("a", 1, 7.0), ("b", 1, 6.0), ("b", 1, 5.0)],
            CURVE: [("b", 2, 5.0), ("a", 1, 4.0), ("b", 1, 3.0), ("b", 2, 2.0), ("a", 1, math.nan)],
        },
        ["b", "a"],
    ),
    "steps far apart": (
        {
            IMAGES: [("b", 2**63 - 1, 64.0), ("a", -(2**63), 32.0)],
            TRAINING: [("b", 0, 3.0)],
            CURVE: [("b", 2**63 - 1, 2.0), ("a", 0, 1.0), ("a", -(2**63), 4.0), ("b", -1, math.inf)],
        },
        ["a", "b"],
    ),
}


@pytest.mark.parametrize("case", LOGGED)
def test_histories_are_what_pandas_joins(case):
    points, runs = LOGGED[case]
    holders = {
        metric: [run for run in runs if any(run == logged for logged, _, _ in points.get(metric, []))]
        for metric in (IMAGES, SECONDS, *read.CURVES)
    }
    found = read._histories(Given(points), "a parent", runs, holders)
    pd.testing.assert_frame_equal(found, joined(points, runs), check_exact=True, check_index_type=True)


def test_points_are_read_of_any_number_of_batches():
    rows = [("b", 1, 2.0), ("other", 1, 9.0), ("a", 3, None), ("b", 2, 1.0)]
    expected = pd.DataFrame(
        {"run_id": pd.Categorical(["b", "a", "b"], categories=["a", "b"]), "step": [1, 3, 2], "value": [2, math.nan, 1]}
    )
    for batches in ([rows], [rows[:1], [], rows[1:]], [[row] for row in rows]):
        pd.testing.assert_frame_equal(sources._frame(batches, ["a", "b"]), expected)
    for batches in ([], [[]]):
        pd.testing.assert_frame_equal(sources._frame(batches, ["a", "b"]), expected[:0])
