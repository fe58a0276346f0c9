"""A study from its first trial to its last final run, with a stand-in for training that takes no time.

What a trial would reach is written down as a function of its configuration, so that every test knows the answer.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import bench.execution.coordinator
import bench.execution.session
import bench.execution.study_tracking
import bench.execution.trial
import bench.execution.worker
import bench.study.serialization
import bench.tracking.logged_model
from bench.core.environment import SEARCH_BEGAN_VARIABLE
from bench.core.errors import (
    AlteredDataError,
    CheckpointError,
    DivergedError,
    LostTrialError,
    OutboxError,
    RestartRequiredError,
    SettingsError,
    StudyStoppedError,
    TrackingError,
)
from bench.core.results import RunState
from bench.core.signals import StopRequest
from bench.data.dataset import Dataset
from bench.data.shared import share
from bench.execution.coordinator import FAILURES_IN_A_ROW, Coordinator
from bench.runtime.provenance import code_version
from bench.search.heartbeat import Heartbeat
from bench.search.queue import DIED, MAX_DEATHS, NOT_BEGUN, Queue, Task
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, Study
from bench.study.search_space import Choices, Integers, Reals
from bench.tracking.model_run import ModelRun
from bench.tracking.reading.reader import load_results
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from tests.bench.execution.conftest import reached

pytestmark = pytest.mark.usefixtures("short_patience")
RECORD = SimpleNamespace(seconds_spent=0.0, seconds_of_arms={})


def results_of(runner):
    return load_results(runner.bound.settings.tracking, runner.bound.study_id)


def states(runner, role="search"):
    runs = results_of(runner).runs
    return runs[runs["role"] == role].groupby("arm")["state"].agg(list).to_dict()


def stored(runner, role="search"):
    """As :func:`states`, by what the storage holds."""
    if role == "search":
        return {arm: [each.state for each in search.attempts()] for arm, search in runner.searches.items()}
    ended = {arm: [] for arm in runner.searches}
    for each in runner.shared.record.finals.attempts():
        ended[each.note["arm"]].append(each.state)
    return {arm: found for arm, found in ended.items() if found}


def said(runner):
    return runner.progress.console.file.getvalue()


def raising(error):
    def accident():
        raise error

    return accident


def test_a_study_runs_its_trials_then_finals_of_the_best_of_each_arm(study_run, trainer):
    runner = study_run(trials=3, seeds=2)
    assert [config.model.family for config in trainer.trials] == ["vae"] * 3 + ["glow"] * 3
    best = {arm: min((c for c in trainer.trials if c.model.family == arm), key=reached) for arm in ("vae", "glow")}
    assert [config for config, _ in trainer.finals] == [best["vae"]] * 2 + [best["glow"]] * 2
    assert trainer.trials[0] == runner.bound.base(runner.bound.study.arms[0])
    results = results_of(runner)
    assert results.runs.groupby(["role", "state"]).size().to_dict() == {
        ("final", "complete"): 4,
        ("search", "complete"): 6,
    }
    assert "vae final, seed 2 of 2" in said(runner)


RATE = Reals(1e-3, 1e-2, log=True)
FOUR = Study(
    name="four",
    question="Which of four?",
    sampler="qmc",
    arms=(
        Arm(VAEConfig(latent_size=2), {"latent_size": Integers(2, 16)}, name="dense"),
        # The very configuration that the search of the first arm finds best.
        Arm(VAEConfig(latent_size=2), name="fixed"),
        Arm(GlowConfig(hidden_channels=8), {"hidden_channels": Integers(4, 12), "learning_rate": RATE}, name="glow-a"),
        Arm(
            GlowConfig(hidden_channels=9),
            {
                "training.optimizer": Choices(("adam", "adamax")),
                "batch_size": Choices((64, 128)),
                "weight_decay": Reals(1e-3, 1e-1, log=True, when={"optimizer": "adamax"}),
            },
            TrainingConfig(batch_size=64),
            name="glow_b",
        ),
    ),
)


def test_arms_of_one_family_are_searched_selected_and_registered_by_their_names(
    start, digits, tmp_path, trainer, monkeypatch
):
    monkeypatch.setattr(bench.execution.study_tracking, "DRAIN_SECONDS", 30.0)
    runner = start(FOUR, digits, tmp_path, trials=4, seeds=2, batch_size=None)
    runner.run(digits)
    # An arm of which nothing is swept has no trial.
    assert {name: len(each) for name, each in states(runner).items()} == {"dense": 4, "glow-a": 4, "glow_b": 4}
    assert states(runner, "final") == {arm.name: ["complete"] * 2 for arm in FOUR.arms}
    results = results_of(runner)
    assert results.arms == {"dense": "vae", "fixed": "vae", "glow-a": "glow", "glow_b": "glow"}
    finals = results.runs[results.runs["role"] == "final"].groupby("arm")
    searched = results.runs[results.runs["role"] == "search"].groupby("arm")
    for arm in ("dense", "glow-a", "glow_b"):
        assert set(finals.get_group(arm)["config_hash"]) < set(searched.get_group(arm)["config_hash"])
    assert finals["config_hash"].nunique().eq(1).all()
    assert finals["seed"].agg(tuple).nunique() == 1
    assert finals.get_group("dense")["config_hash"].iloc[0] == finals.get_group("fixed")["config_hash"].iloc[0]
    tags = MlflowClient(runner.bound.settings.tracking).get_run(runner.parent.run_id).data.tags
    selected = json.loads(tags["reparam.selected"])
    assert {name: each["number"] is None for name, each in selected.items()} == {
        "dense": False,
        "fixed": True,
        "glow-a": False,
        "glow_b": False,
    }
    assert "not registered" not in said(runner)
    assert {arm: run.data.tags["reparam.arm"] for arm, (run, _) in champions(runner, selected).items()} == {
        arm: arm for arm in selected
    }


def test_a_conditional_parameter_is_logged_of_the_runs_in_which_it_is_swept_alone(start, digits, tmp_path, trainer):
    only = replace(FOUR, arms=FOUR.arms[3:])
    runner = start(only, digits, tmp_path, trials=8, batch_size=None)
    runner.run(digits)
    runs = results_of(runner).runs
    assert set(runs["param.optimizer"]) == {"adam", "adamax"}
    assert set(runs["param.batch_size"].astype(int)) == {64, 128}
    assert (runs["param.weight_decay"].notna() == (runs["param.optimizer"] == "adamax")).all()
    by_hash = {config.hash: config for config in trainer.trials}
    for _, run in runs[runs["role"] == "search"].iterrows():
        training = by_hash[run["config_hash"]].training
        assert training.optimizer == run["param.optimizer"]
        assert training.batch_size == int(run["param.batch_size"])
        if training.optimizer == "adamax":
            assert training.weight_decay == pytest.approx(float(run["param.weight_decay"]))
    # The same command finds what conditions left out.
    trainer.trials.clear(), trainer.finals.clear()
    start(only, digits, tmp_path, trials=8, batch_size=None).run(digits)
    assert (trainer.trials, trainer.finals) == ([], [])


@pytest.mark.usefixtures("unlogged")
def test_final_runs_of_all_arms_use_the_same_seeds_each_another_than_the_last(study_run, trainer):
    study_run(seeds=3)
    seeds = [seed for _, seed in trainer.finals]
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3


def test_the_same_command_again_does_no_new_run(study_run, trainer):
    first = results_of(study_run())
    trainer.trials.clear(), trainer.finals.clear()
    again = results_of(study_run())
    assert (trainer.trials, trainer.finals) == ([], [])
    assert again.runs.equals(first.runs)
    assert again.measurements.equals(first.measurements)


@pytest.mark.usefixtures("unlogged")
def test_more_trials_add_only_what_is_missing(study_run, trainer):
    study_run(trials=2)
    two = list(trainer.trials)
    trainer.trials.clear()
    runner = study_run(trials=5)
    assert [config.model.family for config in trainer.trials] == ["vae"] * 3 + ["glow"] * 3
    assert len({config.hash for config in [*two, *trainer.trials]}) == 10
    assert stored(runner) == {"vae": ["complete"] * 5, "glow": ["complete"] * 5}


@pytest.mark.usefixtures("unlogged")
def test_a_study_continued_trial_by_trial_trains_what_one_in_one_go_does(start, tiny_study, digits, tmp_path, trainer):
    for trials in (1, 2, 3, 4):
        start(tiny_study, digits, tmp_path / "parts", trials=trials).run(digits)
    parts = sorted(config.hash for config in trainer.trials)
    trainer.trials.clear()
    start(tiny_study, digits, tmp_path / "whole", trials=4).run(digits)
    assert sorted(config.hash for config in trainer.trials) == parts


@pytest.mark.usefixtures("unlogged")
def test_more_seeds_add_only_final_runs(study_run, trainer):
    study_run(seeds=1)
    trainer.trials.clear(), trainer.finals.clear()
    runner = study_run(seeds=3)
    assert (len(trainer.trials), len(trainer.finals)) == (0, 4)
    assert stored(runner, "final") == {"vae": ["complete"] * 3, "glow": ["complete"] * 3}


def test_a_better_configuration_found_later_is_retrained_and_the_old_finals_are_superseded(
    study_run, trainer, monkeypatch
):
    # As many runs take longer to upload where other processes share the machine.
    monkeypatch.setattr(bench.execution.study_tracking, "DRAIN_SECONDS", 30.0)
    study_run(trials=1)
    runner = study_run(trials=12)
    results = results_of(runner)
    assert (results.runs["role"] == "superseded").sum() == 2 == results.settings["superseded_final_runs"]
    finals = results.runs[results.runs["role"] == "final"].set_index("arm")
    for arm in ("vae", "glow"):
        best = min((c for c in trainer.trials if c.model.family == arm), key=reached)
        assert finals.loc[arm, "config_hash"] == best.hash


ACCIDENTS = {
    "diverged": (DivergedError("loss became nan at step 3"), "loss became nan at step 3"),
    "host memory": (MemoryError(), "the host ran out of memory"),
    "device memory": (RuntimeError("RESOURCE_EXHAUSTED: 3 GiB\nmore"), "RESOURCE_EXHAUSTED: 3 GiB"),
    "failed": (ValueError("bad\nluck"), "ValueError: bad"),
    "failed silently": (RuntimeError(), "RuntimeError: no message"),
}
ENDS = {"diverged": "diverged", "host memory": "out_of_memory", "device memory": "out_of_memory"}


def test_a_trial_that_fails_ends_in_a_typed_state_with_its_reason_and_the_study_goes_on(study_run, trainer):
    trials = len(ACCIDENTS) + 2
    trainer.accidents = {number: raising(error) for number, (error, _) in enumerate(ACCIDENTS.values(), 1)}
    runner = study_run(trials=trials)
    ends = ["complete", *(ENDS.get(accident, "failed") for accident in ACCIDENTS), "complete"]
    assert states(runner) == {"vae": ends, "glow": ["complete"] * trials}
    assert [trial.state for trial in runner.searches["vae"].attempts()] == ends
    rows = results_of(runner).runs.query("role == 'search' and arm == 'vae'").set_index("number")
    for number, (_, reason) in enumerate(ACCIDENTS.values(), 1):
        assert rows.loc[number, "reason"] == reason
        assert f"{ends[number]}, {reason}" in said(runner)
    assert len(trainer.finals) == 2


@pytest.mark.usefixtures("unlogged")
def test_a_rescue_from_divergence_is_said_at_once_with_the_name_of_its_trial(study_run, trainer):
    trainer.rescued = {1}
    text = " ".join(said(study_run(trials=2)).split())
    what = "training loss became nan at step 1: rescue 1 of 2, from the start at the learning rate 0.1"
    assert text.count(what) == 1
    assert re.search(rf"vae #1 [^:]*: {what}", text)


def test_a_model_that_cannot_be_built_leaves_its_traceback(study_run, trainer, monkeypatch, tmp_path, digits):
    def build_model(*arguments):
        raise ValueError("the pieces do not fit")

    real = bench.execution.trial.run_trial
    monkeypatch.setattr(bench.execution.trial, "build_model", build_model)
    trainer.accidents = {1: lambda: real(trainer.trials[1], digits.tuning, 0, 2, lambda record: None)}
    runner = study_run()
    row = results_of(runner).runs.query("state == 'failed'").iloc[0]
    assert row["reason"] == "ValueError: the pieces do not fit"
    client = MlflowClient(tracking_uri=runner.bound.settings.tracking)
    with open(client.download_artifacts(row["run_id"], "traceback.txt", str(tmp_path))) as file:  # noqa: PTH123
        assert "in build_model" in file.read()


@pytest.mark.usefixtures("unlogged")
def test_a_trial_that_lags_behind_is_pruned_and_counted_but_never_selected(study_run, trainer):
    trainer.lag = {5}
    runner = study_run(trials=6, images=128 * 8, pruner="MedianPruner")
    assert stored(runner)["vae"] == ["complete"] * 5 + ["pruned"]
    assert runner.parent.runs[5].ended == ["pruned"]
    assert "stopped by the pruner" in runner.searches["vae"].attempts()[5].reason
    assert len(runner.searches["vae"].settled()) == 6


@pytest.mark.usefixtures("unlogged")
def test_a_final_run_that_fails_is_counted_and_not_repeated(study_run, trainer):
    trainer.accidents = {-1: raising(DivergedError("loss became nan"))}
    runner = study_run()
    assert stored(runner, "final") == {"vae": ["diverged"], "glow": ["diverged"]}
    assert "no vae final run completed (1 diverged; the last one by: loss became nan)" in said(runner)
    assert runner.parent.ended == [RunState.FAILED]
    trainer.finals.clear()
    study_run()
    assert trainer.finals == []


@pytest.mark.usefixtures("unlogged")
def test_failures_one_after_the_other_stop_the_study_with_their_reason(
    study_run, trainer, tmp_path, start, tiny_study, digits
):
    trainer.accidents = dict.fromkeys(range(1, 99), raising(ValueError("no space left")))
    runner = start(tiny_study, digits, tmp_path, trials=FAILURES_IN_A_ROW + 5)
    with pytest.raises(StudyStoppedError, match=rf"^{FAILURES_IN_A_ROW} vae trials in a row failed"):
        runner.run(digits)
    assert len(trainer.trials) == 1 + FAILURES_IN_A_ROW
    assert "ValueError: no space left" in said(runner)
    assert runner.parent.ended == [RunState.FAILED]


@pytest.mark.parametrize(
    ("reason", "where"),
    [
        ("ValueError: no luck", "; its traceback is the artifact traceback.txt of its MLflow run"),
        (f"{NOT_BEGUN}x", "; its traceback is in the log of the process that claimed it"),
    ],
)
def test_the_traceback_of_failures_is_where_the_message_says(reason, where):
    attempts = [
        SimpleNamespace(
            ended=number, state=RunState.FAILED, reason=reason, could_begin=not reason.startswith(NOT_BEGUN)
        )
        for number in range(FAILURES_IN_A_ROW)
    ]
    search = SimpleNamespace(settled=lambda: dict(enumerate(attempts)))
    coordinator = Coordinator(SimpleNamespace(searches={"vae": search}, record=RECORD), None, None, StopRequest())
    with pytest.raises(StudyStoppedError, match=f"the last one by: {reason}{where}$"):
        coordinator._check_failures("vae")


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("between", [None, DivergedError("nan")], ids=["a success", "a divergence"])
def test_failures_with_something_else_between_them_do_not_stop_the_study(study_run, trainer, between):
    trainer.accidents = dict.fromkeys(range(1, 9), raising(ValueError("no luck")))
    if between is None:
        del trainer.accidents[4]
    else:
        trainer.accidents[4] = raising(between)
    runner = study_run(trials=9, pruner="none")
    assert stored(runner)["vae"].count("failed") == 7
    assert stored(runner)["glow"] == ["complete"] * 9


DIVERGED = DivergedError("loss became nan")
NO_VAE = (
    r"none of the 3 vae trials completed \(3 diverged; the last one by: loss became nan\): against divergence sweep"
)


def test_an_arm_without_any_complete_trial_is_said_at_the_end_and_the_others_are_answered(
    start, tiny_study, digits, tmp_path, trainer
):
    trainer.accidents = dict.fromkeys(range(3), raising(DIVERGED))
    runner = start(tiny_study, digits, tmp_path, trials=3, seeds=2)
    afterwards = []
    unanswered = runner.run(digits, lambda: afterwards.append(len(trainer.finals)))
    assert re.match(NO_VAE, unanswered)
    assert f"vae has no final runs: {unanswered}" in said(runner)
    assert afterwards == [2]
    assert states(runner) == {"vae": ["diverged"] * 3, "glow": ["complete"] * 3}
    assert states(runner, "final") == {"glow": ["complete"] * 2}
    tags = MlflowClient(runner.bound.settings.tracking).get_run(runner.parent.run_id)
    assert list(json.loads(tags.data.tags["reparam.selected"])) == ["glow"]
    assert tags.info.status == "FAILED"
    # The same command does nothing twice, and says the same.
    trainer.trials.clear(), trainer.finals.clear()
    assert start(tiny_study, digits, tmp_path, trials=3, seeds=2).run(digits) == unanswered
    assert (trainer.trials, trainer.finals) == ([], [])
    # More trials may find one that completes.
    trainer.accidents = {}
    runner = start(tiny_study, digits, tmp_path, trials=4, seeds=2)
    assert runner.run(digits) == ""
    assert states(runner, "final")["vae"] == ["complete"] * 2
    assert MlflowClient(runner.bound.settings.tracking).get_run(runner.parent.run_id).info.status == "FINISHED"


@pytest.mark.usefixtures("unlogged")
def test_a_study_that_is_interrupted_with_an_arm_unanswered_continues_with_the_others(
    start, tiny_study, digits, tmp_path, trainer
):
    trainer.accidents = {**dict.fromkeys(range(3), raising(DIVERGED)), -1: raising(KeyboardInterrupt)}
    with pytest.raises(KeyboardInterrupt):
        start(tiny_study, digits, tmp_path, trials=3).run(digits)
    trainer.accidents = {}
    trainer.trials.clear(), trainer.finals.clear()
    assert re.match(NO_VAE, start(tiny_study, digits, tmp_path, trials=3).run(digits))
    assert (len(trainer.trials), len(trainer.finals)) == (0, 1)


@pytest.mark.usefixtures("unlogged")
def test_a_study_of_which_no_arm_has_a_complete_trial_stops_with_the_reason_of_each(
    start, tiny_study, digits, tmp_path, trainer
):
    trainer.accidents = {
        **dict.fromkeys(range(3), raising(DIVERGED)),
        **dict.fromkeys(range(3, 6), raising(MemoryError())),
    }
    runner = start(tiny_study, digits, tmp_path, trials=3)
    with pytest.raises(
        StudyStoppedError, match=rf"^{NO_VAE}.*; none of the 3 glow trials completed \(3 out of memory; "
    ):
        runner.run(digits)
    assert trainer.finals == []


@pytest.mark.usefixtures("unlogged")
def test_after_the_time_is_up_no_trial_begins_but_what_was_found_is_measured(study_run, trainer, monkeypatch):
    """Each trial takes one second of a clock that only trials move; both arms get their half of the time."""
    clock = SimpleNamespace(monotonic=lambda: float(len(trainer.trials)))
    monkeypatch.setattr(bench.execution.coordinator, "time", clock)
    runner = study_run(trials=50, timeout=6.0)
    # What is queued ahead has not begun.
    ended = {arm: [state for state in found if state == RunState.COMPLETE] for arm, found in stored(runner).items()}
    assert {arm: len(found) for arm, found in ended.items()} == {"vae": 3, "glow": 3}
    assert len(trainer.finals) == 2


@pytest.mark.usefixtures("unlogged")
def test_the_time_counts_on_while_a_process_that_has_grown_too_large_makes_way(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    clock = SimpleNamespace(monotonic=lambda: float(len(trainer.trials)))
    monkeypatch.setattr(bench.execution.coordinator, "time", clock)
    size = iter(range(0, 2**40, 600 * 2**20))
    monkeypatch.setattr(bench.execution.worker, "host_bytes", lambda: next(size, 0))
    monkeypatch.setattr(bench.execution.worker, "LEAST_TASKS", 3)
    for name in ("give_back_freed_memory", "forget_models"):
        monkeypatch.setattr(bench.execution.worker, name, lambda: None)
    monkeypatch.setenv(SEARCH_BEGAN_VARIABLE, "0.0")
    monkeypatch.delenv(SEARCH_BEGAN_VARIABLE)
    with pytest.raises(RestartRequiredError):
        start(tiny_study, digits, tmp_path, trials=50, timeout=8.0).run(digits)
    before = len(trainer.trials)
    assert 0 < before < 8
    monkeypatch.setattr(bench.execution.worker, "host_bytes", lambda: 0)
    start(tiny_study, digits, tmp_path, trials=50, timeout=8.0).run(digits)
    assert len(trainer.trials) == 8
    assert SEARCH_BEGAN_VARIABLE not in os.environ


@pytest.mark.usefixtures("unlogged")
def test_a_time_too_short_for_any_trial_is_named_as_such(start, tiny_study, digits, tmp_path, trainer):
    with pytest.raises(StudyStoppedError, match=r"timeout=1e-09 ended before any vae trial did"):
        start(tiny_study, digits, tmp_path, timeout=1e-9).run(digits)


def test_an_interrupted_trial_is_marked_and_its_values_are_trained_by_the_same_command(
    start, tiny_study, digits, tmp_path, trainer, study_run
):
    trainer.accidents = {1: raising(KeyboardInterrupt)}
    stopped = start(tiny_study, digits, tmp_path, trials=3)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(digits)
    client = MlflowClient(tracking_uri=stopped.bound.settings.tracking)
    assert client.get_run(stopped.parent.run_id).info.status == "KILLED"
    trainer.accidents.clear()
    runner = study_run(trials=3)
    assert trainer.trials[2] == trainer.trials[1]
    assert states(runner)["vae"] == ["complete", "interrupted", "complete", "complete"]
    hashes = results_of(runner).runs.query("role == 'search' and state == 'complete'")["config_hash"]
    assert hashes.is_unique


def test_an_interrupted_final_run_is_marked_and_done_again(start, tiny_study, digits, tmp_path, trainer, study_run):
    trainer.accidents = {-1: raising(KeyboardInterrupt)}
    with pytest.raises(KeyboardInterrupt):
        start(tiny_study, digits, tmp_path).run(digits)
    trainer.accidents.clear()
    runner = study_run()
    assert states(runner, "final") == {"vae": ["interrupted", "complete"], "glow": ["complete"]}


def test_a_final_run_that_is_taken_away_while_it_is_measured_ends_there(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    runner, taken, lost = start(tiny_study, digits, tmp_path), [], []

    def take_away():
        finals = runner.shared.record.finals
        if not taken:
            taken.extend(each for each in finals.attempts() if each.state == RunState.RUNNING)
            finals._take_back(taken[0], RunState.INTERRUPTED, DIED)
            lost.append(True)

    # The next heartbeat finds it; of the attempt that follows none does.
    monkeypatch.setattr(Heartbeat, "lost", property(lambda heartbeat: bool(lost and lost.pop())))
    trainer.accidents = {-1: take_away}
    runner.run(digits)
    assert "vae final, seed 1 of 1 was reassigned to another process" in said(runner)
    assert states(runner, "final") == {"vae": ["interrupted", "complete"], "glow": ["complete"]}


def swallowed(number: int) -> None:
    """A signal that arrives in a callback of the garbage collector, where Python ignores what is raised."""

    class Node:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    Node()


def translated(number: int) -> None:
    """A signal that arrives in a data pipeline, which raises an error of its own."""
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        raise RuntimeError("UnknownError: KeyboardInterrupt") from None


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("arrives", [lambda number: os.kill(os.getpid(), number), swallowed, translated])
@pytest.mark.parametrize("role", ["search", "final"])
def test_a_signal_is_an_interruption_wherever_it_arrives(
    start, tiny_study, digits, tmp_path, trainer, capfd, number, arrives, role
):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    trainer.accidents = {0 if role == "search" else -1: lambda: arrives(number)}
    runner = start(tiny_study, digits, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        runner.run(digits)
    assert RunState.INTERRUPTED in stored(runner, role)["vae"]
    assert runner.parent.runs[-1].ended == runner.parent.ended == [RunState.INTERRUPTED]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert "Traceback" not in capfd.readouterr().err


def test_a_trial_that_has_ended_counts_even_if_its_process_died_before_closing_its_run_which_gives_no_reason(
    start, tiny_study, digits, tmp_path, trainer, study_run, monkeypatch
):
    """The run was taken for interrupted."""
    with monkeypatch.context() as patch:
        patch.setattr(ModelRun, "finish", lambda *arguments: raising(KeyboardInterrupt)())
        with pytest.raises(KeyboardInterrupt):
            start(tiny_study, digits, tmp_path).run(digits)
    assert len(trainer.trials) == 1
    runner = study_run()
    assert states(runner) == {"vae": ["complete"] * 2, "glow": ["complete"] * 2}
    assert len(trainer.trials) == 4
    client = MlflowClient(tracking_uri=runner.bound.settings.tracking)
    (first,) = [run for run in runner.parent.children() if (run.arm, run.number) == ("vae", 0)]
    tags = client.get_run(first.run_id).data.tags
    assert (tags["reparam.state"], tags.get("reparam.reason", "")) == (RunState.COMPLETE, "")


@pytest.mark.usefixtures("unlogged")
def test_a_checkpoint_that_a_dying_process_left_of_a_settled_trial_is_removed_in_the_end(
    start, tiny_study, digits, tmp_path, trainer
):
    runner = start(tiny_study, digits, tmp_path)
    folder = tmp_path / "checkpoints" / runner.bound.study_id
    folder.mkdir(parents=True)
    left = [folder / ".glow-0.npz.abc.tmp"]
    of_no_settled_trial = [folder / name for name in ("vae-99.npz", "notes.txt")]
    that_a_larger_budget_continues = [folder / name for name in ("vae-1.npz", "final-0.npz")]
    for file in (*left, *of_no_settled_trial, *that_a_larger_budget_continues):
        file.touch()
    runner.run(digits)
    assert sorted(folder.iterdir()) == sorted([*of_no_settled_trial, *that_a_larger_budget_continues])


def test_a_run_that_was_created_again_after_its_attempt_had_ended_is_removed(
    start, tiny_study, digits, tmp_path, trainer
):
    runner = start(tiny_study, digits, tmp_path)

    def late() -> None:
        """The request that nobody waits for any more arrives."""
        client = runner.parent.client
        (first,) = [run for run in runner.parent.children() if (run.arm, run.number) == ("vae", 0)]
        tags = client.get_run(first.run_id).data.tags | {"reparam.state": RunState.RUNNING}
        client.create_run(runner.parent.experiment_id, tags=tags)

    trainer.accidents = {-1: late}
    runner.run(digits)
    keys = [run.key for run in runner.parent.children()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("problem", "raised"), [(OutboxError("disk full"), OutboxError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_process_that_cannot_begin_a_trial_gives_it_back_which_is_no_death(
    start, tiny_study, digits, tmp_path, trainer, study_run, monkeypatch, problem, raised
):
    with monkeypatch.context() as patch:
        patch.setattr(bench.tracking.parent_run.ParentRun, "start_run", lambda *_, **__: raising(problem)())
        for _ in range(MAX_DEATHS):
            runner = start(tiny_study, digits, tmp_path)
            with pytest.raises(raised):
                runner.run(digits)
    assert {each.state for each in runner.searches["vae"].attempts()} == {RunState.INTERRUPTED, None}
    assert [each.reason for each in runner.searches["vae"].attempts() if each.reason == DIED] == []
    assert states(study_run()) == {"vae": ["complete"] * 2, "glow": ["complete"] * 2}


@pytest.mark.usefixtures("unlogged")
def test_a_trial_that_is_lost_while_it_is_claimed_costs_the_worker_nothing_else(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    runner = start(tiny_study, digits, tmp_path)
    claim, lost = Queue.claim, []

    def sometimes_lost(queue):
        if not lost:
            lost.append(queue)
            raise LostTrialError("it was taken away")
        return claim(queue)

    monkeypatch.setattr(Queue, "claim", sometimes_lost)
    runner.run(digits)
    assert "it was taken away" in said(runner)
    assert stored(runner) == {"vae": ["complete"] * 2, "glow": ["complete"] * 2}


def test_a_study_goes_on_while_its_tracking_store_is_away_and_is_whole_once_it_is_back(
    start, tiny_study, digits, tmp_path, trainer, study_run, monkeypatch
):
    trainer.accidents = {1: raising(KeyboardInterrupt)}
    with pytest.raises(KeyboardInterrupt):
        start(tiny_study, digits, tmp_path).run(digits)
    trainer.accidents.clear()

    def away(*arguments, **named):
        raise MlflowException("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.tracking.tracker, "PAUSES", ())
        patch.setattr(bench.execution.study_tracking, "DRAIN_SECONDS", 0.1)
        for method in ("search_runs", "set_tag", "log_batch", "create_run", "get_experiment_by_name"):
            patch.setattr(MlflowClient, method, away)
        runner = start(tiny_study, digits, tmp_path)
        runner.run(digits)
    assert "it is away" in said(runner)
    trainer.trials.clear(), trainer.finals.clear()
    runner = study_run()
    assert (trainer.trials, trainer.finals) == ([], [])
    assert states(runner) == {"vae": ["complete", "interrupted", "complete"], "glow": ["complete"] * 2}
    assert set(champions(runner)) == {"vae", "glow"}
    tags = MlflowClient(tracking_uri=runner.bound.settings.tracking).get_run(runner.parent.run_id).data.tags
    assert "reparam.selected" in tags


def test_the_selection_is_recorded_before_the_test_split_is_opened_once(study_run, monkeypatch):
    events = []
    open_test, select = Dataset.open_test, bench.tracking.parent_run.ParentRun.select

    def recorded(event, method):
        def call(*arguments):
            events.append(event)
            return method(*arguments)

        return call

    monkeypatch.setattr(Dataset, "open_test", recorded("open", open_test))
    monkeypatch.setattr(bench.tracking.parent_run.ParentRun, "select", recorded("select", select))
    runner = study_run()
    assert events == ["select", "open"]
    tags = MlflowClient(tracking_uri=runner.bound.settings.tracking).get_run(runner.parent.run_id).data.tags
    assert '"number": ' in tags["reparam.selected"]


def test_every_run_shows_its_progress_and_its_headline(study_run):
    lines = said(study_run()).splitlines()
    assert lines[0].startswith("vae #0 latent_size=4 learning_rate=0.002: 2.0400 ± 0.0100 bits/dim on validation in ")
    assert len(lines) == 6


def test_an_unreachable_tracking_store_is_reported_before_any_trial(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("bench.tracking.tracker.PAUSES", (0.0, 0.0))
    with pytest.raises(TrackingError, match="cannot be reached"):
        start(tiny_study, digits, tmp_path, tracking_uri="http://127.0.0.1:1")
    assert trainer.trials == []


def test_what_goes_wrong_between_runs_ends_the_study_as_failed(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    runner = start(tiny_study, digits, tmp_path)
    monkeypatch.setattr(runner.parent, "select", lambda chosen: raising(OSError("disk full"))())
    with pytest.raises(OSError, match="disk full"):
        runner.run(digits)
    client = MlflowClient(tracking_uri=runner.bound.settings.tracking)
    run = client.get_run(runner.parent.run_id)
    assert (run.info.status, run.data.tags["reparam.state"]) == ("FAILED", RunState.FAILED)


def champions(runner, arms=("vae", "glow")):
    """By arm, the run of the registered model's champion, and its version."""
    client = MlflowClient(tracking_uri=runner.bound.settings.tracking)
    found = {}
    for arm in arms:
        version = client.get_model_version_by_alias(f"reparam-bench.{runner.bound.study_id}.{arm}", "champion")
        found[arm] = (client.get_run(version.run_id), int(version.version))
    return found


