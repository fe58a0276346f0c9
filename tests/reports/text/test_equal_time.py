"""The answer at equal training time, from curves whose order at every moment is known."""

from __future__ import annotations

import pytest

from reports import formatting
from reports.analysis.costs import SECONDS
from reports.analysis.frontier import at_budgets, frontiers
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text.answer import answer
from reports.text.equal_time import at_equal_time
from tests.reports.conftest import FALLS, SLOW, curves_of, shifted


@pytest.fixture
def said(study):
    """What is said of two seeds of a VAE (one evaluation a second) and of a Glow (one every ``slower`` seconds)."""

    def say(vae, glow, slower=2.0, differ=0.001, seeds=2, decay="plateau"):
        builder = study({"vae": [2.3, 2.31][:seeds], "glow": [2.0, 2.01]})
        builder.histories = []
        for run in builder.runs:
            if run["role"] == "final":
                run["param.decay"] = decay
                values = vae if run["family"] == "vae" else glow
                builder.history(run, [value + differ * int(str(run["seed"])) for value in values])
        glows = {run["run_id"] for run in builder.runs if run["family"] == "glow"}
        for row in builder.histories:
            row["seconds"] = float(str(row["step"])) * (slower if row["run_id"] in glows else 1.0)
        return Study(builder.results())

    def sentences(*curves, **known):
        return [text.replace(NO_BREAK, " ") for text in at_equal_time(say(*curves, **known), "glow", "vae")]

    sentences.study = say
    return sentences


def test_the_faster_family_may_be_lower_at_equal_time(said):
    # At 4 s the VAE is at its best, 2.3, and Glow at its second evaluation.
    (first,) = said([3.0, 2.6, 2.3, 2.5], [2.9, 2.5, 2.1, 2.0])
    assert first.startswith(
        "At equal training time, 4.00 s, all that VAE took (Glow: 8.00 s), VAE is lower, the reverse of their order on "
        "test: 2.30 against 2.50, by 0.2000 (validation, one-sample bound, best evaluation so far, mean over seeds, "
    )


def test_the_order_on_test_may_hold_at_equal_time(said):
    (only,) = said([3.0, 2.6, 2.5, 2.4], [2.2, 2.0, 2.0, 2.0])
    assert "Glow is lower: 2.00 against 2.40, by 0.4000" in only


def test_seeds_that_differ_more_than_the_families(said):
    first, *_ = said([3.0, 2.6, 2.5, 2.4], [2.6, 2.41, 2.0, 1.9], differ=0.3)
    assert "the seeds do not separate the arms" in first


def test_a_family_that_was_not_evaluated_in_that_time(said):
    (only,) = said([3.0, 2.6], [2.6, 2.41], slower=5.0)
    assert only.endswith("Glow had not been evaluated in every seed yet.")


def test_the_start_of_the_first_run_of_a_process_counts_for_all_seeds(said):
    results = said.study([3.0, 2.6, 2.5], [2.6, 2.41, 2.3], slower=20.0).results
    last = Study(results).finals["vae"].runs["run_id"].iloc[-1]
    results.histories.loc[results.histories["run_id"] == last, "seconds"] += 50.0
    (only,) = at_equal_time(Study(results), "glow", "vae")
    assert only.replace(NO_BREAK, " ").startswith("At equal training time, 53 s, all that VAE took (Glow: 60 s)")


def test_an_arm_that_is_evaluated_more_rarely_is_at_no_disadvantage(said):
    # Both fall alike; the Glow is evaluated every fourth second.
    fall = [3.0 - 0.1 * second for second in range(1, 8)]
    (only,) = said(fall, fall[3::4], slower=4.0)
    assert "the seeds do not separate the arms" in only


def test_one_seed_is_said_to_have_no_interval(said):
    (only,) = said([3.0, 2.6, 2.3, 2.5], [2.9, 2.5, 2.4, 2.35], seeds=1)
    assert "VAE has the lower value, the reverse of their order on test: 2.30 against 2.50, by 0.20" in only
    assert only.endswith(
        "(validation, one-sample bound, best evaluation so far, one seed of one of them, so no interval)."
    )


@pytest.mark.parametrize(("decay", "caveat"), [("plateau", ""), ("cosine", "Glow")])
def test_a_value_before_the_end_of_a_schedule_that_depends_on_the_budget_is_said_to_be_one(said, decay, caveat):
    # The arms do not cross.
    (only,) = said([2.4, 2.2, 2.1, 2.05], [2.9, 2.5, 2.4, 2.35], decay=decay)
    ends = f"By their schedules, shorter runs of {caveat} may give lower values than these."
    assert only.endswith(ends) == bool(caveat)


def test_it_agrees_with_the_table_of_budgets(said):
    study = said.study([3.0, 2.6, 2.3, 2.2], [2.5, 2.4, 2.35])
    by_time = next(each for each in frontiers(study) if each.cost == SECONDS)
    row = next(row for row in at_budgets(by_time) if row.share == 1)
    shown, start, end = formatting.difference(*row.above)
    first, _ = at_equal_time(study, "glow", "vae")
    assert row.is_clear
    assert f"by {shown} (" in first
    assert first.endswith(f"95% interval over seeds {start} to {end}).")


@pytest.mark.parametrize(("decay", "caveat"), [("plateau", ""), ("cosine", "VAE"), (None, "VAE")])
def test_the_crossing_says_what_it_holds_for(empty, decay, caveat):
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    times = {"vae": 1.0, "glow": 1.0}
    study = curves_of(empty, curves, seconds=times, decay={"vae": decay, "glow": "plateau"})
    _, sentence = (text.replace(NO_BREAK, " ") for text in at_equal_time(study, "vae", "glow"))
    assert sentence.startswith("The means of Glow and VAE cross at 3.00")
    ends = f"By their schedules, shorter runs of {caveat} may give lower values than these."
    assert sentence.endswith(ends) == bool(caveat)
    assert at_equal_time(study, "vae", "an arm without a curve") == []


def test_nothing_without_seconds(said):
    assert said([3.0, 2.6], [2.6, 2.41], slower=float("nan")) == []
    assert said([], []) == []


def test_it_stands_right_after_what_the_headline_is_in_practice(said):
    found = answer(said.study([3.0, 2.6, 2.3, 2.2], [2.9, 2.5, 2.4, 2.0], slower=1.0))
    assert found.details[1].startswith("At equal training time")


def test_a_crossing_within_what_was_measured_of_both_stands_behind_it(said):
    crossed = answer(said.study([3.0, 2.95, 2.3, 2.2], [2.5, 2.4])).details[2]
    assert crossed.replace(NO_BREAK, " ").startswith(
        "The means of Glow and VAE cross at 3.00 s (95% interval 2.00 s to 3.00 s): Glow is lower before, VAE after."
    )
