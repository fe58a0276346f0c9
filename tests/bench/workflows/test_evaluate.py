"""A logged run, measured once more: what was logged comes out again."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from bench.core.errors import DataError, SettingsError, TrackingError
from bench.core.metrics import METRICS
from bench.data.dataset import Dataset, Split
from bench.data.registry import check_outside
from bench.evaluation.evaluator import open_outside
from bench.evaluation.image_grid import Picture
from bench.evaluation.metrics import Evaluation
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.reading.model_runs import check_model_file, load_curve, load_model_file, load_run
from bench.tracking.reading.reader import load_results
from bench.tracking.schema import MODEL_DIGEST_TAG, MODEL_FILE
from bench.workflows.evaluate import Callbacks, evaluate, write_evaluation
from bench.workflows.repeat import repeat
from models.registry import load_model
from studies.cli import main as commands
from studies.cli import repeat as repeat_command

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def study(start, tiny_study, digits, tmp_path_factory):
    """The tiny study, trained in earnest, Glow left out; all runs are of one shape, as compiling takes long."""
    arm = tiny_study.arms[0]
    small = replace(tiny_study, arms=(replace(arm, sweep={"learning_rate": arm.sweep["learning_rate"]}),))
    runner = start(small, digits, tmp_path_factory.mktemp("again"), images=256)
    runner.run(digits)
    uri = runner.bound.settings.tracking
    return SimpleNamespace(uri=uri, results=load_results(uri, runner.bound.study_id))


def logged_run(study, role):
    run_id = study.results.runs.query("role == @role").iloc[0]["run_id"]
    return load_run(study.uri, run_id)


@pytest.fixture(scope="module")
def evaluation(study, digits, protocol):
    """A final run, measured again."""
    return evaluate(study.uri, logged_run(study, "final"), digits, protocol(4), None, Callbacks())


@pytest.mark.parametrize(("role", "split"), [("final", "test"), ("search", "validation")])
def test_a_run_measured_again_has_the_likelihood_that_was_logged_and_a_trial_never_opens_the_test_split(
    study, digits, protocol, monkeypatch, evaluation, role, split
):
    """A final run's model was kept; a trial's was not, and is trained again from its seed."""

    def sealed(dataset):
        raise PermissionError("the test split was opened")

    logged, again = logged_run(study, role), evaluation
    assert logged.keeps_model == (role == "final")
    if role == "search":
        monkeypatch.setattr(Dataset, "open_test", sealed)
        again = evaluate(study.uri, logged, digits, protocol(2), None, Callbacks())
    found = next(row for row in again.measurements if row.key == f"{split}/bits_per_dim")
    rows = study.results.measurements.query("run_id == @logged.run_id and metric == 'bits_per_dim' and split == @split")
    assert found.value == pytest.approx(rows.iloc[0]["value"], rel=1e-6)
    assert not any(row.split == {"test": "validation", "validation": "test"}[split] for row in again.measurements)
    assert {"diagnostics", "quality", "throughput", "cost"} < {row.split for row in again.measurements}


@pytest.mark.parametrize("content", ["another model", "no JSON", "no config", "a damaged weight file"])
def test_a_model_file_that_is_none_of_ours_is_named_in_one_line(
    study, digits, protocol, monkeypatch, tmp_path, content
):
    logged, file = logged_run(study, "final"), tmp_path / "model.keras"
    if content == "another model":
        keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(file)
    else:
        (tmp_path / "kept").mkdir()
        shutil.copy(load_model_file(study.uri, logged.run_id, tmp_path / "kept"), file)
        rewrite(
            file, "model.weights.h5" if "weight" in content else "config.json", b"[]" if "JSON" not in content else b"{"
        )
    monkeypatch.setattr("bench.workflows.evaluate.load_model_file", lambda uri, run_id, folder: file)
    with pytest.raises(TrackingError, match=rf"^the model of run {logged.run_id} cannot be loaded: [^\n]+$"):
        evaluate(study.uri, logged, digits, protocol(1), 20, Callbacks())


def kept_file(study, logged):
    """The file of a run's model in the store."""
    client = MlflowClient(tracking_uri=study.uri)
    (output,) = client.get_run(logged.run_id).outputs.model_outputs
    return Path(client.get_logged_model(output.model_id).artifact_location.removeprefix("file://"), MODEL_FILE)


