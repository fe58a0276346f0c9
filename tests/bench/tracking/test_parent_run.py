"""The contract with MLflow: what is written is found by MLflow's own client, and read back for reports as it was."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
from mlflow.tracking import MlflowClient

from bench.core.errors import DisagreementError, TrackingError
from bench.core.results import (
    HISTORY_COLUMNS,
    MEASUREMENT_COLUMNS,
    RUN_COLUMNS,
    Bound,
    BoundKind,
    EvaluationRecord,
    Measurement,
    ReferenceCodes,
    RunState,
    Unbegun,
    WonImages,
)
from bench.data.bundled import DIGITS
from bench.data.text import MOST_SYMBOLS
from bench.evaluation.image_grid import image_grid
from bench.study.config import RunConfig, TrainingConfig
from bench.study.search_space import Choices, Integers, from_json, to_json
from bench.tracking.descriptions import plain
from bench.tracking.long_tags import in_tags, of_tags
from bench.tracking.opening import open_study
from bench.tracking.reading.listed import ListedStudy
from bench.tracking.reading.model_runs import load_model_file, load_run
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from bench.tracking.schema import LONGEST_TAG, UI_ADDRESS, UNBEGUN_TAG, StudyDescription
from bench.tracking.tracker import Tracker
from models.glow.config import GlowConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STUDY = StudyDescription(
    study_id="tiny-digits-12345678",
    name="tiny",
    question="Does it run?",
    arms={"vae": "vae"},
    swept={"vae": ["latent_size"], "glow": ["flow_depth"]},
    settings={"trials": 3, "seed": 0, "training_images": {"vae": 512}},
    provenance={
        "commit": COMMIT,
        "dirty": True,
        "command": "reparam-bench study tiny --storage postgresql://user:secret@host/db",
    },
    dataset=DIGITS,
    digest="f" * 64,
    space={
        "vae": to_json({"latent_size": Integers(2, 64, log=True)}),
        "glow": to_json({"flow_depth": Choices(tuple(range(300)))}),
    },
)
BOUND = Bound(BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, 16, "uniform")
MEASURED = [
    Measurement("validation", "bits_per_dim", 1.25, 0.0625, 64, BOUND, 0.015625),
    Measurement("validation", "nll_nats", 55.5, 2.5, 64, BOUND),
    Measurement("throughput", "train_images_per_second", 1000.0, None, 1, conditions="batch 64, float32, jax on cpu:0"),
    Measurement("cost", "parameters", 1234),
    Measurement("quality", "kid", math.nan, math.nan, 64),
]
RECORDS = [
    EvaluationRecord(
        evaluation,
        128 * evaluation,
        0.5 * evaluation,
        {"train/bits_per_dim": 3 / evaluation, "validation/bits_per_dim": 4 / evaluation},
    )
    for evaluation in (1, 2, 3)
]
CONFIG = RunConfig(
    model=GlowConfig(flow_depth=3, hidden_channels=16),
    training=TrainingConfig(learning_rate=1e-3, evaluations=3),
    dataset_digest="f" * 64,
    backend="jax",
)
OTHER = CONFIG.with_values({"flow_depth": 4})
PARAMETERS = CONFIG.parameters() | {"lu": True}
TABLE = pd.DataFrame({"importance_samples": [1, 2], "bits_per_dim": [1.3, 1 / 3], "monte_carlo_error": [0.1, math.nan]})
PNG = image_grid(np.zeros((4, 8, 8, 1), np.uint8), 17, 2)
EXAMPLE = np.zeros((1, 8, 8, 1), np.uint8)


@pytest.fixture
def uri(tmp_path, _empty_store):
    shutil.copy(_empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def tracker(uri, tmp_path):
    with Tracker(uri, tmp_path / "artifacts", tmp_path / "outbox") as opened:
        yield opened


@pytest.fixture(scope="module")
def model():
    """A small Glow as it is built."""
    from models.registry import build_model

    return build_model(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), (8, 8, 1), 17)


@pytest.fixture
def client(uri):
    """MLflow's own, not ours."""
    return MlflowClient(tracking_uri=uri)


def uploaded(run):
    """Its identifier, once MLflow has all of it."""
    assert run.uploader.drain(30) == 0
    return run.run_id


def write_run(parent, role="search", number=0, config=CONFIG, state=RunState.COMPLETE, reason="", family="glow"):
    run = parent.start_run(
        f"{family} #{number}", role, family, 7, config, number if role == "search" else None, lu=True
    )
    for record in RECORDS:
        run.log_evaluation(record)
    run.log_measurements(MEASURED)
    run.log_pictures([("samples", "four black images", PNG)])
    run.log_tables({"bound_by_samples": TABLE})
    run.log_unavailable({"kid": "too few"})
    run.finish(state, reason)
    return uploaded(run)


@pytest.mark.parametrize("reason", ["x" * 20_000, "\u00e9" * 3_000])
def test_a_reason_of_any_length_is_read_back(tracker, client, reason):
    """MLflow cuts longer tags without a word."""
    run = open_study(tracker, STUDY).start_run("a final", "final", "glow", 7, CONFIG)
    run.log_unavailable({"kid": reason, "mine": "too few"})
    run.finish(RunState.COMPLETE)
    found = json.loads(client.get_run(uploaded(run)).data.tags["reparam.unavailable"])
    assert reason.startswith(found["kid"])
    assert len(found["kid"]) > 50
    assert found["mine"] == "too few"


