"""Published results on the command line: killed, continued, and each run in the table once."""

from __future__ import annotations

import os
import signal

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from bench.core.seeds import derive_seed
from bench.study.config import TrainingConfig
from studies.published import PUBLISHED
from tests.studies.small_study import kill_during

COMMAND = (
    *("reproduce", "vae", "--dataset", "strokes.npz", "--images", "20000", "--seeds", "2", "--quiet"),
    *("--importance-samples", "8", "--evaluation-images", "60", "--backend", os.environ["KERAS_BACKEND"]),
)


@pytest.mark.slow
@pytest.mark.backend
def test_a_published_result_that_is_killed_is_continued_and_each_of_its_runs_is_in_the_table_once(cli, tmp_path):
    images = np.random.default_rng(0).integers(0, 2, (400, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "strokes.npz", images=images)
    second = str(derive_seed(0, "final", 1))
    ended = kill_during(tmp_path, COMMAND, "reparam.seed", second, signal.SIGKILL)
    assert ended.returncode == -signal.SIGKILL

    for _ in range(2):
        code, out, err = cli(*COMMAND)
        assert code == 0, err
        assert (tmp_path / out.strip()).is_file()
        table = pd.read_csv(tmp_path / "runs" / "published" / "obtained.csv")
        assert sorted(table["seed"]) == [0, 1]
        assert table["run_id"].is_unique
        assert (table["images_seen"] >= 20_000).all()
        curves = pd.read_csv(tmp_path / "runs" / "published" / "curves.csv")
        assert curves.groupby("run_id").size().tolist() == [40, 40]
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("reparam-bench/reproduce-vae").experiment_id])
    states = [run.data.tags["reparam.state"] for run in runs if run.data.tags["reparam.role"] == "final"]
    assert sorted(states) == ["complete", "complete", "interrupted"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vea",), r"no published result is called 'vea': one of vae, iwae-5"),
        (("glow-mnist", "--dataset", "odd.npz"), r"glow-mnist cannot be trained on odd: .*7x7"),
        (("vae", "--images", "0"), r"images='0': .*greater than or equal to 1"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_before_anything_is_written(refused, tmp_path, arguments, message):
    np.savez(tmp_path / "odd.npz", images=np.zeros((40, 7, 7), np.uint8))
    refused(message, "reproduce", *arguments)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_recipe_is_a_configuration_that_its_own_checks_accept(name):
    published = PUBLISHED[name]
    # Recipes are derived by copying, which checks nothing.
    type(published.model).model_validate(published.model.model_dump())
    TrainingConfig.model_validate(published.training.model_dump())
