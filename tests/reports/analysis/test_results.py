"""What is counted: trials and final runs, not the attempts at them."""

from __future__ import annotations

import pytest

from bench.core.results import RunState, Unbegun
from reports.analysis import budget, curves, statistics
from reports.analysis.costs import SECONDS, Costs
from reports.analysis.results import Study
from reports.figures.learning import learning_curves
from reports.figures.trials import responses
from reports.formatting import NO_BREAK, plain
from reports.text import configuration_tables, run_tables, state_tables
from reports.text.answer import answer


def stopped(study):
    """A finished study whose first VAE trial and whose first VAE final run were interrupted once and then repeated."""
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]})
    for role in ("search", "final"):
        whole = next(run for run in builder.runs if run["role"] == role and run["arm"] == "vae")
        attempt = {**whole, "run_id": f"stopped-{role}", "state": "interrupted", "reason": "SIGINT"}
        builder.runs.append(attempt)
        builder.history(attempt, [4.0, 3.9])
        whole["attempt"] = 2
    return builder


@pytest.fixture
def counts(study):
    """The study before and after the interruptions were added."""
    return Study(study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}).results()), Study(
        stopped(study).results()
    )


def test_attempts_are_not_trials(counts):
    plain, interrupted = counts
    assert len(interrupted.runs) == len(plain.runs) + 2
    assert list(interrupted.counted["run_id"]) == list(plain.runs["run_id"])
    assert list(interrupted.trials["run_id"]) == list(plain.trials["run_id"])
    assert list(interrupted.uncounted["state"]) == ["interrupted", "interrupted"]


def test_every_count_of_trials_is_that_of_the_study_without_interruptions(counts):
    plain, interrupted = counts
    for made in (
        lambda known: [sentence.replace(NO_BREAK, " ") for sentence in answer(known).details],
        state_tables.state_counts,
        state_tables.failure_reasons,
        run_tables.final_runs,
        lambda known: [run_tables.trials(known, arm, {}) for arm in known.arms],
        lambda known: [run_tables.learning_rate_stability(known, arm) for arm in known.arms],
        lambda known: statistics.states(known.counted).to_dict(),
        lambda known: [figure.caption for figure in responses(known)],
        lambda known: [figure.caption for figure in learning_curves(known)],
        lambda known: [len(data.searched) for data in curves.learning_curves(known)],
        lambda known: [data.observed["trials"].iloc[-1] for data in budget.best_so_far(known)],
    ):
        assert repr(made(interrupted)) == repr(made(plain))


def test_the_search_spent_what_its_interrupted_attempts_took(counts):
    plain, interrupted = (budget.best_so_far(known)[0].observed for known in counts)
    assert interrupted["seconds"].iloc[-1] > plain["seconds"].iloc[-1]


def test_an_attempt_that_runs_again_is_the_trial(empty):
    for attempt, state in ((1, RunState.INTERRUPTED), (2, RunState.INTERRUPTED), (3, RunState.RUNNING)):
        empty.run("vae", "search", state, number=0, attempt=attempt)
    empty.run("vae", "search", RunState.INTERRUPTED, number=1)
    assert list(Study(empty.results()).trials["state"]) == ["running", "interrupted"]


def attempts(empty, number, *those):
    """Attempts at a trial of learning curves of 1,000 images an evaluation: how each ended, from where to where."""
    for attempt, (state, begin, end) in enumerate(those, start=1):
        known = {"number": number, "config_hash": str(number), "attempt": attempt, "continued_from": begin}
        run = empty.run("vae", "search", state, seconds=10.0, **known)
        empty.history(run, [5.0 - 0.1 * step - number for step in range(1, end + 1)])
        if state == RunState.COMPLETE:
            empty.measure(run, "validation", "bits_per_dim", 5.0 - 0.1 * end - number)


PRUNED, COMPLETE, DIVERGED, INTERRUPTED = RunState.PRUNED, RunState.COMPLETE, RunState.DIVERGED, RunState.INTERRUPTED


