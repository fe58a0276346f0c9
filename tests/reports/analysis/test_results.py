"""What is counted: trials and final runs, not the attempts at them."""

from __future__ import annotations

import pytest

from bench.core.results import RunState, Unbegun
from reports.analysis import budget, curves, statistics
from reports.analysis.results import Study
from reports.figures import study as figures
from reports.formatting import NO_BREAK
from reports.text import tables
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
    assert list(interrupted.repeated["state"]) == ["interrupted", "interrupted"]


def test_every_count_of_trials_is_that_of_the_study_without_interruptions(counts):
    plain, interrupted = counts
    for made in (
        lambda known: [sentence.replace(NO_BREAK, " ") for sentence in answer(known).details],
        tables.state_counts,
        tables.failure_reasons,
        tables.final_runs,
        lambda known: [tables.trials(known, arm, {}) for arm in known.arms],
        lambda known: [tables.learning_rate_stability(known, arm) for arm in known.arms],
        lambda known: statistics.states(known.counted).to_dict(),
        lambda known: [figure.caption for figure in figures.responses(known)],
        lambda known: [figure.caption for figure in figures.learning_curves(known)],
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


def test_what_failed_before_it_had_a_run_is_counted_with_its_reason(empty):
    for number in range(2):
        empty.run("vae", "search", number=number)
    reason = "it could not begin: latent_size='x' is not in 2 … 16, whole"
    unbegun = [Unbegun("search", "vae", reason, 2), Unbegun("final", "vae", "it could not begin: no config", 1)]
    without, known = Study(empty.results()), Study(empty.results(unbegun=unbegun))
    assert len(known.trials) == len(without.trials) == 2
    trials, finals = tables.state_counts(known).rows
    assert (trials[0].text, trials[-1].text) == ("VAE trials", "4")
    assert (finals[0].text, finals[-1].text) == ("VAE final runs", "1")
    failed = tables.state_counts(known).columns.index("failed")
    assert [row[failed].text for row in (trials, finals)] == ["2", "1"]
    reasons = [[cell.text for cell in row] for row in tables.failure_reasons(known).rows]
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
