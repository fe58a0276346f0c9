"""A published recipe, run on a sliver of its budget, and what it leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

import bench.workflows.reproduce
from bench.core.errors import DataError, SettingsError
from bench.core.results import RunState
from bench.data.preparation import AS_STORED
from bench.data.registry import describe
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.reading.reader import load_results
from bench.workflows.published_result import PublishedResult
from bench.workflows.reproduce import ObtainedRun, append_runs, check_obtained, collect_runs, make_study
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from studies.published import BURDA_EPOCHS, PUBLISHED

RESULT = PublishedResult(
    name="small",
    title="a small VAE",
    dataset="digits",
    model=VAEConfig(hidden_sizes=(8,), latent_size=2),
    training=TrainingConfig(images=100_000, batch_size=64, evaluations=2, decay="staged"),
    metric="nll_nats",
    published=80.5,
    importance_samples=500,
    source="nobody",
    deviations="none",
    published_images=2_000_000,
)


@pytest.mark.backend
def test_a_published_result_leaves_what_it_obtained_its_budget_and_its_curve(start, digits, tmp_path):
    budget = {"images": 256, "batch_size": None, "seeds": 2, "importance_samples": 8, "evaluation_images": 50}
    study = start(make_study(RESULT), digits, tmp_path, **budget)
    study.run(digits)
    tracking = study.bound.settings.tracking
    results = load_results(tracking, study.bound.study_id)
    assert results.runs["state"].tolist() == [RunState.COMPLETE] * 2
    assert results.runs["arm"].tolist() == ["small"] * 2

    found = collect_runs(RESULT, results, tracking)
    assert [each.row["seed"] for each in found] == [0, 1]
    assert found[0].row["obtained"] != found[1].row["obtained"]
    row = found[0].row
    expected = {
        "published": 80.5,
        "dataset": "digits",
        "images_seen": 256,
        "recipe_images": 100_000,
        "published_images": 2_000_000,
        "weights": RESULT.model.size(digits.info.image_shape, digits.info.grey_levels).parameters,
        "importance_samples": 8,
        "recipe_samples": 500,
        "test_images": 50,
    }
    assert {name: row[name] for name in expected} == expected
    training = RunConfig.model_validate_json(row["config"]).training
    assert (training.images, training.batch_size, training.decay) == (256, 64, "staged")
    logged = results.measurements.query("run_id == @row['run_id'] and metric == 'nll_nats' and split == 'test'").iloc[0]
    assert logged["value"] == row["obtained"]
    assert found[1].curve["images"].tolist() == [128, 256]

    # As by a study that is continued: what is in the table already is replaced.
    for runs in (found[:1], found, found[1:]):
        append_runs(runs, tmp_path / "published")
    table = pd.read_csv(tmp_path / "published" / "obtained.csv", float_precision="round_trip").sort_values("seed")
    assert table["run_id"].tolist() == [each.row["run_id"] for each in found]
    assert table["obtained"].tolist() == [each.row["obtained"] for each in found]
    assert pd.read_csv(tmp_path / "published" / "curves.csv").groupby("run_id").size().tolist() == [2, 2]
    # As by a version that gave the recipe's images another name.
    file = tmp_path / "published" / "obtained.csv"
    old = table.drop(columns=["published_images", "recipe_samples", "weights"])
    old.rename(columns={"recipe_images": "published_images"}).iloc[:1].to_csv(file, index=False)
    append_runs(found[1:], tmp_path / "published")
    table = pd.read_csv(file)
    assert table["recipe_images"].tolist() == [100_000] * 2
    assert table["published_images"].fillna(0).tolist() == [0, 2_000_000]
    append_runs([], tmp_path / "published")
    assert len(pd.read_csv(tmp_path / "published" / "obtained.csv")) == 2


def test_runs_that_were_extended_keep_the_number_of_their_seed(monkeypatch):
    monkeypatch.setattr(bench.workflows.reproduce, "_collect_run", lambda *known: known[2:4])
    runs = pd.DataFrame({"run_id": list("abcd"), "seed": [7, 8, 7, 8], "started": range(4)})
    results = SimpleNamespace(runs=runs.assign(role="final", state=RunState.COMPLETE))
    assert collect_runs(RESULT, results, "") == [("a", 0), ("b", 1), ("c", 0), ("d", 1)]


def test_commands_that_add_to_one_table_at_once_lose_no_run(tmp_path):
    def add(number):
        row, curve = {"run_id": f"r{number}"}, pd.DataFrame({"run_id": [f"r{number}"] * 2})
        append_runs([ObtainedRun(row, curve)], tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert set(pd.read_csv(tmp_path / "obtained.csv")["run_id"]) == {f"r{number}" for number in range(24)}
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 48


@pytest.mark.parametrize(("name", "content"), [("obtained.csv", ""), ("curves.csv", "a,b\n1,2\n")])
def test_a_damaged_table_is_an_error_before_anything_is_trained(tmp_path, name, content):
    check_obtained(tmp_path)
    append_runs([ObtainedRun({"run_id": "a"}, pd.DataFrame({"run_id": ["a"]}))], tmp_path)
    check_obtained(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}, which collects what was obtained, cannot be read"):
        check_obtained(tmp_path)


def test_a_model_that_does_not_fit_the_images_is_refused(digits):
    with pytest.raises(SettingsError, match=r"small cannot be trained on digits: .*levels=6"):
        replace(RESULT, model=GlowConfig(levels=6)).check_data(digits.info)


def test_data_of_another_kind_than_the_published_is_refused():
    with pytest.raises(SettingsError, match=r"published on 28x28x1 images of 2 grey levels, and mnist has .* 256"):
        PUBLISHED["vae"].check_data(describe("mnist", AS_STORED))
    with pytest.raises(SettingsError, match=r"and digits has 8x8x1 images of 17 grey levels"):
        PUBLISHED["glow-mnist"].check_data(describe("digits", AS_STORED))
    PUBLISHED["vae"].check_data(describe("binarized_mnist", AS_STORED))


def test_the_recipe_of_burda_et_al_is_that_of_their_paper():
    assert BURDA_EPOCHS == 3280
    for name, samples, nats in (("vae", 1, 88.71), ("iwae-5", 5, 87.63), ("iwae-50", 50, 87.10)):
        published = PUBLISHED[name]
        model = published.model
        assert (model.hidden_sizes, model.latent_size, model.activation) == ((200, 200), 50, "tanh")
        assert (model.training_samples, published.published, published.importance_samples) == (samples, nats, 5000)
        assert published.training.decay == "staged"


@pytest.mark.parametrize("samples", [5, 50])
def test_the_doubly_reparameterised_recipe_differs_from_burda_s_by_the_gradient_alone(samples):
    iwae, dreg = PUBLISHED[f"iwae-{samples}"], PUBLISHED[f"iwae-{samples}-dreg"]
    changed = {"gradient_estimator": "doubly_reparameterised"}
    assert dreg.model.model_dump() == iwae.model.model_dump() | changed
    assert (dreg.training, dreg.published) == (iwae.training, iwae.published)
    assert "Tucker" in dreg.source
    assert dreg.deviations.endswith(iwae.deviations)


def test_the_vampprior_s_recipe_is_that_of_tomczak_and_welling():
    published = PUBLISHED["vampprior"]
    model, training = published.model, published.training
    assert (model.hidden_sizes, model.gated, model.latent_size) == ((300, 300), True, 40)
    assert (model.prior, model.pseudo_inputs, published.published) == ("vamp", 500, 85.57)
    assert (training.learning_rate, training.batch_size, training.images) == (5e-4, 100, 100_000_000)
    assert model.kl_warmup_steps == 100 * 500  # epochs, of 500 steps each
    assert PUBLISHED["vampprior-ours"].model.size((28, 28, 1), 2) == model.size((28, 28, 1), 2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_result_fits_its_data_and_makes_a_study(name):
    published = PUBLISHED[name]
    published.model.check_images((28, 28, 1), 2 if published.dataset == "binarized_mnist" else 256)
    assert published.metric == ("nll_nats" if published.dataset == "binarized_mnist" else "bits_per_dim")
    (arm,) = make_study(published).arms
    assert (arm.model, arm.training, dict(arm.sweep)) == (published.model, published.training, {})