@pytest.fixture
def halved(empty):
    """A search by rungs, extended once to twice its budget."""
    attempts(empty, 0, (PRUNED, 0, 2), (INTERRUPTED, 2, 3), (PRUNED, 3, 4), (COMPLETE, 4, 8), (COMPLETE, 8, 16))
    attempts(empty, 1, (PRUNED, 0, 2), (COMPLETE, 2, 8), (DIVERGED, 8, 9))
    attempts(empty, 2, (PRUNED, 0, 2), (DIVERGED, 2, 3))
    attempts(empty, 3, (PRUNED, 0, 2), (INTERRUPTED, 0, 0))
    return Study(empty.results(settings={"sampler": "random"}))


def test_of_a_trial_that_was_continued_the_last_complete_attempt_counts_or_else_the_last_that_ended(halved):
    trials = halved.trials.set_index("number")
    assert trials["state"].to_dict() == {0: "complete", 1: "complete", 2: "diverged", 3: "pruned"}
    assert trials["value"].round(3).to_dict() == {0: 3.4, 1: 3.2, 2: 2.7, 3: 1.8}
    assert trials["spent"].to_dict() == {0: 40.5, 1: 20.0, 2: 20.0, 3: 10.0}


def test_an_attempt_that_began_again_spent_nothing_of_the_attempts_before(empty):
    attempts(empty, 0, (PRUNED, 0, 2), (COMPLETE, 0, 3), (COMPLETE, 3, 5))
    assert Study(empty.results()).trials["spent"].tolist() == [20.0]


def test_an_interrupted_attempt_spent_its_training_and_not_the_time_until_somebody_noticed(empty):
    attempts(empty, 0, (INTERRUPTED, 0, 2), (COMPLETE, 2, 4))
    empty.runs[0]["seconds"] = 86_400.0
    known = Study(empty.results(settings={"sampler": "random"}))
    assert known.trials["spent"].tolist() == [11.0]
    assert budget.best_so_far(known)[0].observed["seconds"].iloc[-1] == 11.0
    # Of the seconds from start to end, those of training alone.
    assert 0 < Costs(known).of_tuning(SECONDS, "vae") <= 11.0


def test_what_became_of_attempts_that_do_not_count_is_said(halved):
    assert state_tables.uncounted(halved) == (
        "Not counted: 1 interrupted attempt, repeated or continued by the runs counted here; 5 attempts, stopped after "
        "fewer images and continued by the runs counted here; 2 attempts, begun to continue runs counted here, and not "
        "complete."
    )


def test_an_attempt_that_continued_another_spent_what_it_added(halved):
    (data,) = budget.best_so_far(halved)
    assert data.observed["trials"].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert data.observed["images"].diff().fillna(2000.0).tolist() == [
        1000.0 * added for added in (2, 1, 1, 4, 8, 2, 6, 1, 2, 1, 2, 0)
    ]
    assert data.observed["best"].iloc[-1] == pytest.approx(3.2)
    assert (data.draws, data.pruned) == (3, True)


@pytest.mark.parametrize(("extended", "reported"), [(1, [8000, 8000]), (2, [16000, 16000])])
def test_final_runs_are_reported_of_one_budget(empty, extended, reported):
    for seed in range(2):
        empty.run("vae", "final", seed=seed, param_images=8000, config_hash="a")
    for seed in range(extended):
        empty.run("vae", "final", seed=seed, param_images=16000, config_hash="a", attempt=2, continued_from=8)
    final = Study(empty.results()).finals["vae"]
    assert final.runs["param.images"].tolist() == reported
    assert final.left_out == (1 if extended == 1 else 0)


