"""Successive halving in a whole study, and budgets that grow: with a stand-in for training, and with real training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import bench.execution.trial
import bench.execution.worker
import bench.training.loop
from bench.core.errors import DivergedError, SettingsError
from bench.core.results import RunState
from bench.core.signals import StopRequest
from bench.execution.coordinator import Coordinator
from bench.execution.executors.base import InProcess
from bench.execution.session import CHECKPOINTS_KEPT
from bench.execution.worker import Worker
from bench.search.queue import DIED
from bench.search.storage import open_storage
from bench.search.study_record import list_studies
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


def sizes_of(attempts):
    return [each.values["latent_size"] for each in attempts if each.state is not None]


@pytest.fixture
def run(start, digits, tmp_path, measured_by_likelihood):
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
    assert ended.groupby("number").size().value_counts().to_dict() == {1: 4, 2: 2, 3: 2}


@pytest.mark.usefixtures("unlogged")
def test_a_budget_that_was_given_by_mistake_is_forgotten(run, start, digits, tmp_path, trainer):
    begun = run(BY_SIZE, trials=2)
    start(BY_SIZE, digits, tmp_path / "one", pruner="halving", trials=2, images=128 * 800)
    assert run(BY_SIZE, trials=2).shared.bound.base(BY_SIZE.arms[0]) == begun.shared.bound.base(BY_SIZE.arms[0])


@pytest.mark.usefixtures("unlogged")
def test_a_budget_of_too_many_evaluations_is_refused(run, start, digits, tmp_path, trainer):
    run(BY_SIZE, trials=2)
    with pytest.raises(SettingsError, match=r"vae: 12,800,000 images .* 100,000 evaluations of the 128 images"):
        start(BY_SIZE, digits, tmp_path / "one", pruner="halving", trials=2, images=128 * 100_000)


@pytest.mark.usefixtures("unlogged")
def test_final_runs_are_not_given_out_while_trials_train(run, start, digits, tmp_path, trainer):
    run(BY_SIZE, trials=2)
    larger = start(BY_SIZE, digits, tmp_path / "one", pruner="halving", trials=4)
    larger.shared.record.finals.set_open(True)
    seen, real = [], trainer.run_trial

    def watched(*arguments):
        seen.append(larger.shared.record.finals.is_open)
        return real(*arguments)

    trainer.run_trial = watched
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.execution.worker, "run_trial", watched)
        larger.run(digits)
    assert seen
    assert not any(seen)


@pytest.mark.usefixtures("unlogged")
def test_checkpoints_that_no_trial_needs_go_while_a_search_runs(run, trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.execution.session.CHECKPOINTS_KEPT", 1)
    runner = run(BY_SIZE, trials=8, pruner="none")
    folder = tmp_path / "one" / "checkpoints" / runner.bound.study_id
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        (folder / f"vae-{number}.npz").touch()
    runner.shared.tidy_search("vae")
    assert len(list(folder.glob("vae-*.npz"))) == 1


@pytest.mark.usefixtures("unlogged")
def test_the_same_command_again_trains_nothing(run, trainer):
    run(BY_SIZE, trials=8)
    done = len(trainer.trials), len(trainer.finals)
    run(BY_SIZE, trials=8)
    assert (len(trainer.trials), len(trainer.finals)) == done


@pytest.mark.usefixtures("unlogged")
def test_a_smaller_budget_than_the_study_has_had_trains_nothing(run, trainer):
    run(BY_SIZE, trials=4)
    done = len(trainer.trials), len(trainer.finals)
    assert run(BY_SIZE, trials=4, images=128 * 2).bound.study_id
    assert (len(trainer.trials), len(trainer.finals)) == done


@pytest.mark.usefixtures("unlogged")
def test_more_trials_compete_with_those_that_were_stopped(run, trainer):
    run(BY_SIZE, trials=2)
    runner = run(BY_SIZE, trials=8)
    search = runner.searches["vae"]
    assert min(sizes_of(search.attempts())) in sizes_of(search.complete())


@pytest.mark.usefixtures("unlogged")
def test_time_that_ends_before_any_trial_does_leaves_the_one_that_came_furthest(run, trainer, monkeypatch):
    monkeypatch.setattr(
        "bench.search.sampler.targets", lambda done, levels, trials, *_: dict.fromkeys(range(trials), 2)
    )
    sizes = sizes_of(run(BY_SIZE, trials=3).searches["vae"].attempts())
    assert {config.model.latent_size for config, _ in trainer.finals} == {min(sizes)}


@pytest.mark.usefixtures("unlogged")
def test_the_same_command_continues_a_search_whose_time_ended_at_a_rung(run, trainer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bench.search.sampler.targets", lambda done, levels, trials, *_: dict.fromkeys(range(trials), 2))
        run(BY_SIZE, trials=4)
    runner = run(BY_SIZE, trials=4)
    attempts = runner.searches["vae"].attempts()
    assert sorted(each.evaluations for each in attempts) == [2, 2, 2, 2, 4, 4, 8]
    assert {config.model.latent_size for config, _ in trainer.finals} == {
        runner.searches["vae"].best().values["latent_size"]
    }


@pytest.mark.usefixtures("unlogged")
def test_a_larger_budget_continues_what_a_pruner_of_optunas_left_and_nothing_else(run, trainer):
    trainer.lag = {5}
    run(BY_SIZE, trials=6, pruner="MedianPruner")
    before = len(trainer.trials)
    search = run(BY_SIZE, trials=6, pruner="MedianPruner", images=128 * 16).searches["vae"]
    assert len(trainer.trials) - before == 5
    assert [each.number for each in search.attempts() if each.evaluations == 16] == [0, 1, 2, 3, 4]
    # One of them may be pruned beyond what it had completed, which still counts.
    assert sorted(each.number for each in search.complete()) == [0, 1, 2, 3, 4]


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


def test_a_promoted_trial_equals_one_that_was_never_stopped(run, digits, taken):
    """Promoted by the search, and by hand."""
    runner = run(trials=4)
    stopped = [each.number for each in runner.searches["vae"].settled().values() if each.stopped_at == 2]
    trained = len(taken)
    runner = run(trials=4, promote=[f"vae:{max(stopped)}"])
    assert "stopped at evaluation 2, and continues from its checkpoint" in said(runner)
    assert taken[trained : trained + 6] == [2, 3, 4, 5, 6, 7]
    complete = runs_of(runner, "search").query("state == 'complete'")
    assert complete["attempt"].astype(int).max() == 3
    assert max(stopped) in complete["number"].tolist()
    found = curves(runner)
    for each in complete.itertuples():
        values = {"learning_rate": float(complete.loc[each.Index, "param.learning_rate"])}
        config, records = runner.bound.configure(runner.bound.study.arms[0], values), []
        bench.execution.trial.run_trial(config, digits.tuning, each.seed, 2, records.append)
        whole = [[name, r.evaluation, value] for r in records for name, value in r.values.items() if "bits" in name]
        assert found["search", config.hash, each.seed] == sorted(whole)


@pytest.fixture
def stopped(run):
    """A study that ended, and the number of a trial that was stopped at its first rung."""
    runner = run(BY_SIZE, trials=4)
    return runner, max(each.number for each in runner.searches["vae"].settled().values() if each.stopped_at == 2)


def said(runner):
    return runner.progress.console.file.getvalue()


def test_a_promotion_by_hand_takes_no_place_is_given_once_and_is_logged(trainer, stopped, run):
    runner, number = stopped
    best = runner.searches["vae"].best().number
    before = {each.number: each.reached for each in runner.searches["vae"].settled().values()}
    done = len(trainer.trials)
    promoted = run(BY_SIZE, trials=4, promote=[f"vae:{number}", f"vae:{best}"])
    assert len(trainer.trials) == done + 1
    after = {each.number: each.reached for each in promoted.searches["vae"].settled().values()}
    assert after == before | {number: 8}
    # The stand-in leaves no checkpoint.
    assert (
        f"vae:{number} is promoted by hand: it was stopped at evaluation 2, and begins again, as no checkpoint of it "
        "is here"
    ) in said(promoted)
    assert f"vae:{best} is trained to the whole budget already" in said(promoted)
    assert promoted.searches["vae"].promoted == {number: 2}
    results = load_results(promoted.bound.settings.tracking, promoted.bound.study_id)
    assert results.promoted == {"vae": [number]}
    assert "promote" not in results.settings
    assert promoted.bound.study_id == runner.bound.study_id
    larger = run(BY_SIZE, trials=4, images=128 * 16).searches["vae"]
    assert larger.settled()[number].reached == 16


@pytest.mark.usefixtures("unlogged")
def test_a_promoted_trial_that_is_the_best_at_the_end_is_selected_and_retrained(run, trainer):
    trainer.lag = {0}
    earlier = run(BY_SIZE, trials=4).searches["vae"]
    assert earlier.settled()[0].reached == 2
    assert earlier.best().values["latent_size"] > 2
    retrained = len(trainer.finals)
    assert run(BY_SIZE, trials=4, promote=["vae:0"]).searches["vae"].best().number == 0
    assert [config.model.latent_size for config, _ in trainer.finals[retrained:]] == [2]


def test_a_study_that_has_not_begun_has_nothing_to_promote(start, digits, tmp_path):
    with pytest.raises(SettingsError, match=r"promote=vae:1: sized-digits-\w+ has not begun, and has no trials yet"):
        start(BY_SIZE, digits, tmp_path / "one", pruner="halving", images=128 * 8, promote=["vae:1"])
    assert list_studies(open_storage(str(tmp_path / "one" / "search.journal"))) == []


@pytest.mark.usefixtures("unlogged")
def test_a_promotion_that_was_interrupted_needs_no_second_one(trainer, stopped, run):
    _, number = stopped

    def stop():
        raise KeyboardInterrupt

    trainer.accidents = {len(trainer.trials): stop}
    with pytest.raises(KeyboardInterrupt):
        run(BY_SIZE, trials=4, promote=[f"vae:{number}"])
    trainer.accidents = {len(trainer.trials): diverge}
    lost = run(BY_SIZE, trials=4)
    assert lost.searches["vae"].settled()[number].state == RunState.DIVERGED
    # It is given once, whatever became of it.
    done = len(trainer.trials)
    again = run(BY_SIZE, trials=4, promote=[f"vae:{number}"])
    assert f"vae:{number} was promoted before, and ended since: diverged, loss became nan" in said(again)
    assert len(trainer.trials) == done


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
    assert final["continued_from"].astype(int).tolist() == [0, 8]


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


@pytest.mark.slow
def test_a_checkpoint_that_is_older_or_damaged_costs_time_and_changes_no_result(run, tmp_path, taken):
    """As a process that was paused for long writes it over a newer one, or a disk that loses what it was given."""
    unswept = Study(name="unswept", question="How low?", arms=(Arm(SMALL, training=TRAINING),))
    (tmp_path / "one").mkdir()

    def extended(evaluations):
        before = len(taken)
        runner = run(unswept, images=128 * evaluations)
        return curves(runner), taken[before:], next((tmp_path / "one" / "checkpoints").rglob("final-0.npz"))

    # Ten evaluations are the first budget's by default: the interval is that of the whole study.
    _, _, file = extended(10)
    older = file.read_bytes()
    extended(12)
    file.write_bytes(older)
    _, trained, _ = extended(14)
    assert trained == [10, 11, 12, 13]
    file.write_bytes(file.read_bytes()[:-100])
    found, trained, _ = extended(16)
    assert trained == list(range(16))
    whole = Study(
        name="unswept", question="?", arms=(Arm(SMALL, training=TRAINING.model_copy(update={"evaluations": 16})),)
    )
    assert found == curves(run(whole, output=tmp_path / "two", images=128 * 16))


def test_what_a_larger_budget_left_on_disk_is_not_continued_by_one_that_it_is_too_long_for(run, taken, monkeypatch):
    """That budget was given by mistake, and stopped before any of its attempts counted."""
    monkeypatch.setattr("bench.training.checkpoint.LARGEST_SHARE", float("inf"))
    with monkeypatch.context() as patch:
        train = bench.training.loop._train_interval

        def stopped(*arguments):
            if len(taken) == 5:
                raise KeyboardInterrupt
            return train(*arguments)

        patch.setattr(bench.training.loop, "_train_interval", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(trials=1, pruner="none")
    runner = run(trials=1, pruner="none", images=128 * 2)
    # The trial and the final run, each from its start.
    assert taken[5:] == [0, 1, 0, 1]
    (trial,) = runner.searches["vae"].complete()
    assert trial.frozen.last_step == 2


@pytest.mark.usefixtures("unlogged")
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


@pytest.mark.slow
def test_a_schedule_that_depends_on_the_budget_keeps_no_checkpoint(run, tmp_path):
    cosine = Arm(SMALL, {"latent_size": Integers(2, 3)}, TrainingConfig(decay="cosine"))
    runner = run(Study(name="cosine", question="?", arms=(cosine,)), trials=2)
    folder = tmp_path / "one" / "checkpoints" / runner.bound.study_id
    assert not list(folder.glob("*.npz"))
    assert np.isfinite(runs_of(runner, "final")["seconds"].astype(float)).all()


def diverge():
    raise DivergedError("loss became nan")


@pytest.mark.usefixtures("unlogged")
def test_a_complete_trial_whose_continuation_diverges_still_counts(run, trainer):
    run(BY_SIZE, trials=2, pruner="none")
    trainer.accidents = {len(trainer.trials) + order: diverge for order in range(2)}
    runner = run(BY_SIZE, trials=2, pruner="none", images=128 * 16)
    search = runner.searches["vae"]
    assert [each.state for each in search.settled().values()] == [RunState.DIVERGED] * 2
    assert [each.evaluations for each in search.complete()] == [8, 8]
    assert {config.model.latent_size for config, _ in trainer.finals} == {search.best().values["latent_size"]}


@pytest.mark.usefixtures("unlogged")
def test_an_attempt_that_was_taken_away_leaves_the_checkpoint_that_another_continues(
    start, digits, trainer, tmp_path, monkeypatch
):
    runner, real, left = start(BY_SIZE, digits, tmp_path, pruner="halving", images=128 * 8), trainer.run_trial, []

    def train(config, data, seed, samples, on_evaluation, checkpoint, on_rescue, until=None):
        if until == 4 and not left:
            search = runner.searches["vae"]
            (running,) = [each for each in search.attempts() if each.state == RunState.RUNNING]
            search._take_back(running, RunState.INTERRUPTED, DIED)
            checkpoint.path.parent.mkdir(parents=True)
            checkpoint.path.touch()
            left.append(checkpoint.path)
        elif until == 4:
            left.append(checkpoint.path.exists())
        return real(config, data, seed, samples, on_evaluation, checkpoint, on_rescue, until)

    monkeypatch.setattr(bench.execution.worker, "run_trial", train)
    runner.run(digits)
    assert left[1:] == [True]


def test_a_worker_that_has_joined_before_the_budget_grew_trains_to_the_rungs_of_the_larger_one(
    run, start, digits, trainer, tmp_path
):
    run(BY_SIZE, trials=4)
    where = (BY_SIZE, digits, tmp_path / "one")
    earlier = start(*where, pruner="halving", trials=4, images=128 * 8)
    larger = start(*where, pruner="halving", trials=8, images=128 * 32)
    with StopRequest() as stop:
        worker = Worker(earlier.shared, digits, earlier.progress, stop)
        Coordinator(larger.shared, InProcess(worker), larger.progress, stop).run()
    assert earlier.shared.tracker.drain() == 0
    new = [each for each in larger.searches["vae"].attempts() if each.note["evaluations"] == 32]
    assert {each.evaluations for each in new} >= {2, 16, 32}
    assert all((each.state == RunState.COMPLETE) == (each.evaluations == 32) for each in new)
    runs = runs_of(larger, "search").set_index(["number", "attempt"])
    images = {int(runs.loc[(each.number, each.attempt), "param.images"]) for each in new}
    assert images == {128 * 32}