@pytest.mark.parametrize("length", [0, 1, LONGEST_TAG - 1, LONGEST_TAG, LONGEST_TAG + 1, 3 * LONGEST_TAG])
def test_a_text_of_any_length_is_kept_in_tags(length):
    text = "".join(chr(97 + i % 26) for i in range(length))
    tags = in_tags("about", text)
    assert all(len(value) <= LONGEST_TAG for value in tags.values())
    # A longer text of before has left tags that no longer count.
    assert of_tags({**in_tags("about", "x" * 6 * LONGEST_TAG), **tags}, "about") == text
    if len(tags) > 1:
        with pytest.raises(KeyError, match=r"about\.2"):
            of_tags({"about": tags["about"]}, "about")


def test_a_study_of_many_arms_and_values_is_read_back(tracker, uri):
    arms = [f"arm {number}" for number in range(200)]
    rates = Choices(tuple(0.001 + number / 1e6 for number in range(100)))
    space = {arm: to_json({"learning_rate": rates}) for arm in arms}
    many = replace(STUDY, arms=dict.fromkeys(arms, "vae"), swept={arm: ["learning_rate"] for arm in arms}, space=space)
    open_study(tracker, many)
    results = load_results(uri, many.study_id)
    assert list(results.arms) == arms
    assert len(json.dumps(space)) > 8_000
    assert from_json(results.space["arm 199"]) == {"learning_rate": rates}


def test_a_study_is_an_experiment_with_a_parent_run_that_says_what_it_is(tracker, client):
    parent = open_study(tracker, STUDY)
    parent.finish(RunState.COMPLETE)
    run = client.get_run(parent.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "reparam-bench/tiny"
    assert run.info.run_name.startswith("tiny digits 20")
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["reparam.study_id"], tags["reparam.role"]) == (STUDY.study_id, "study")
    assert tags["mlflow.source.git.commit"] == COMMIT
    assert STUDY.question in tags["mlflow.note.content"]
    assert json.loads(tags["reparam.provenance"])["dirty"] is True
    assert json.loads(tags["reparam.settings"]) == STUDY.settings
    assert run.data.params["trials"] == "3"