@pytest.mark.usefixtures("unlogged")
def test_with_fewer_seeds_those_that_waited_are_not_trained(start, tiny_study, digits, tmp_path, trainer, study_run):
    trainer.accidents = {-1: raising(KeyboardInterrupt)}
    with pytest.raises(KeyboardInterrupt):
        start(tiny_study, digits, tmp_path, trials=3, seeds=3).run(digits)
    trainer.accidents.clear(), trainer.finals.clear()
    runner = study_run(trials=3, seeds=1)
    assert len(trainer.finals) == 2
    complete = runner.shared.record.finals.complete()
    assert sorted((each.note["arm"], each.note["seed"]) for each in complete) == [("glow", 0), ("vae", 0)]
    trainer.finals.clear()
    study_run(trials=3, seeds=2)
    assert len(trainer.finals) == 2


def test_the_champion_is_the_final_run_that_validation_finds_best_whatever_it_reaches_on_test(
    study_run, trainer, monkeypatch
):
    monkeypatch.setattr(bench.execution.study_tracking, "DRAIN_SECONDS", 30.0)
    trainer.luck = [0.3, 0.1, 0.2]
    runner = study_run(seeds=3)
    for arm, (run, version) in champions(runner).items():
        assert run.info.run_name == f"{arm} final, seed 2 of 3"
        figures = run.data.metrics
        assert figures["test/bits_per_dim"] == max(
            other["value"]
            for _, other in results_of(runner).measurements.query("arm == @arm and split == 'test'").iterrows()
        )
        assert version == 1


