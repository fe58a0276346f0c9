"""Which arm is better for how much, from curves whose order and crossings are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.analysis.convergence import ended_by_itself
from reports.analysis.costs import IMAGES, SECONDS
from reports.analysis.frontier import (
    ArmCurves,
    RunCurve,
    Schedule,
    at_budgets,
    crossings,
    difference,
    frontiers,
    leads,
    schedule,
)
from reports.analysis.results import Study
from tests.reports.conftest import FALLS, SLOW, curves_of, shifted

NAN = float("nan")


def arm(name, *seeds, every=1.0, ended=False, tuning=0.0, schedule=Schedule.FREE):
    """An arm with an evaluation ``every`` so much cost."""
    runs = []
    for number, values in enumerate(seeds):
        cost = every * np.arange(1, 1 + len(values)) + tuning
        best = np.minimum.accumulate(np.asarray(values, dtype=float))
        runs.append(RunCurve(f"{name}{number}", cost, best, ended))
    return ArmCurves(name, tuple(runs), tuning, schedule)


def ranges(found):
    return [(each.low, each.high, each.arm or each.contenders) for each in found]


def test_arms_that_cross_once_between_evaluations():
    a, b = arm("a", FALLS, shifted(FALLS)), arm("b", SLOW, shifted(SLOW))
    assert ranges(leads([a, b])) == [(1.0, 2.0, "b"), (3.0, 6.0, "a")]
    (crossing,) = crossings(a, b)
    # It lies between the evaluations 2 and 3, and the seeds hardly differ.
    assert (crossing.before, crossing.after, crossing.at, crossing.low, crossing.high) == ("b", "a", 3.0, 2.0, 3.0)
    assert crossing.times == 1
    assert crossings(b, a) == crossings(a, b)


def test_where_the_seeds_differ_the_crossing_has_an_interval_and_the_order_is_open_within_it():
    a, b = arm("a", FALLS, shifted(FALLS, 0.4)), arm("b", SLOW, shifted(SLOW, 0.4))
    assert ranges(leads([a, b])) == [(1.0, 1.0, "b"), (2.0, 3.0, ("a", "b")), (4.0, 6.0, "a")]
    (crossing,) = crossings(a, b)
    assert (crossing.at, crossing.low, crossing.high) == (3.0, 1.0, 4.0)


def test_a_crossing_that_the_seeds_do_not_separate_has_open_ends():
    a, b = arm("a", FALLS, shifted(FALLS, 3.0)), arm("b", SLOW, shifted(SLOW, 3.0))
    assert {each.arm for each in leads([a, b])} == {None}
    (crossing,) = crossings(a, b)
    assert (crossing.at, crossing.low, crossing.high, crossing.has_interval) == (3.0, None, None, True)


def test_changes_that_leave_the_order_as_it_was_are_no_crossing():
    noisy = [4.0, 3.0, 2.6, 2.2, 2.0, 1.0]
    touching = [3.0, 2.9, 2.8, 2.3, 2.1, 0.5]
    a, b = arm("a", noisy, shifted(noisy, 1.0)), arm("b", touching, shifted(touching, 1.0))
    assert np.sign(difference(a, b)["value"]).tolist() == [-1, -1, 1, 1, 1, -1]
    assert crossings(a, b) == []


def test_ties_are_open_and_no_crossing():
    a, b = arm("a", FALLS, shifted(FALLS)), arm("b", FALLS, shifted(FALLS))
    assert ranges(leads([a, b])) == [(1.0, 6.0, ("a", "b"))]
    assert crossings(a, b) == []
    same = arm("a", FALLS, FALLS), arm("b", FALLS, FALLS)
    assert ranges(leads(same)) == [(1.0, 6.0, ("a", "b"))]
    # A tie within is no change by itself.
    a, b = arm("a", [3.0, 2.0, 1.0]), arm("b", [2.0, 2.0, 2.0])
    (crossing,) = crossings(a, b)
    assert (crossing.before, crossing.after, crossing.at) == ("b", "a", 3.0)


def test_one_seed_has_no_interval():
    a, b = arm("a", FALLS), arm("b", SLOW, shifted(SLOW))
    assert difference(a, b)["low"].isna().all()
    assert {each.arm for each in leads([a, b])} == {None}
    (crossing,) = crossings(a, b)
    assert (crossing.at, crossing.low, crossing.high, crossing.has_interval) == (3.0, None, None, False)


def test_a_single_arm_has_nothing_to_lead():
    assert leads([arm("a", FALLS, SLOW)]) == []


def test_only_what_was_measured_of_both_is_compared():
    a = arm("a", FALLS, shifted(FALLS), every=1.0)  # 1 to 6
    b = arm("b", SLOW, shifted(SLOW), every=2.0)  # 2 to 12
    assert list(difference(a, b)["cost"]) == [2.0, 3.0, 4.0, 5.0, 6.0]
    # b's last evaluation counts until its next one.
    assert list(difference(a, b)["value"]) == pytest.approx([4.0 - 5.0, 4.0 - 3.0, 3.9 - 2.0, 3.9 - 1.5, 3.8 - 1.2])
    late = arm("late", SLOW, shifted(SLOW), tuning=100.0)
    assert leads([a, late]) == []
    assert difference(a, late).empty
    assert crossings(a, late) == []


def test_an_arm_that_is_evaluated_more_rarely_is_at_no_disadvantage():
    def fall(budget, seed):
        return 1.0 + 3.0 / budget + 0.001 * seed

    often = arm("often", *(fall(np.arange(1.0, 61.0), seed) for seed in range(3)))
    rarely = arm("rarely", *(fall(np.arange(7.0, 61.0, 7.0), seed) for seed in range(3)), every=7.0)
    # By its last evaluation the second would lie above the first between its evaluations.
    assert (difference(often, rarely)["value"] > 0.01).any()
    assert ranges(leads([often, rarely])) == [(7.0, 56.0, ("often", "rarely"))]
    assert crossings(often, rarely) == []


def test_a_run_that_ended_by_itself_keeps_its_value_and_one_whose_budget_was_spent_has_none_beyond():
    short = arm("short", [3.0, 2.0], [3.01, 2.01], ended=True)
    long = arm("long", SLOW, [3.9, 3.8, 3.7, 2.5, 1.0, 0.9])
    assert short.end == np.inf
    assert short.last == 2.0
    assert list(difference(short, long)["cost"]) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    spent = arm("spent", [3.0, 2.0], [3.01, 2.01])
    assert list(difference(spent, long)["cost"]) == [1.0, 2.0]
    assert np.isnan(spent.at(np.array([2.5]))).all()


def test_seeds_that_take_different_times_are_compared_where_all_were_measured():
    runs = [RunCurve(f"r{every}", every * np.arange(1, 4), np.array([3.0, 2.0, 1.0]), False) for every in (1.0, 1.5)]
    a = ArmCurves("a", tuple(runs), 0.0, Schedule.FREE)
    assert (a.start, a.end, a.last) == (1.5, 3.0, 3.0)
    assert a.band.to_dict("list") == {
        "cost": [1.5, 2.0, 3.0],
        "mean": [3.0, 2.5, 1.5],
        "low": [3.0, 2.0, 1.0],
        "high": [3.0, 3.0, 2.0],
    }


def test_the_lowest_of_three_arms_is_separated_from_both_others_or_open():
    a = arm("a", FALLS, shifted(FALLS))
    b, c = arm("b", SLOW, shifted(SLOW)), arm("c", shifted(SLOW, 0.001), shifted(SLOW, 0.02))
    assert ranges(leads([a, b, c])) == [(1.0, 2.0, ("b", "c")), (3.0, 6.0, "a")]
    assert {each.among for each in leads([a, b, c])} == {("a", "b", "c")}


def test_an_arm_that_ends_early_leaves_the_others():
    a, b = arm("a", FALLS, shifted(FALLS)), arm("b", SLOW, shifted(SLOW))
    c = arm("c", [1.0, 0.9], [1.01, 0.91])
    found = leads([a, b, c])
    assert ranges(found) == [(1.0, 2.0, "c"), (3.0, 6.0, "a")]
    assert [each.among for each in found] == [("a", "b", "c"), ("a", "b")]


def test_the_arms_of_a_study_against_images_and_seconds(empty):
    study = curves_of(
        empty, {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}, seconds={"vae": 1.0, "glow": 3.0}
    )
    found = frontiers(study)
    assert [(each.cost, each.with_tuning) for each in found] == [(IMAGES, False), (SECONDS, False)]
    assert [each.last for each in found[1].arms] == [6.0, 18.0]
    assert found[1].shared == (3.0, 6.0)
    assert list(found[0].arms[0].runs[0].value) == FALLS


def test_the_best_so_far_never_rises_and_a_value_that_is_not_finite_is_no_evaluation(empty):
    study = curves_of(empty, {"vae": [[3.0, NAN, 2.0, 2.5, float("inf"), 1.0]]})
    (found,) = frontiers(study)
    (run,) = found.arms[0].runs
    assert list(run.cost) == [1000.0, 3000.0, 4000.0, 6000.0]
    assert list(run.value) == [3.0, 2.0, 2.0, 1.0]


def test_without_seconds_there_is_no_axis_of_them_and_an_arm_without_is_named(empty):
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds={"vae": 1.0, "glow": NAN})
    images, seconds = frontiers(study)
    assert (images.cost, images.without) == (IMAGES, ())
    assert ([each.arm for each in seconds.arms], seconds.without) == (["vae"], ("glow",))
    assert frontiers(Study(empty.results(histories=pd.DataFrame()))) == []


def test_an_arm_whose_seeds_share_no_budget_is_left_out_by_name(empty):
    study = curves_of(empty, {"vae": [FALLS, FALLS], "glow": [SLOW, SLOW]}, seconds={"vae": 1.0, "glow": 1.0})
    slow = study.finals["vae"].runs["run_id"].iloc[0]
    results = study.results
    results.histories.loc[results.histories["run_id"] == slow, "seconds"] *= 100.0
    seconds = frontiers(Study(results))[1]
    assert ([each.arm for each in seconds.arms], seconds.without) == (["glow"], ("vae",))


def test_the_search_of_an_arm_is_an_offset_of_its_own(empty):
    for number in range(2):
        empty.history(empty.run("vae", "search", number=number), [3.0] * 100)
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds={"vae": 1.0, "glow": 1.0})
    found = {(each.cost, each.with_tuning): each for each in frontiers(study)}
    vae, glow = found[SECONDS, True].arms
    assert (vae.tuning, glow.tuning) == (100.0, 0.0)
    assert list(vae.runs[0].cost) == [101.0, 102.0, 103.0, 104.0, 105.0, 106.0]
    assert list(glow.runs[0].cost) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert found[IMAGES, True].arms[0].tuning == 200_000.0
    assert found[SECONDS, True].shared is None
    assert found[SECONDS, False].arms[0].search is None


def test_before_the_final_runs_the_search_has_a_value_of_its_own(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 100)
    empty.history(empty.run("vae", "search", number=1), [2.0] * 100)
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds={"vae": 1.0, "glow": 1.0})
    vae, glow = next(each for each in frontiers(study) if each.with_tuning and each.cost == SECONDS).arms
    # Evaluated every half second, each trial for fifty; from 101 s on the final run has a value.
    assert [vae.searched(cost) for cost in (0.5, 50.0, 50.5, 100.9)] == [3.0, 3.0, 2.0, 2.0]
    assert np.isnan([vae.searched(0.4), vae.searched(101.0), glow.searched(0.5)]).all()


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("constant", Schedule.FREE),
        ("plateau", Schedule.FREE),
        ("cosine", Schedule.BOUND),
        ("staged", Schedule.BOUND),
        ("of my own", Schedule.UNKNOWN),
        (None, Schedule.UNKNOWN),
    ],
)
def test_a_schedule_depends_on_the_budget_or_not_by_its_setting(empty, decay, expected):
    study = curves_of(empty, {"vae": [FALLS]}, decay=decay)
    assert schedule(study, "vae") == expected
    (curves,) = frontiers(study)[0].arms
    assert curves.is_final(3000.0) == (expected == Schedule.FREE)
    assert curves.is_final(6000.0)


def test_a_run_stopped_before_its_budget_ended_by_itself(empty):
    budget = dict.fromkeys(("vae", "glow"), (6000, 6, 100))
    study = curves_of(empty, {"vae": [FALLS, FALLS[:3]], "glow": [SLOW]}, budget=budget)
    vae, glow = frontiers(study)[0].arms
    assert [run.ended_by_itself for run in vae.runs] == [False, True]
    assert [run.ended_by_itself for run in glow.runs] == [False]
    # The seed that stopped at 3,000 images would be no better at 6,000.
    assert vae.last == 6000.0
    assert list(vae.band["low"])[-1] == 1.2
    assert list(vae.band["high"])[-1] == 3.0


def test_a_run_of_a_smaller_budget_than_the_study_has_now_did_not_end_by_itself(empty):
    larger = {"training_images": {"vae": 6000, "glow": 6000}}
    budget = {"vae": (3000, 3, 100), "glow": (6000, 6, 100)}
    study = curves_of(empty, {"vae": [FALLS[:3]] * 2, "glow": [SLOW] * 2}, budget=budget, settings=larger)
    vae, _ = frontiers(study)[0].arms
    assert vae.end == 3000.0
    assert {lead.high for lead in leads(frontiers(study)[0].arms)} == {3000.0}


def test_batches_that_do_not_divide_the_budget_do_not_end_a_run_by_themselves(empty):
    # 6,000 images in 6 evaluations of 10 batches of 96 are 5,760.
    study = curves_of(empty, {"vae": [FALLS]}, every=960.0, budget={"vae": (6000, 6, 96)})
    (vae,) = frontiers(study)[0].arms
    assert vae.end == 5760.0
    assert not ended_by_itself(study, "vae")


@pytest.mark.parametrize("decay", ["cosine", "of my own"])
def test_a_run_whose_schedule_is_not_free_of_the_budget_holds_no_value_beyond_its_end(empty, decay):
    curves = {"vae": [FALLS[:3], FALLS[:3]], "glow": [SLOW, SLOW]}
    budget = dict.fromkeys(curves, (6000, 6, 100))
    study = curves_of(empty, curves, budget=budget, decay={"vae": decay, "glow": "plateau"})
    vae, glow = frontiers(study)[0].arms
    assert (vae.end, glow.end) == (3000.0, 6000.0)
    assert ended_by_itself(study, "vae")


def test_the_budgets_are_shares_of_the_largest_that_all_were_measured_at_and_the_ends(empty):
    study = curves_of(
        empty, {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}, seconds={"vae": 1.0, "glow": 3.0}
    )
    rows = at_budgets(frontiers(study)[1])
    assert [(row.cost, row.share) for row in rows] == [
        (0.75, 1 / 8),
        (1.5, 1 / 4),
        (3.0, 1 / 2),
        (6.0, 1.0),
        (18.0, None),
    ]
    assert [list(row.levels) for row in rows] == [[], ["vae"], ["vae", "glow"], ["vae", "glow"], ["glow"]]
    assert [(row.lowest, row.second) for row in rows] == [
        ("", ""),
        ("", ""),
        ("vae", "glow"),
        ("vae", "glow"),
        ("", ""),
    ]
    half = rows[2]
    assert half.above[0] == pytest.approx(1.0)
    assert half.is_clear


def test_with_tuning_the_budgets_are_the_ends(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 100)
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds={"vae": 1.0, "glow": 1.0})
    rows = at_budgets(next(each for each in frontiers(study) if each.with_tuning and each.cost == SECONDS))
    assert [(row.cost, list(row.levels)) for row in rows] == [(6.0, ["glow"]), (56.0, ["vae"])]


def power_law(budget, end, gain, rate, seeds, rng, spread):
    """Learning curves end + gain b^-rate whose seeds differ in both, ``(seeds, budgets)``."""
    differ = rng.normal(0.0, spread, (2, seeds, 1))
    return end + differ[0] + (gain + differ[1]) * budget**-rate


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_a_crossing_holds_the_true_one_in_95_of_100_studies(seeds):
    rng = np.random.default_rng(seeds)
    budget = np.arange(1.0, 201.0)
    true = 40.3
    gain = (1.0 + 3.0 * true**-0.5 - 1.2) / true**-0.2  # so that the curves meet there
    inside, studies = 0, 400
    for _ in range(studies):
        values = {
            "a": power_law(budget, 1.0, 3.0, 0.5, seeds, rng, 0.02),
            "b": power_law(budget, 1.2, gain, 0.2, seeds, rng, 0.02),
        }
        a, b = (arm(name, *rows) for name, rows in values.items())
        found = crossings(a, b)
        inside += any((each.low or 0.0) <= true <= (each.high or np.inf) for each in found)
    assert 0.90 <= inside / studies <= 0.98 + 0.01 * (seeds == 2)