ALPHABETS = {
    "like a credential": "".join(map(chr, range(ord(","), ord("Z")))).replace("/", ""),
    "of lines and quotes": "\n\r\t\x0b\x1b\"'<>\\",
    "as large as may be": "".join(map(chr, range(0x10FFFF - MOST_SYMBOLS, 0x10FFFF))),
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_an_alphabet_comes_back_as_it_was(tracker, client, uri, name):
    symbols = tuple(ALPHABETS[name])
    changes = {"kind": "text", "encoding": "characters", "symbols": symbols, "image_shape": (1, 64, 1)}
    text = replace(DIGITS, grey_levels=len(symbols), source="s" * 600, **changes)
    parent = open_study(tracker, replace(STUDY, dataset=text))
    assert len(client.get_run(parent.run_id).data.tags["reparam.dataset"]) <= LONGEST_TAG
    dataset = load_results(uri, STUDY.study_id).dataset
    assert tuple(dataset["symbols"]) == symbols
    assert (dataset["kind"], dataset["encoding"], dataset["sample_rate"]) == ("text", "characters", None)


def test_sound_comes_back_with_its_rate(tracker, client, uri):
    sound = replace(DIGITS, kind="audio", encoding="mu-law", sample_rate=8000, image_shape=(1, 256, 1))
    run = open_study(tracker, replace(STUDY, dataset=sound)).run_id
    dataset = load_results(uri, STUDY.study_id).dataset
    assert (dataset["kind"], dataset["encoding"], dataset["sample_rate"]) == ("audio", "mu-law", 8000)
    assert (
        "windows of 256 samples (32 ms) at 8,000 Hz, mu-law to 17 levels"
        in client.get_run(run).data.tags["mlflow.note.content"]
    )


def test_a_study_of_an_earlier_version_is_of_images(tracker, client, uri):
    run = open_study(tracker, STUDY).run_id
    known = json.loads(client.get_run(run).data.tags["reparam.dataset"])
    for name in ("kind", "encoding", "symbols", "sample_rate"):
        del known[name]
    client.set_tag(run, "reparam.dataset", json.dumps(known))
    dataset = load_results(uri, STUDY.study_id).dataset
    assert (dataset["kind"], dataset["symbols"], dataset["sample_rate"]) == ("image", [], None)


@pytest.mark.parametrize("symbols", ["abc", [-1], [2**21], ["a"]])
def test_symbols_that_somebody_edited_name_the_run(tracker, client, uri, symbols):
    run = open_study(tracker, STUDY).run_id
    known = json.loads(client.get_run(run).data.tags["reparam.dataset"])
    client.set_tag(run, "reparam.dataset", json.dumps({**known, "symbols": symbols}))
    with pytest.raises(TrackingError, match=rf"is not as a study logs it .*{run}"):
        load_results(uri, STUDY.study_id)


def test_a_trained_model_is_a_child_run_with_its_parameters(tracker, client):
    parent = open_study(tracker, STUDY)
    run = client.get_run(write_run(parent, number=5))
    assert run.info.run_name == "glow #5"
    assert run.data.tags["mlflow.parentRunId"] == parent.run_id
    expected = {"role": "search", "family": "glow", "number": "5", "seed": "7", "config_hash": CONFIG.hash}
    assert {name: run.data.tags[f"reparam.{name}"] for name in expected} == expected
    assert run.data.params == {name: str(value) for name, value in PARAMETERS.items()}


def test_metrics_stand_in_groups_with_their_standard_errors(tracker, client):
    metrics = client.get_run(write_run(open_study(tracker, STUDY))).data.metrics
    assert metrics["validation/bits_per_dim"] == 1.25
    assert metrics["validation/bits_per_dim_standard_error"] == 0.0625
    assert metrics["cost/parameters"] == 1234
    assert metrics["validation/bits_per_dim_monte_carlo_error"] == 0.015625
    assert "cost/parameters_standard_error" not in metrics
    assert "cost/parameters_monte_carlo_error" not in metrics
    assert math.isnan(metrics["quality/kid"])
    assert {key.split("/")[0] for key in metrics} == {
        *("bits_per_dim", "train", "validation", "throughput", "cost", "quality")
    }


CODES = ReferenceCodes(
    [
        Measurement("reference_codes", "code_uniform", 4.0, 0.0, 64),
        Measurement("reference_codes", "code_png", 2.5, 0.125, 16, conditions="on 16 of the 64 test images"),
        Measurement("reference_codes", "code_xz", 3.0, None, 64),
    ],
    {"code_jpeg_xl": "imagecodecs is not installed at sqlite://user:secret@host/db"},
)


def test_reference_codes_are_metrics_of_the_study_s_own_run_and_come_back_as_they_were(tracker, client, uri):
    parent = open_study(tracker, STUDY)
    write_run(parent)
    assert not parent.has_reference_codes("reference_codes")
    assert load_results(uri, STUDY.study_id).reference_codes == ReferenceCodes()
    parent.log_reference_codes(CODES)
    assert parent.has_reference_codes("reference_codes")
    assert not parent.has_reference_codes("reference_model")
    metrics = client.get_run(parent.run_id).data.metrics
    assert metrics == {
        "reference_codes/code_uniform": 4.0,
        "reference_codes/code_uniform_standard_error": 0.0,
        "reference_codes/code_png": 2.5,
        "reference_codes/code_png_standard_error": 0.125,
        "reference_codes/code_xz": 3.0,
    }
    read = load_results(uri, STUDY.study_id).reference_codes
    assert read.measured == CODES.measured
    assert list(read.unavailable) == ["code_jpeg_xl"]
    assert "secret" not in read.unavailable["code_jpeg_xl"]


REFERENCE = [
    Measurement("reference_model", "code_pixelcnn", 1.75, 0.125, 64),
    Measurement("reference_model", "parameters", 47936),
    Measurement("reference_model", "training_seconds", 30.5),
    Measurement("reference_model", "training_images", 7680),
]


def test_the_reference_model_is_logged_beside_the_codes_and_a_reason_until_it_is(tracker, client, uri):
    parent = open_study(tracker, STUDY)
    write_run(parent)
    parent.log_reference_codes(CODES)
    parent.log_reference_codes(ReferenceCodes([], {"code_pixelcnn": "training loss became nan"}))
    assert not parent.has_reference_codes("reference_model")
    read = load_results(uri, STUDY.study_id).reference_codes
    assert read.measured == CODES.measured
    assert set(read.unavailable) == {"code_jpeg_xl", "code_pixelcnn"}
    parent.log_reference_codes(ReferenceCodes(REFERENCE))
    assert parent.has_reference_codes("reference_model")
    read = load_results(uri, STUDY.study_id).reference_codes
    assert read.measured == [*CODES.measured, *REFERENCE]
    assert set(read.unavailable) == {"code_jpeg_xl"}
    metrics = client.get_run(parent.run_id).data.metrics
    assert metrics["reference_model/code_pixelcnn_standard_error"] == 0.125
    assert metrics["reference_model/parameters"] == 47936
    assert load_results(uri, STUDY.study_id).measurements["split"].ne("reference_model").all()


def test_reference_codes_that_somebody_edited_name_the_run(tracker, client, uri):
    parent = open_study(tracker, STUDY)
    write_run(parent)
    parent.log_reference_codes(CODES)
    for content in ("[1]", "no JSON", '{"code_gone": {"n": 3}}', '{"code_png": {}}'):
        client.set_tag(parent.run_id, "reparam.details.reference_codes", content)
        with pytest.raises(DisagreementError, match=f"run {parent.run_id} is not as it was logged"):
            load_results(uri, STUDY.study_id)


@pytest.mark.parametrize(
    "content",
    [
        '{"gone": {}}',
        '{"bits_per_dim": 3}',
        '{"bits_per_dim": []}',
        '{"bits_per_dim": {"kind": "x"}}',
        '{"bits_per_dim": {"kind": "exact"}}',
    ],
)
def test_what_somebody_edited_of_a_measurement_names_the_run(tracker, client, uri, content):
    run = write_run(open_study(tracker, STUDY))
    client.set_tag(run, "reparam.details.validation", content)
    with pytest.raises(DisagreementError, match=f"run {run} is not as it was logged: what a tag holds cannot be read"):
        load_results(uri, STUDY.study_id)


WON = [WonImages("glow", "vae", (7, 3), PNG), WonImages("vae", "glow", (5,), PNG[:-1] + b"x")]


def test_pictures_of_images_that_arms_win_are_artifacts_of_the_study_s_own_run(tracker, client, uri):
    parent = open_study(tracker, STUDY)
    write_run(parent)
    assert load_results(uri, STUDY.study_id).won_images == []
    parent.log_won_images(WON)
    assert load_results(uri, STUDY.study_id).won_images == WON
    kept = [file.path for file in client.list_artifacts(parent.run_id, "pictures")]
    assert len(kept) == 2
    assert all(re.fullmatch(r"pictures/won_images-[0-9a-f]{16}\.png", path) for path in kept)
    parent.log_won_images(WON[1:])
    assert load_results(uri, STUDY.study_id).won_images == WON[1:]
    parent.log_won_images([])
    assert load_results(uri, STUDY.study_id).won_images == []


def test_a_picture_that_was_removed_names_what_is_lacking(tracker, client, uri, tmp_path):
    parent = open_study(tracker, STUDY)
    parent.log_won_images(WON)
    for file in (tmp_path / "artifacts").rglob("won_images-*.png"):
        file.unlink()
    with pytest.raises(TrackingError, match=r"lacks \S+/pictures/won_images-[0-9a-f]{16}\.png"):
        load_results(uri, STUDY.study_id)


def test_the_difference_that_matters_is_the_study_s_and_that_of_studies_before_it_the_default(tracker, uri):
    open_study(tracker, STUDY)
    assert load_results(uri, STUDY.study_id).equivalence == 0.01
    open_study(tracker, replace(STUDY, settings={**STUDY.settings, "equivalence": 0.05}))
    assert load_results(uri, STUDY.study_id).equivalence == 0.05


def test_a_learning_curve_is_a_history_by_evaluation_apart_from_the_final_figure(tracker, client):
    run_id = write_run(open_study(tracker, STUDY))
    curve = client.get_metric_history(run_id, "validation/bits_per_dim_by_evaluation")
    assert [(point.step, point.value) for point in curve] == [(1, 4.0), (2, 2.0), (3, 4 / 3)]
    images = client.get_metric_history(run_id, "cost/images_seen_by_evaluation")
    assert [point.value for point in images] == [128, 256, 384]
    assert len(client.get_metric_history(run_id, "validation/bits_per_dim")) == 1


def test_a_long_curve_arrives_whole(tracker, client):
    run = open_study(tracker, STUDY).start_run("long", "search", "vae", 0, CONFIG, 0)
    for evaluation in range(1, 701):
        run.log_evaluation(
            EvaluationRecord(evaluation, evaluation, evaluation, {"train/bits_per_dim": 1.0 / evaluation})
        )
    run.finish(RunState.COMPLETE)
    curve = client.get_metric_history(uploaded(run), "train/bits_per_dim_by_evaluation")
    assert [point.step for point in curve] == list(range(1, 701))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (RunState.COMPLETE, "FINISHED"),
        (RunState.PRUNED, "KILLED"),
        (RunState.INTERRUPTED, "KILLED"),
        (RunState.DIVERGED, "FAILED"),
        (RunState.OUT_OF_MEMORY, "FAILED"),
        (RunState.FAILED, "FAILED"),
    ],
)
def test_a_run_ends_in_its_state_and_in_the_nearest_that_mlflow_knows(tracker, client, uri, state, status):
    run_id = write_run(open_study(tracker, STUDY), state=state, reason="because")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["reparam.state"], run.data.tags["reparam.reason"]) == (
        status,
        state.value,
        "because",
    )
    assert run.info.end_time is not None
    row = load_results(uri, STUDY.study_id).runs.iloc[0]
    assert (row["state"], row["reason"]) == (state.value, "because")