@pytest.mark.parametrize(
    ("seeds", "vae", "glow", "reported"),
    [
        # One of the larger budget failed: both arms are reported at the smaller one, which is complete.
        (2, {8000: 2, 16000: 1}, {8000: 2, 16000: 2}, {"vae": 8000, "glow": 8000}),
        (2, {8000: 2, 16000: 2}, {8000: 2, 16000: 2}, {"vae": 16000, "glow": 16000}),
        # More seeds than are wanted now do not speak for a smaller budget.
        (2, {8000: 3, 16000: 2}, {8000: 3, 16000: 2}, {"vae": 16000, "glow": 16000}),
        # By a cost each arm has its own budget.
        (2, {8000: 2, 16000: 1}, {900: 1, 1800: 2}, {"vae": 8000, "glow": 1800}),
        ({"seeds": 2, "time": 1800.0}, {8000: 2, 50_000: 2}, {8000: 2, 30_000: 2}, {"vae": 50_000, "glow": 30_000}),
        (
            {"seeds": 2, "training_images": {"vae": 50_000, "glow": 30_000}},
            {8000: 2, 50_000: 2},
            {8000: 2, 30_000: 2},
            {"vae": 50_000, "glow": 30_000},
        ),
    ],
)
def test_arms_are_reported_at_a_budget_that_they_share(empty, seeds, vae, glow, reported):
    for arm, budgets in (("vae", vae), ("glow", glow)):
        for attempt, (images, number) in enumerate(budgets.items(), start=1):
            for seed in range(number):
                empty.run(arm, "final", seed=seed, param_images=images, config_hash=arm, attempt=attempt)
    settings = seeds if isinstance(seeds, dict) else {"seeds": seeds}
    finals = Study(empty.results(settings=settings)).finals
    assert {arm: set(finals[arm].runs["param.images"]) for arm in finals} == {a: {n} for a, n in reported.items()}


def test_what_failed_before_it_had_a_run_is_counted_with_its_reason(empty):
    for number in range(2):
        empty.run("vae", "search", number=number)
    reason = "it could not begin: latent_size='x' is not in 2 … 16, whole"
    unbegun = [Unbegun("search", "vae", reason, 2), Unbegun("final", "vae", "it could not begin: no config", 1)]
    without, known = Study(empty.results()), Study(empty.results(unbegun=unbegun))
    assert len(known.trials) == len(without.trials) == 2
    trials, finals = state_tables.state_counts(known).rows
    assert (trials[0].text, trials[-1].text) == ("VAE trials", "4")
    assert (finals[0].text, finals[-1].text) == ("VAE final runs", "1")
    failed = state_tables.state_counts(known).columns.index("failed")
    assert [row[failed].text for row in (trials, finals)] == ["2", "1"]
    reasons = [[cell.text for cell in row] for row in state_tables.failure_reasons(known).rows]
    assert reasons == [
        ["VAE trials", "failed", reason, "2"],
        ["VAE final runs", "failed", "it could not begin: no config", "1"],
    ]
    assert "1 final run did not complete (1 failed)." in " ".join(answer(known).details).replace(NO_BREAK, " ")
    alone = Study(empty.results(runs=without.runs.head(0), unbegun=unbegun))
    assert "No trial has completed" in answer(alone).headline


def test_runs_without_a_number_are_all_trials(empty):
    for _ in range(3):
        empty.run("vae", "search")
    assert len(Study(empty.results()).trials) == 3


def test_the_selected_trial_may_have_been_stopped_at_a_rung(study):
    """As in a given time, which final runs of the planned images have before any trial is trained so far."""
    builder = study({"vae": [2.31, 2.33], "glow": [1.97, 1.99]})
    known = Study(builder.results()).finals["glow"].trial
    for row in builder.runs:
        if row["arm"] == "glow" and row["role"] == "search" and row["state"] == RunState.COMPLETE:
            row["state"] = str(RunState.PRUNED)
    stopped = Study(builder.results())
    assert stopped.finals["glow"].trial["run_id"] == known["run_id"]
    assert not stopped.finals["glow"].superseded
    numbers, values, *_ = configuration_tables.selected(stopped).rows
    assert numbers[-1].text == plain(known["number"])
    assert values[-1].notes == ["where it stopped, by the one-sample bound"]
    assert "whether a smaller" not in answer(stopped).headline