def test_a_continued_study_registers_again_only_what_has_changed(study_run, trainer):
    first = champions(study_run(seeds=2))
    again = champions(study_run(seeds=2))
    assert {arm: (run.info.run_id, version) for arm, (run, version) in again.items()} == {
        arm: (run.info.run_id, version) for arm, (run, version) in first.items()
    }
    trainer.luck = [-1.0]
    later = champions(study_run(seeds=3))
    assert {(run.info.run_name[-6:], version) for run, version in later.values()} == {("3 of 3", 2)}


def test_a_store_without_a_registry_costs_the_study_a_line(study_run, monkeypatch):
    def refuse(*arguments, **options):
        raise MlflowException("no registry here")

    monkeypatch.setattr("bench.tracking.tracker.PAUSES", (0.0, 0.0))
    monkeypatch.setattr(MlflowClient, "create_registered_model", refuse)
    runner = study_run()
    lines = [line for line in said(runner).splitlines() if line.startswith("not registered: ")]
    assert len(lines) == 1
    assert re.fullmatch(
        r"not registered: tracking store sqlite:.* does not register 'reparam-bench\..*': no registry here", lines[0]
    )
    assert states(runner, "final") == {"vae": ["complete"], "glow": ["complete"]}


def test_a_run_that_is_not_uploaded_in_time_costs_its_arm_the_registration_and_a_line(study_run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bench.tracking.parent_run.ParentRun, "children", lambda parent: [])
        runner = study_run()
    assert "not registered: vae, glow, whose runs are not uploaded yet; the same command does it" in said(runner)
    assert set(champions(study_run())) == {"vae", "glow"}