def test_a_run_that_goes_on_is_running(tracker, client, uri):
    run = open_study(tracker, STUDY).start_run("on", "search", "vae", 0, CONFIG, 0)
    assert client.get_run(uploaded(run)).info.status == "RUNNING"
    row = load_results(uri, STUDY.study_id).runs.iloc[0]
    assert row["state"] == "running"
    assert math.isnan(row["seconds"])


def test_the_data_set_is_an_input_of_every_run_with_its_digest(tracker, client):
    parent = open_study(tracker, STUDY)
    contexts = {}
    for role in ("study", "search", "final"):
        run_id = parent.run_id if role == "study" else write_run(parent, role)
        (record,) = client.get_run(run_id).inputs.dataset_inputs
        assert (record.dataset.name, record.dataset.digest) == ("digits", STUDY.digest[:36])
        assert json.loads(record.dataset.source)["source"] == DIGITS.source
        assert json.loads(record.dataset.profile)["sizes"] == DIGITS.sizes
        contexts[role] = {tag.key: tag.value for tag in record.tags}["mlflow.data.context"]
    assert contexts == {"study": "all splits", "search": "training and validation", "final": "all splits"}


def test_pictures_and_files_are_artifacts(tracker, client, tmp_path):
    parent = open_study(tracker, STUDY)
    run = parent.start_run("r", "final", "vae", 0, CONFIG)
    run.log_pictures([("samples", "caption", PNG)])
    run.log_file("Traceback …: http://user:secret@host", "traceback.txt")
    run.finish(RunState.COMPLETE)
    (tmp_path / "fetched").mkdir()
    fetched = Path(client.download_artifacts(uploaded(run), "", str(tmp_path / "fetched")))
    content = {path.relative_to(fetched).as_posix(): path for path in fetched.rglob("*") if path.is_file()}
    assert set(content) == {"pictures/samples.png", "traceback.txt"}
    assert content["pictures/samples.png"].read_bytes() == PNG
    assert content["traceback.txt"].read_text(encoding="utf-8") == "Traceback …: http://***@host"
    assert json.loads(client.get_run(uploaded(run)).data.tags["reparam.captions"]) == {"samples": "caption"}


def test_a_kept_model_is_the_runs_logged_model_with_its_data_and_figures(tracker, client, model):
    run = open_study(tracker, STUDY).start_run("a/b: c, seed 1", "final", "glow", 0, CONFIG)
    run.log_model(model, EXAMPLE)
    run.log_measurements(MEASURED)
    run.finish(RunState.COMPLETE)
    logged = client.get_run(uploaded(run))
    (output,) = logged.outputs.model_outputs
    kept = client.get_logged_model(output.model_id)
    assert (kept.source_run_id, kept.status, kept.model_type) == (run.run_id, "READY", "glow")
    assert kept.name == "a-b- c, seed 1"
    assert kept.params == logged.data.params
    figures = {metric.key: metric for metric in kept.metrics}
    assert figures["validation/bits_per_dim"].value == 1.25
    assert figures["validation/bits_per_dim"].dataset_digest == STUDY.digest[:36]


