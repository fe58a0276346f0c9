"""A published recipe, run on a sliver of its budget, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from bench.core.errors import SettingsError
from bench.core.results import RunState
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.reading.reader import load_results
from bench.tracking.writer import Tracker
from bench.workflows.published_result import PublishedResult
from bench.workflows.reproduce import Budget, record, reproduce
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from studies.published import BURDA_PASSES, PUBLISHED

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
)


@pytest.fixture
def tracker(tmp_path, _empty_store):
    (tmp_path / "mlflow.db").write_bytes(_empty_store.read_bytes())
    with Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts", tmp_path / "outbox") as opened:
        yield opened


@pytest.mark.backend
def test_an_anchor_leaves_its_figure_its_budget_and_a_logged_model(digits, tracker, tmp_path):
    seen = []
    budget = Budget(images=256, seeds=2, importance_samples=8, evaluation_images=40)
    obtained = reproduce(RESULT, digits, budget, "digits", "jax", tracker, seen.append)
    assert len(obtained) == 2
    assert obtained[0].row["obtained"] != obtained[1].row["obtained"]
    row = obtained[0].row
    expected = {
        "published": 80.5,
        "images_seen": 256,
        "published_images": 100_000,
        "importance_samples": 8,
        "test_images": 40,
    }
    assert {name: row[name] for name in expected} == expected
    assert RunConfig.model_validate_json(row["config"]).training.images == 256
    assert len(seen) == 4
    assert [point.images for point in obtained[1].curve] == [128, 256]

    results = load_results(tracker.uri, f"reproduce-small-{RunConfig.model_validate(json.loads(row['config'])).hash}")
    assert results.runs["state"].tolist() == [RunState.COMPLETE] * 2
    logged = results.measurements.query("run_id == @row['run_id'] and metric == 'nll_nats'").iloc[0]
    assert logged["value"] == row["obtained"]

    for runs in (obtained[:1], obtained[1:]):
        record(runs, tmp_path / "published")
    table = pd.read_csv(tmp_path / "published" / "obtained.csv")
    assert table["obtained"].tolist() == [each.row["obtained"] for each in obtained]
    assert pd.read_csv(tmp_path / "published" / "curves.csv").groupby("run_id").size().tolist() == [2, 2]


def test_a_model_that_does_not_fit_the_images_is_refused_before_anything_is_logged(digits, tracker):
    flow = replace(RESULT, model=GlowConfig(levels=6))
    with pytest.raises(SettingsError, match="small cannot be trained on digits: levels=6"):
        reproduce(flow, digits, Budget(), "digits", "jax", tracker)
    assert tracker.client.search_experiments(filter_string="name LIKE 'reparam-bench/%'") == []


def test_the_recipe_of_burda_et_al_is_that_of_their_paper():
    assert BURDA_PASSES == 3280
    for name, samples, nats in (("vae", 1, 88.71), ("iwae-5", 5, 87.63), ("iwae-50", 50, 87.10)):
        published = PUBLISHED[name]
        model = published.model
        assert (model.hidden_sizes, model.latent_size, model.activation) == ((200, 200), 50, "tanh")
        assert (model.training_samples, published.published, published.importance_samples) == (samples, nats, 5000)
        assert published.training.decay == "staged"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_anchor_fits_its_data(name):
    published = PUBLISHED[name]
    published.model.check_images((28, 28, 1), 2 if published.dataset == "binarized_mnist" else 256)
    assert published.metric == ("nll_nats" if published.dataset == "binarized_mnist" else "bits_per_dim")