def test_the_description_of_a_trial_says_where_it_stands(study_run):
    runner = study_run(trials=2)
    client = MlflowClient(tracking_uri=runner.bound.settings.tracking)
    runs = results_of(runner).runs.query("arm == 'vae'")
    notes = [client.get_run(run_id).data.tags["mlflow.note.content"] for run_id in runs["run_id"]]
    assert "number 1 of 1 complete trials" in notes[0]
    assert re.search(r"number [12] of 2 complete trials", notes[1])
    assert re.search(r"Retrains vae trial \d, selected on validation", notes[2])


def test_a_process_that_has_grown_too_large_makes_way_and_the_next_goes_on(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    size = [0]

    def host_bytes():
        size[0] += 600 * 2**20
        return size[0]

    monkeypatch.setattr(bench.execution.worker, "host_bytes", host_bytes)
    monkeypatch.setattr(bench.execution.worker, "LEAST_TASKS", 3)
    for name in ("give_back_freed_memory", "forget_models"):
        monkeypatch.setattr(bench.execution.worker, name, lambda: None)
    with pytest.raises(RestartRequiredError, match="after 3 runs this process holds"):
        start(tiny_study, digits, tmp_path, trials=2).run(digits)
    assert len(trainer.trials) == 3
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert "RUNNING" not in {run.info.status for run in client.search_runs(experiments)}
    monkeypatch.setattr(bench.execution.worker, "host_bytes", lambda: 0)
    start(tiny_study, digits, tmp_path, trials=2).run(digits)
    assert (len(trainer.trials), len(trainer.finals)) == (4, 2)


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("frees", ["give_back_freed_memory", "forget_models"])
def test_a_process_that_has_grown_too_large_goes_on_where_that_frees_enough(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch, frees
):
    size, freed = [0], []

    def host_bytes():
        return size[0] * 2**20

    def free(name):
        freed.append(name)
        size[0] = 100 if name == frees else size[0]

    def run_trial(*arguments):
        size[0] += 600
        return trainer.run_trial(*arguments)

    monkeypatch.setattr(bench.execution.worker, "host_bytes", host_bytes)
    monkeypatch.setattr(bench.execution.worker, "run_trial", run_trial)
    monkeypatch.setattr(bench.execution.worker, "LEAST_TASKS", 3)
    for name in ("give_back_freed_memory", "forget_models"):
        monkeypatch.setattr(bench.execution.worker, name, lambda name=name: free(name))
    start(tiny_study, digits, tmp_path, trials=2).run(digits)
    assert (len(trainer.trials), len(trainer.finals)) == (4, 2)
    both = ["give_back_freed_memory", "forget_models", "give_back_freed_memory"]
    assert freed == (both if frees == "forget_models" else ["give_back_freed_memory"])


def test_a_study_that_other_code_continues_says_so_and_only_if_it_was_asked_for(
    start, tiny_study, digits, tmp_path, trainer, monkeypatch
):
    start(tiny_study, digits, tmp_path, trials=1).run(digits)
    before = results_of(start(tiny_study, digits, tmp_path)).provenance["code"]
    other = {"code": "0123456789ab", "keras": "9.9"}
    monkeypatch.setattr(bench.study.serialization, "code_version", lambda backend: other)
    with pytest.raises(SettingsError, match="begun by other code"):
        start(tiny_study, digits, tmp_path, trials=2)
    mixed = start(tiny_study, digits, tmp_path, trials=2, mixed_code=True)
    mixed.run(digits)
    assert results_of(mixed).provenance["code"] == f"{before}, then 0123456789ab"
    assert len(trainer.trials) == 4


@pytest.mark.usefixtures("unlogged")
def test_images_that_were_altered_under_way_stop_the_study_with_a_line(start, tiny_study, digits, tmp_path, trainer):
    opened = start(tiny_study, digits, tmp_path, trials=2)
    shared = share(digits, tmp_path / "data")
    (copy,) = (tmp_path / "data").glob("*/train.npy")
    ended = []
    executor = SimpleNamespace(poll=lambda: copy.unlink(missing_ok=True), shutdown=lambda: ended.append("executor"))
    with pytest.raises(AlteredDataError, match=r"was altered: remove that folder, and the same command writes it"):
        Coordinator(opened.shared, executor, opened.progress, StopRequest(), shared.check).run()
    assert ended == ["executor"]
    assert not opened.shared.searches["vae"].settled()


def test_a_coordinator_that_lost_its_lock_stops_and_leaves_the_queues_to_its_successor():
    touched: list[str] = []
    queue = SimpleNamespace(set_open=lambda is_open: touched.append("queue"), reclaim=lambda: touched.append("queue"))
    record = SimpleNamespace(
        seconds_spent=0.0,
        seconds_of_arms={},
        spend=lambda seconds, of_arms: touched.append("time"),
        study_id="mine",
        lease=60.0,
    )
    study = SimpleNamespace(record=record, queues={"vae": queue})
    executor = SimpleNamespace(shutdown=lambda: touched.append("executor"))
    coordinator = Coordinator(study, executor, None, StopRequest())
    coordinator._lock = SimpleNamespace(lost=True)
    with pytest.raises(StudyStoppedError, match="another process took over mine"):
        coordinator._is_done("vae", lambda attempts: {}, Task)
    coordinator._end_work()
    assert touched == ["executor"]
    coordinator._lock.lost = False
    coordinator._end_work()
    assert touched == ["executor", "time", "queue", "executor"]


@pytest.mark.usefixtures("unlogged")
def test_what_follows_a_complete_study_is_done_by_its_only_coordinator(start, tiny_study, digits, tmp_path, trainer):
    runner, refused = start(tiny_study, digits, tmp_path), start(tiny_study, digits, tmp_path)
    status = []
    executor = SimpleNamespace(poll=raising(AssertionError("it was not refused")), shutdown=lambda: None)
    second = Coordinator(refused.shared, executor, refused.progress, StopRequest())

    def afterwards():
        with pytest.raises(SettingsError, match="is being run by process"):
            second.run()
        status.extend(runner.parent.ended)

    try:
        runner.run(digits, afterwards)
    finally:
        refused.shared.tracker.close()
    assert status == [RunState.COMPLETE]


@pytest.mark.usefixtures("unlogged")
def test_what_stops_after_a_complete_study_leaves_it_complete(start, tiny_study, digits, tmp_path, trainer):
    runner = start(tiny_study, digits, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        runner.run(digits, raising(KeyboardInterrupt))
    assert runner.parent.ended == [RunState.COMPLETE]


@pytest.mark.usefixtures("unlogged")
def test_a_checkpoint_is_of_one_version_of_the_code_and_of_its_libraries(
    start, tiny_study, digits, tmp_path, monkeypatch
):
    study = start(tiny_study, digits, tmp_path).shared
    config, version = study.bound.base(tiny_study.arms[0]), code_version(study.bound.settings.backend)

    def identity():
        return study.checkpoint("vae", 0, config, 1).identity

    before = identity()
    assert identity() == before
    for name in version:
        monkeypatch.setattr(bench.execution.session, "code_version", lambda backend, name=name: version | {name: "0"})
        assert identity() != before
    study.tracker.close()


@pytest.mark.usefixtures("unlogged")
def test_the_checkpoint_of_one_task_is_removed_whatever_its_training_was(start, tiny_study, digits, tmp_path, trainer):
    runner = start(tiny_study, digits, tmp_path)
    study = runner.shared
    study.remove_checkpoint("reference model", 0)
    folder = study.bound.settings.output / "checkpoints" / study.bound.study_id
    folder.mkdir(parents=True)
    names = ("reference model-0.npz", ".reference model-0.npz.x1.tmp", "vae-0.npz", "reference model-1.npz")
    for name in names:
        (folder / name).touch()
    study.remove_checkpoint("reference model", 0)
    assert {file.name for file in folder.iterdir()} == set(names[2:])
    (folder / names[0]).mkdir()
    with pytest.raises(CheckpointError, match=r"^the checkpoint of reference model in .* cannot be removed: "):
        study.remove_checkpoint("reference model", 0)
    study.tracker.close()