def test_a_store_that_knows_no_logged_models_keeps_the_same_files(tracker, client, model, monkeypatch, uri, tmp_path):
    def reject(*arguments, **options):
        raise MlflowException("no such endpoint", ENDPOINT_NOT_FOUND)

    study = replace(STUDY, settings={**STUDY.settings, "dataset": "digits"})
    parent = open_study(tracker, study)
    run = parent.start_run("r", "final", "glow", 0, CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_logged_model", reject)
        run.log_model(model, EXAMPLE)
        uploaded(run)
    assert client.search_logged_models([parent.experiment_id]) == []
    assert load_run(uri, uploaded(run)).keeps_model
    assert load_model_file(uri, run.run_id, tmp_path).stat().st_size > 1000
    run.log_measurements(MEASURED)
    run.finish(RunState.COMPLETE)
    assert client.get_run(uploaded(run)).data.metrics["cost/parameters"] == 1234


def test_samples_can_be_stepped_through_by_evaluation(tracker, client):
    run = open_study(tracker, STUDY).start_run("r", "search", "glow", 0, CONFIG, 0)
    for record, samples in zip(RECORDS, (PNG, None, PNG), strict=True):
        run.log_evaluation(replace(record, samples=samples))
    run.log_pictures([("samples", "caption", PNG)])
    run.finish(RunState.COMPLETE)
    # All that lies there: the UI shows no grid at all once it meets another file.
    names = [file.path for file in client.list_artifacts(uploaded(run), "images") if not file.path.endswith(".webp")]
    steps = [re.match(r"images/samples~by evaluation\+step\+(\d+)\+timestamp\+", name) for name in names]
    assert sorted(step.group(1) for step in steps) == ["1", "3"]
    assert client.get_run(uploaded(run)).data.tags["mlflow.loggedImages"] == "True"


def test_a_report_is_logged_with_what_lies_beside_its_page(tracker, client, tmp_path):
    beside = {"report.html", "answer.json", "tables.tex", "references.bib", "figures/answer-1.pdf"}
    for name in beside:
        (tmp_path / "report" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "report" / name).write_text("x")
    parent = open_study(tracker, STUDY)
    parent.log_report(tmp_path / "report", "Glow is better.")
    found = [each for place in ("report", "report/figures") for each in client.list_artifacts(parent.run_id, place)]
    assert {each.path.removeprefix("report/") for each in found if not each.is_dir} == beside


def test_descriptions_tell_the_question_the_answer_and_what_was_reached(tracker, client, tmp_path):
    parent = open_study(tracker, STUDY)
    run_id = write_run(parent, reason="")
    failed = parent.start_run("f", "search", "vae", 0, CONFIG, 1)
    failed.finish(RunState.DIVERGED, "loss became nan")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>")
    parent.log_report(tmp_path / "report", "Glow is better.")

    def note(run_id):
        return client.get_run(run_id).data.tags["mlflow.note.content"]

    experiment = client.get_experiment(parent.experiment_id).tags["mlflow.note.content"]
    # The links first, of which a long question would leave none in the line that the UI shows.
    assert re.match(rf"\[.*\) \*\*{re.escape(STUDY.question)}\*\*\n", experiment)
    page = f"#/experiments/{parent.experiment_id}/runs/{parent.run_id}"
    assert "**Glow is better.**" in note(parent.run_id)
    assert f"({page}/artifacts/report/report.html?workflowType=machine_learning)" in note(parent.run_id)
    assert "1.2500 ± 0.0625 bits/dim on validation" in note(run_id)
    assert "k=16" in note(run_id)
    assert f"({page}?" in note(run_id)
    assert "**Diverged.** loss became nan." in note(uploaded(failed))


HOSTILE = "<script>alert('1')</script> \"q\"\n# 1 [a](javascript:b) *x* ![i](//e) `c` 🙂 مرحبا \u202eevil &lt;"


def test_foreign_text_in_a_description_is_text(tracker, client):
    shown = plain(HOSTILE)
    assert not re.search(r"[<>*_`\[\]!#](?!\d+;)", shown)
    assert "\n" not in shown
    assert "\u202e" not in shown
    assert "🙂" in html.unescape(shown)
    assert html.unescape(shown) == " ".join(HOSTILE.split()).replace("\u202e", "\\u202e")
    study = replace(STUDY, question=HOSTILE, dataset=replace(DIGITS, source=HOSTILE))
    parent = open_study(tracker, study)
    run = parent.start_run(HOSTILE, "search", "vae", 0, CONFIG, 0, note=HOSTILE)
    run.finish(RunState.FAILED, HOSTILE)
    logged = client.get_run(uploaded(run))
    assert (logged.info.run_name, logged.data.params["note"]) == (HOSTILE, HOSTILE)
    for run_id in (run.run_id, parent.run_id):
        note = client.get_run(run_id).data.tags["mlflow.note.content"]
        assert plain(HOSTILE) in note
        assert "<script>" not in note


def test_the_experiment_has_views_with_the_columns_that_matter(tracker, client):
    experiment_id = open_study(tracker, STUDY).experiment_id
    tags = client.get_experiment(experiment_id).tags
    views = {name: json.loads(value) for name, value in tags.items() if name.startswith("mlflow.sharedViewState.")}
    assert len(views) == 2
    for name, view in views.items():
        state = json.loads(view["state"])
        ordered = state["orderByKey"].removeprefix("metrics.`").removesuffix("`")
        assert ordered.endswith("/bits_per_dim")
        assert state["orderByKey"] in state["selectedColumns"]
        assert "params.`latent_size`" in state["selectedColumns"]
        assert client.search_runs([experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} ASC"]) == []
        assert f"viewStateShareKey={name.rpartition('.')[2]})" in tags["mlflow.note.content"]
        assert view["createdAt"] > 1e12


def test_what_a_person_writes_about_an_experiment_stays(tracker, client):
    experiment_id = open_study(tracker, STUDY).experiment_id
    client.set_experiment_tag(experiment_id, "mlflow.note.content", "mine")
    open_study(tracker, replace(STUDY, study_id="tiny-digits-other"))
    assert client.get_experiment(experiment_id).tags["mlflow.note.content"] == "mine"


def test_credentials_reach_neither_parameters_nor_reasons_nor_commands(tracker, client, uri):
    leaky = replace(STUDY, settings={"storage": "mysql://user:secret@host"})
    parent = open_study(tracker, leaky)
    run = parent.start_run("r", "search", "vae", 0, CONFIG, 0, uri="http://user:secret@host")
    run.finish(RunState.FAILED, "cannot reach http://user:secret@host")
    parent.finish(RunState.FAILED)
    for run_id in (parent.run_id, uploaded(run)):
        logged = client.get_run(run_id)
        assert "secret" not in json.dumps([logged.data.params, logged.data.tags])
    results = load_results(uri, STUDY.study_id)
    assert results.provenance["command"].endswith("--storage postgresql://***@host/db")
    assert results.runs.iloc[0]["reason"] == "cannot reach http://***@host"


def test_long_parameters_and_reasons_are_cut_not_refused(tracker, client):
    run = open_study(tracker, STUDY).start_run("r", "search", "vae", 0, CONFIG, 0, long="x" * 9000)
    run.finish(RunState.FAILED, "y" * 9000)
    logged = client.get_run(uploaded(run))
    assert logged.data.params["long"] == "x" * 500
    assert logged.data.tags["reparam.reason"] == "y" * 500


def unbegun(*arms, rows=1, reason="{}", count=1):
    """So many rows of each arm and role, whose reasons name their numbers."""
    return [Unbegun(role, arm, reason.format(i), count) for i in range(rows) for role, arm in arms]


@pytest.mark.parametrize(
    "logged",
    [
        unbegun(("search", "vae"), ("final", "glow"), rows=50, reason="it could not begin: {}" + "x" * 300, count=3),
        unbegun(("search", "vae"), reason="\N{GRINNING FACE}" * 500),
        unbegun(*(("search", f"arm{i}") for i in range(20)), reason="\N{GRINNING FACE}" * 500),
        unbegun(("search", "vae"), ("final", "vae"), ("search", "glow"), rows=40, reason="\N{GRINNING FACE}" * 90),
    ],
    ids=["two queues", "one row", "many arms", "three queues"],
)
def test_what_had_no_run_is_counted_of_its_arm_and_role_however_long_the_reasons(tracker, uri, client, logged):
    parent = open_study(tracker, STUDY)
    parent.log_unbegun(logged)
    assert len(client.get_run(parent.run_id).data.tags[UNBEGUN_TAG]) <= LONGEST_TAG
    found = load_results(uri, STUDY.study_id).unbegun
    counted, expected = Counter(), Counter()
    for rows, sums in ((found, counted), (logged, expected)):
        for row in rows:
            sums[row.role, row.arm] += row.count
    assert counted == expected
    assert [row.reason for row in found].count("other reasons") <= len(expected)
    assert found[0].reason
    assert logged[0].reason.startswith(found[0].reason)


def test_promoted_trials_are_read_as_they_were_logged_last(tracker, uri):
    parent = open_study(tracker, STUDY)
    assert load_results(uri, STUDY.study_id).promoted == {}
    parent.log_promoted({"vae": [3]})
    parent.log_promoted({"vae": [3, 7], "glow": [0]})
    assert load_results(uri, STUDY.study_id).promoted == {"vae": [3, 7], "glow": [0]}


def test_of_more_arms_than_a_tag_names_the_first_are_kept(tracker, uri):
    logged = unbegun(*((role, f"arm{i:060}") for i in range(50) for role in ("search", "final")))
    open_study(tracker, STUDY).log_unbegun(logged)
    found = load_results(uri, STUDY.study_id).unbegun
    assert len(found) > 30
    assert [(row.role, row.arm) for row in found] == [(row.role, row.arm) for row in logged[: len(found)]]


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("count", 10**12), ("count", "many"), ("role", "cook")])
def test_counts_that_are_none_are_refused(tracker, uri, client, name, value):
    row = {"role": "search", "arm": "vae", "reason": "why", "count": 1} | {name: value}
    client.set_tag(open_study(tracker, STUDY).run_id, UNBEGUN_TAG, json.dumps([row]))
    with pytest.raises(TrackingError, match=f"is not as a study logs it .*{name}"):
        load_results(uri, STUDY.study_id)


