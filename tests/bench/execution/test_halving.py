"""Successive halving in a whole study, and budgets that grow: with a stand-in for training, and with real training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import bench.execution.trial
import bench.execution.worker
import bench.training.loop
from bench.execution.session import CHECKPOINTS_KEPT
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, Study
from bench.study.search_space import Integers, Reals
from bench.tracking.reading.reader import load_results
from models.vae.config import VAEConfig

pytestmark = pytest.mark.usefixtures("short_patience")

SMALL = VAEConfig(hidden_sizes=(8,), latent_size=2)
TRAINING = TrainingConfig(decay="plateau", patience=50, weight_average=0.5, warmup_steps=2)
RATES = {"learning_rate": Reals(1e-4, 1e-2, log=True)}
HALVED = Study(name="halved", question="Which rate?", arms=(Arm(SMALL, RATES, TRAINING, name="vae"),))
BY_SIZE = Study(name="sized", question="Which size?", arms=(Arm(SMALL, {"latent_size": Integers(2, 64)}, TRAINING),))


def runs_of(runner, role):
    runs = load_results(runner.bound.settings.tracking, runner.bound.study_id).runs
    return runs[runs["role"] == role]


@pytest.fixture
def run(start, digits, tmp_path):
    def begin(study=HALVED, output=tmp_path / "one", **settings):
        runner = start(study, digits, output, **{"pruner": "halving", "images": 128 * 8, **settings})
        runner.run(digits)
        return runner

    return begin


@pytest.fixture
def taken(monkeypatch):
    """The intervals between evaluations that were really trained, by number."""
    found, real = [], bench.training.loop._train_interval

    def train(model, programs, images, order, steps_before):
        found.append(steps_before // len(order))
        return real(model, programs, images, order, steps_before)

    monkeypatch.setattr(bench.training.loop, "_train_interval", train)
    return found


def test_the_better_half_at_each_rung_is_continued_and_the_best_of_all_is_retrained(run, trainer):
    runner = run(BY_SIZE, trials=8)
    ended = runs_of(runner, "search")
    last = ended.sort_values("attempt").drop_duplicates("number", keep="last").set_index("number")
    assert Counter(last["state"]) == {"complete": 2, "pruned": 6}
    sizes = last["param.latent_size"].astype(int)
    assert sizes[last["state"] == "complete"].min() == sizes.min()
    assert last["reason"][last["state"] == "pruned"].str.contains(r"stopped at evaluation [24] of 8").all()
    assert {config.model.latent_size for config, _ in trainer.finals} == {sizes.min()}
    assert (ended.groupby("number").size() <= 3).all()


def test_the_same_command_again_trains_nothing(run, trainer):
    run(BY_SIZE, trials=8)
    done = len(trainer.trials), len(trainer.finals)
    run(BY_SIZE, trials=8)
    assert (len(trainer.trials), len(trainer.finals)) == done


def test_a_smaller_budget_than_the_study_has_had_trains_nothing(run, trainer):
    run(BY_SIZE, trials=4)
    done = len(trainer.trials), len(trainer.finals)
    assert run(BY_SIZE, trials=4, images=128 * 2).bound.study_id
    assert (len(trainer.trials), len(trainer.finals)) == done


def test_more_trials_compete_with_those_that_were_stopped(run, trainer):
    run(BY_SIZE, trials=2)
    runner = run(BY_SIZE, trials=8)
    ended = runs_of(runner, "search")
    best = ended["param.latent_size"].astype(int).min()
    assert (ended["param.latent_size"].astype(int)[ended["state"] == "complete"] == best).any()


def test_time_that_ends_before_any_trial_does_leaves_the_one_that_came_furthest(run, trainer, monkeypatch):
    monkeypatch.setattr("bench.search.sampler.targets", lambda done, levels, trials: dict.fromkeys(range(trials), 2))
    runner = run(BY_SIZE, trials=3)
    sizes = runs_of(runner, "search")["param.latent_size"].astype(int)
    assert {config.model.latent_size for config, _ in trainer.finals} == {sizes.min()}


def curves(runner):
    """The values of each evaluation of the last attempt at each trial and final run, by what it trained."""
    results = load_results(runner.bound.settings.tracking, runner.bound.study_id)
    last = results.runs.sort_values("attempt").drop_duplicates(["role", "number", "config_hash", "seed"], keep="last")
    points = results.histories[~results.histories["metric"].str.contains("seconds")]
    return {
        (run.role, run.config_hash, run.seed): points[points["run_id"] == run.run_id]
        .sort_values(["metric", "step"])[["metric", "step", "value"]]
        .to_numpy()
        .tolist()
        for run in last.itertuples()
    }


def test_a_promoted_trial_equals_one_that_was_never_stopped(run, digits):
    runner = run(trials=4)
    complete = runs_of(runner, "search").query("state == 'complete'")
    assert complete["attempt"].astype(int).max() == 3
    found = curves(runner)
    for each in complete.itertuples():
        values = {"learning_rate": float(complete.loc[each.Index, "param.learning_rate"])}
        config, records = runner.bound.configure(runner.bound.study.arms[0], values), []
        bench.execution.trial.run_trial(config, digits.tuning, each.seed, 2, records.append)
        whole = [[name, r.evaluation, value] for r in records for name, value in r.values.items() if "bits" in name]
        assert found["search", config.hash, each.seed] == sorted(whole)


def test_a_study_extended_to_three_times_its_budget_trains_no_step_again(run, taken):
    run(trials=2)
    first = len(taken)
    extended = run(trials=2, images=128 * 24)
    # Left were, of the final run and of a trial, what follows the eighth interval; and of a trial that was stopped at a
    # rung, what follows that.
    assert taken[first:].count(8) <= 2
    assert min(taken[first:]) >= 2
    final = runs_of(extended, "final").sort_values("attempt")
    assert final["state"].tolist() == ["complete"] * 2
    assert final["attempt"].astype(int).tolist() == [1, 2]


def test_a_final_run_that_is_extended_equals_one_of_that_budget(run, tmp_path):
    unswept = Study(name="unswept", question="How low?", arms=(Arm(SMALL, training=TRAINING),))
    run(unswept)
    extended = curves(run(unswept, images=128 * 24))
    training = TRAINING.model_copy(update={"evaluations": 24})
    whole = Study(name="unswept", question="How low?", arms=(Arm(SMALL, training=training),))
    assert extended == curves(run(whole, output=tmp_path / "two", images=128 * 24))


def test_the_test_bound_at_each_share_of_a_budget_is_that_of_a_run_of_this_budget(run, tmp_path):
    def measured(evaluations, name, **settings):
        training = TRAINING.model_copy(update={"evaluations": evaluations})
        study = Study(name="budgets", question="How low?", arms=(Arm(SMALL, training=training),))
        runner = run(study, output=tmp_path / name, images=128 * evaluations, **settings)
        table = load_results(runner.bound.settings.tracking, runner.bound.study_id).tables["budgets"]
        return table.sort_values("evaluation").set_index("evaluation")

    whole, half = measured(16, "whole"), measured(8, "half")
    assert whole.index.tolist() == [2, 4, 8, 16]
    assert half.index.tolist() == [1, 2, 4, 8]
    columns = ["images", "bits_per_dim", "standard_error", "importance_samples"]
    assert half.loc[[2, 4, 8], columns].equals(whole.loc[[2, 4, 8], columns])
    assert whole["images"].tolist() == [128 * evaluation for evaluation in whole.index]
    assert whole["bits_per_dim"].is_monotonic_decreasing


def test_few_checkpoints_outlast_a_study(run, trainer, tmp_path, monkeypatch):
    assert CHECKPOINTS_KEPT >= 8
    monkeypatch.setattr("bench.execution.session.CHECKPOINTS_KEPT", 1)
    runner = run(BY_SIZE, trials=4)
    folder = tmp_path / "one" / "checkpoints" / runner.bound.study_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vae-0.npz", "vae-1.npz", "vae-2.npz", "vae-3.npz"):
        (folder / name).touch()
    run(BY_SIZE, trials=4)
    assert len(list(folder.glob("vae-*.npz"))) == 1


def test_a_schedule_that_depends_on_the_budget_keeps_no_checkpoint(run, tmp_path):
    cosine = Arm(SMALL, {"latent_size": Integers(2, 3)}, TrainingConfig(decay="cosine"))
    runner = run(Study(name="cosine", question="?", arms=(cosine,)), trials=2)
    folder = tmp_path / "one" / "checkpoints" / runner.bound.study_id
    assert not list(folder.glob("*.npz"))
    assert np.isfinite(runs_of(runner, "final")["seconds"].astype(float)).all()