@pytest.fixture
def restored(study):
    """A final run, whose model is put back after the test, as is the tag of its digest."""
    logged = logged_run(study, "final")
    file, client = kept_file(study, logged), MlflowClient(tracking_uri=study.uri)
    content, digest = file.read_bytes(), client.get_run(logged.run_id).data.tags[MODEL_DIGEST_TAG]
    yield logged
    file.write_bytes(content)
    client.set_tag(logged.run_id, MODEL_DIGEST_TAG, digest)


def test_a_run_keeps_the_digest_of_its_model(study):
    logged = logged_run(study, "final")
    tags = MlflowClient(tracking_uri=study.uri).get_run(logged.run_id).data.tags
    assert tags[MODEL_DIGEST_TAG] == hashlib.sha256(kept_file(study, logged).read_bytes()).hexdigest()


def test_a_model_that_was_exchanged_for_another_run_s_is_refused_by_name(study, digits, protocol, restored, tmp_path):
    file = kept_file(study, restored)
    load_model(load_model_file(study.uri, restored.run_id, tmp_path)).save(file)  # as good a model, of another time
    with pytest.raises(TrackingError) as raised:
        check_model_file(study.uri, restored.run_id)
    assert f"the model of run {restored.run_id} is not the one that the run logged (SHA-256 " in str(raised.value)
    assert str(raised.value).endswith(f"put its own file back at {file.as_uri()}")
    assert "\n" not in str(raised.value)
    with pytest.raises(TrackingError, match="is not the one that the run logged"):
        evaluate(study.uri, restored, digits, protocol(1), 20, Callbacks())
    for command in (commands.evaluate, repeat_command.command):
        with pytest.raises(TrackingError, match="is not the one that the run logged"):
            command(restored.run_id, tracking_uri=study.uri, output=tmp_path / "runs", quiet=True)


def test_a_model_of_a_run_without_a_digest_is_used_and_that_is_said_once(study, restored, tmp_path, caplog):
    MlflowClient(tracking_uri=study.uri).delete_tag(restored.run_id, MODEL_DIGEST_TAG)
    for _ in range(2):
        check_model_file(study.uri, restored.run_id)
    said = [record.getMessage() for record in caplog.records if restored.run_id in record.getMessage()]
    assert said == [
        f"run {restored.run_id} was logged without a digest of its model: that the model is its own is not checked"
    ]