@pytest.mark.parametrize("state", [RunState.PRUNED, RunState.DIVERGED, RunState.COMPLETE])
def test_rescues_are_read_of_the_curve_where_a_run_ended_before_it_was_measured(tracker, uri, state):
    run = open_study(tracker, STUDY).start_run("vae #0", "search", "vae", 0, CONFIG, 0)
    for record, rescues in zip(RECORDS, (0.0, 1.0, 2.0), strict=True):
        run.log_evaluation(replace(record, values=record.values | {"train/rescues": rescues}))
    if state == RunState.COMPLETE:
        run.log_measurements([Measurement("cost", "rescues", 2)])
    run.finish(state)
    uploaded(run)
    measured = load_results(uri, STUDY.study_id).measurements
    assert measured[["split", "metric", "value"]].to_numpy().tolist() == [["cost", "rescues", 2.0]]


@pytest.mark.parametrize(("began", "date"), [(None, ""), (0, ""), (1_700_000_000_000, "2023-11-14")])
def test_a_study_is_listed_with_no_date_where_none_is_known(began, date):
    assert ListedStudy.of("s", began, "FINISHED", "complete", None).began == date


def test_a_study_that_logged_no_ranges_is_read_without(tracker, uri, client):
    parent = open_study(tracker, STUDY)
    client.delete_tag(parent.run_id, "reparam.space")
    assert load_results(uri, STUDY.study_id).space == {}


def test_ranges_that_are_none_are_refused(tracker, uri, client):
    parent = open_study(tracker, STUDY)
    client.set_tag(parent.run_id, "reparam.space", '{"vae": [2, 64]}')
    with pytest.raises(TrackingError, match="is not as a study logs it"):
        load_results(uri, STUDY.study_id)


def test_reports_read_back_what_was_logged(tracker, uri):
    parent = open_study(tracker, STUDY)
    run_id = write_run(parent, "search", number=2)
    final_id = write_run(parent, "final")
    parent.select({"glow": {"number": 2, "config_hash": CONFIG.hash}})
    results = load_results(uri, STUDY.study_id)
    assert (results.study_id, results.name, results.question) == (STUDY.study_id, STUDY.name, STUDY.question)
    assert (results.swept, results.dataset["digest"]) == (STUDY.swept, STUDY.digest)
    assert {arm: from_json(space) for arm, space in results.space.items()} == {
        "vae": {"latent_size": Integers(2, 64, log=True)},
        "glow": {"flow_depth": Choices(tuple(range(300)))},  # as text longer than MLflow's parameters may be
    }
    assert results.dataset["sizes"] == DIGITS.sizes
    assert results.settings == {**STUDY.settings, "superseded_final_runs": 0, "deleted_runs": 0, "foreign_runs": 0}

    parameters = [f"param.{name}" for name in sorted(PARAMETERS)]
    assert list(results.runs.columns) == [*RUN_COLUMNS, *parameters]
    row = results.runs.set_index("run_id").loc[run_id]
    assert (row["role"], row["family"], row["number"], row["seed"], row["config_hash"]) == (
        "search",
        "glow",
        2,
        7,
        CONFIG.hash,
    )
    assert (row["param.flow_depth"], row["param.learning_rate"]) == (3, 1e-3)
    assert row["started"].tz is not None
    assert row["seconds"] >= 0
    assert results.runs.set_index("run_id").loc[final_id, "role"] == "final"
    assert pd.isna(results.runs.set_index("run_id").loc[final_id, "number"])

    assert list(results.measurements.columns) == MEASUREMENT_COLUMNS
    rows = results.measurements[results.measurements["run_id"] == run_id]
    for expected, (_, found) in zip(MEASURED, rows.iterrows(), strict=True):
        assert (found["split"], found["metric"]) == (expected.split, expected.metric)
        np.testing.assert_equal(found["value"], expected.value)
        for column in ("standard_error", "n", "monte_carlo_error"):
            value = getattr(expected, column)
            assert pd.isna(found[column]) if value is None or math.isnan(value) else found[column] == value
        assert found["conditions"] == expected.conditions
    bits = rows.iloc[0]
    assert (bits["bound"], bits["importance_samples"], bits["dequantisation"]) == (BOUND.kind.value, 16, "uniform")
    assert (bits["unit"], bits["higher_is_better"], bits["trial"]) == ("bits/dim", False, 2)

    assert list(results.histories.columns) == HISTORY_COLUMNS
    curve = results.histories.query("run_id == @run_id and metric == 'validation/bits_per_dim'")
    expected = [(r.evaluation, r.images, r.seconds, r.values["validation/bits_per_dim"]) for r in RECORDS]
    assert [tuple(row) for row in curve[["step", "images", "seconds", "value"]].to_numpy()] == expected

    grid, of_trial = results.images
    assert (of_trial.run_id, of_trial.kind) == (run_id, "samples")
    assert (grid.run_id, grid.arm, grid.kind, grid.caption) == (final_id, "glow", "samples", "four black images")
    assert grid.png == PNG
    table = TABLE.assign(run_id=final_id)[["run_id", *TABLE.columns]]
    pd.testing.assert_frame_equal(results.tables["bound_by_samples"], table)


def test_pictures_are_read_of_the_best_trials_of_each_arm_alone(tracker, uri, monkeypatch):
    monkeypatch.setattr("bench.tracking.reading.reader.TRIALS_PICTURED", 2)
    parent = open_study(tracker, STUDY)
    runs = [write_run(parent, "search", number=number) for number in range(3)]
    for run, value in zip(runs, (3.0, 1.0, 2.0), strict=True):
        tracker.client.log_metric(run, "validation/bits_per_dim", value, step=1)
    assert [image.run_id for image in load_results(uri, STUDY.study_id).images] == [runs[1], runs[2]]


def test_every_run_has_its_page_where_the_ui_shows_an_embedded_store(tracker, uri):
    parent = open_study(tracker, STUDY)
    run = write_run(parent, "search", number=2)
    (url,) = load_results(uri, STUDY.study_id).runs["url"]
    assert url.startswith(f"{UI_ADDRESS}/#/experiments/{parent.experiment_id}/runs/{run}?")


def test_final_runs_of_a_configuration_that_is_no_longer_selected_are_superseded(tracker, uri):
    parent = open_study(tracker, STUDY)
    old, new = write_run(parent, "final"), write_run(parent, "final", config=OTHER)
    parent.select({"glow": {"number": 0, "config_hash": CONFIG.hash}})
    parent.select({"glow": {"number": 1, "config_hash": OTHER.hash}})
    results = load_results(uri, STUDY.study_id)
    assert dict(zip(results.runs["run_id"], results.runs["role"], strict=True)) == {old: "superseded", new: "final"}
    assert results.settings["superseded_final_runs"] == 1
    assert {grid.run_id for grid in results.images} == set(results.tables["bound_by_samples"]["run_id"]) == {new}