def rewrite(file, member, content):
    """A copy of an archive with another content of one member takes its place."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, kept in (members | {member: content}).items():
            archive.writestr(name, kept)


def test_other_data_than_the_runs_own_is_refused(study, digits, protocol):
    tuning = digits.tuning
    other = Dataset(digits.info, tuning.train, tuning.validation, Split(digits.open_test().images[::-1]))
    with pytest.raises(SettingsError, match=f"digest {digits.digest[:12]}.*has {other.digest[:12]}.*--dataset"):
        evaluate(study.uri, logged_run(study, "final"), other, protocol(1), None, Callbacks())


def test_an_evaluation_is_written_as_files(evaluation, digits, tmp_path):
    path = write_evaluation(evaluation, digits.info, tmp_path)
    frame = pd.read_csv(path)
    assert len(frame) == len(evaluation.measurements)
    assert set(frame["metric"]) <= set(METRICS)
    row = frame.query("split == 'test' and metric == 'bits_per_dim'").iloc[0]
    assert (row["importance_samples"], row["n"], row["unit"]) == (4, 64, "bits/dim")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"tables/likelihood_by_image.csv", "tables/latents.csv", "images/interpolations.png"} < written


@pytest.mark.parametrize("place", ["", "tables", "images", "sequences"])
def test_an_evaluation_follows_no_link(digits, tmp_path, place):
    evaluation = Evaluation([], {"latents": pd.DataFrame({"x": [1]})}, [Picture("samples", "", b"png")])
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "evaluations" / "0123"
    elsewhere.mkdir()
    (folder / place).parent.mkdir(parents=True)
    (folder / place).symlink_to(elsewhere)
    with pytest.raises(SettingsError, match=f"^{folder / place} is a link to {elsewhere}, .* remove the link"):
        write_evaluation(evaluation, digits.info, folder)
    assert list(elsewhere.iterdir()) == []
    assert [path for path in folder.iterdir() if path.name != place] == []


def test_images_of_another_kind_cannot_stand_outside(digits, tmp_path):
    path = tmp_path / "colour.npz"
    np.savez(path, images=np.zeros((20, 8, 8, 3), np.uint8))
    with pytest.raises(SettingsError, match=r"8x8x3 with .* grey levels: those of digits are 8x8x1 with 17"):
        check_outside(str(path), digits.info)
    with pytest.raises(DataError, match="no data set 'nowhere'"):
        open_outside("nowhere", digits.info)
    outside = open_outside("digits", digits.info)
    assert (outside.name, outside.images.shape[1:]) == ("digits", (8, 8, 1))


def test_the_configuration_of_a_run_survives_the_store(study):
    config = RunConfig.model_validate_json(logged_run(study, "final").config)
    assert isinstance(config.training, TrainingConfig)
    assert config.hash == study.results.runs.query("role == 'final'").iloc[0]["config_hash"]


@pytest.mark.parametrize("role", ["final", "search"])
def test_a_run_trained_again_comes_out_bit_by_bit(study, digits, role):
    logged = logged_run(study, role)
    curve = load_curve(study.uri, logged.run_id)
    compared = repeat(logged, curve, digits, lambda record: None)
    assert len(compared) == len(curve) >= 4 * logged.evaluations
    assert (compared["difference"] == 0).all()


@pytest.mark.slow_on_jax
@pytest.mark.slow
def test_a_run_of_a_study_that_evaluates_on_some_images_is_trained_again_on_those(
    start, tiny_study, digits, protocol, tmp_path
):
    small = replace(tiny_study, arms=tiny_study.arms[:1])
    runner = start(small, digits, tmp_path, images=256, trials=1, evaluation_images=60)
    runner.run(digits)
    uri = runner.bound.settings.tracking
    limited = SimpleNamespace(uri=uri, results=load_results(uri, runner.bound.study_id))
    logged = logged_run(limited, "search")
    compared = repeat(logged, load_curve(uri, logged.run_id), digits, lambda record: None)
    assert (compared["difference"] == 0).all()
    again = evaluate(uri, logged, digits, protocol(2), 60, Callbacks())
    row = limited.results.measurements.query("run_id == @logged.run_id and metric == 'bits_per_dim'").iloc[0]
    found = next(each for each in again.measurements if each.key == "validation/bits_per_dim")
    assert found.value == pytest.approx(row["value"], rel=1e-6)


def test_a_value_that_does_not_come_out_again_shows(study, digits):
    logged = logged_run(study, "search")
    curve = load_curve(study.uri, logged.run_id)
    curve.loc[3, "value"] += 1e-9
    compared = repeat(logged, curve.head(6), digits, lambda record: None)
    assert (compared["difference"] != 0).tolist() == [False] * 3 + [True] + [False] * 2


def test_a_run_without_a_learning_curve_cannot_be_compared(study, digits):
    logged = logged_run(study, "search")
    with pytest.raises(SettingsError, match="has no learning curve"):
        repeat(logged, load_curve(study.uri, logged.run_id).head(0), digits, lambda record: None)