def test_a_run_is_found_by_the_first_digits_of_its_identifier_with_all_that_measures_it_again(tracker, uri, model):
    parent = open_study(tracker, replace(STUDY, settings={**STUDY.settings, "dataset": "mine.npz", "grey_levels": 17}))
    run_id = write_run(parent, "final")
    found = load_run(uri, run_id[:8])
    assert (found.run_id, found.role, found.seed, found.backend, found.evaluations) == (run_id, "final", 7, "jax", 3)
    assert RunConfig.model_validate_json(found.config) == CONFIG
    assert (found.dataset, found.preparation.grey_levels) == ("mine.npz", 17)
    assert not found.keeps_model
    kept = parent.start_run("kept", "final", "glow", 0, CONFIG)
    kept.log_model(model, EXAMPLE)
    assert load_run(uri, uploaded(kept)).keeps_model


def test_an_unknown_run_or_the_run_of_a_study_is_refused(tracker, uri):
    parent = open_study(tracker, STUDY)
    for wrong in ("nothing", "'; DROP TABLE runs", "0" * 32, "abc"):
        with pytest.raises(TrackingError, match="32 hexadecimal digits or the first few"):
            load_run(uri, wrong)
    with pytest.raises(TrackingError, match="not the run of a model"):
        load_run(uri, parent.run_id)
    with pytest.raises(TrackingError, match="does not say what data it used"):
        load_run(uri, write_run(parent))


def test_a_run_without_tables_is_read_as_one_that_has_none(tracker, uri):
    run = open_study(tracker, STUDY).start_run("r", "final", "glow", 0, CONFIG)
    run.finish(RunState.COMPLETE)
    uploaded(run)
    assert load_results(uri, STUDY.study_id).tables == {}


def test_a_study_without_runs_is_read_as_empty_frames_of_the_schema(tracker, uri):
    open_study(tracker, STUDY)
    results = load_results(uri, STUDY.study_id)
    assert list(results.runs.columns) == RUN_COLUMNS
    assert list(results.measurements.columns) == MEASUREMENT_COLUMNS
    assert list(results.histories.columns) == HISTORY_COLUMNS
    assert len(results.runs) == len(results.measurements) == len(results.histories) == len(results.images) == 0


def test_a_continued_study_is_the_same_parent_run_with_its_settings_anew(tracker, client, uri):
    first = open_study(tracker, STUDY)
    first.finish(RunState.INTERRUPTED)
    again = open_study(tracker, replace(STUDY, settings={**STUDY.settings, "trials": 9}))
    assert again.run_id == first.run_id
    assert client.get_run(again.run_id).info.status == "RUNNING"
    assert load_results(uri, STUDY.study_id).settings["trials"] == 9


def test_studies_are_listed_newest_first_and_do_not_mix(tracker, uri):
    other = replace(STUDY, study_id="tiny-digits-other", name="tiny")
    for study in (STUDY, other):
        write_run(open_study(tracker, study))
    assert list_studies(uri) == [other.study_id, STUDY.study_id]
    assert len(load_results(uri, other.study_id).runs) == 1


def test_an_unknown_study_is_refused_with_those_that_are_known(tracker, uri):
    with pytest.raises(TrackingError, match=r"no study 'nothing' in sqlite:.*: it holds none"):
        load_results(uri, "nothing")
    open_study(tracker, STUDY)
    with pytest.raises(TrackingError, match=rf"no study 'else' in sqlite:.*: it holds {STUDY.study_id}"):
        load_results(uri, "else")


@pytest.mark.parametrize(
    "open_store",
    [lambda uri, path: open_study(Tracker(uri, path, path), STUDY), lambda uri, path: list_studies(uri)],
    ids=["write", "read"],
)
def test_an_unreachable_store_is_reported_without_its_credentials(open_store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"tracking store http://\*\*\*@127.0.0.1:1 cannot be reached") as raised:
        open_store("http://user:secret@127.0.0.1:1", tmp_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("lost", [MlflowException("no answer"), ConnectionError("no answer")])
def test_a_store_that_goes_away_while_it_is_read_is_reported_in_a_line(tracker, uri, monkeypatch, lost):
    open_study(tracker, STUDY)

    def away(*arguments):
        raise lost

    monkeypatch.setattr("bench.tracking.reading.reader._histories", away)
    with pytest.raises(TrackingError, match=r"^tracking store sqlite:.* cannot be read to the end: no answer$"):
        load_results(uri, STUDY.study_id)


def test_the_charts_of_a_run_begin_with_copies_of_its_bits_per_dim(tracker, client):
    run = open_study(tracker, STUDY).start_run("r", "final", "vae", 0, CONFIG)
    values = {"train/bits_per_dim": 3.0, "validation/bits_per_dim": 3.1, "train/loss": 9.0}
    run.log_evaluation(EvaluationRecord(1, 128, 0.5, values))
    run.log_measurements([Measurement("test", "bits_per_dim", 2.5, 0.01, 64), Measurement("test", "nll_nats", 9.0)])
    run.finish(RunState.COMPLETE)
    metrics = client.get_run(uploaded(run)).data.metrics
    assert {key: value for key, value in metrics.items() if key.startswith("bits_per_dim/")} == {
        "bits_per_dim/train_by_evaluation": 3.0,
        "bits_per_dim/validation_by_evaluation": 3.1,
        "bits_per_dim/test": 2.5,
    }
    # MLflow orders groups of charts by their names.
    assert min(key.partition("/")[0] for key in metrics) == "bits_per_dim"
