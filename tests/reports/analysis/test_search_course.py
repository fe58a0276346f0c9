"""What a search had found by what it had cost, against attempts whose order and costs are known by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.analysis.costs import COSTS, IMAGES, JOULES, OPERATIONS, SECONDS, Costs
from reports.analysis.results import Study
from reports.analysis.search_course import search_course
from tests.reports.analysis.test_costs import points

NAN = float("nan")


def course(builder, cost=SECONDS, arm="vae"):
    """The steps of an arm's search as pairs of cost and best value."""
    found = search_course(Costs(Study(builder.results())), cost, arm)
    return None if found is None else list(zip(found.cost.tolist(), found.value.tolist(), strict=True))


def test_trials_one_after_the_other_add_up_and_the_best_of_all_counts(empty):
    points(empty, empty.run("vae", "search", number=0), [5.0, 10.0], [3.0, 2.5])
    points(empty, empty.run("vae", "search", "pruned", number=1), [4.0, 8.0], [2.8, 2.9])
    points(empty, empty.run("vae", "search", number=2), [6.0], [2.0])
    points(empty, empty.run("glow", "search", number=0), [100.0], [1.0])
    points(empty, empty.run("vae", "final"), [100.0], [1.0])
    assert course(empty) == [(5.0, 3.0), (10.0, 2.5), (24.0, 2.0)]
    assert [cost for cost, _ in course(empty, IMAGES)] == [1000.0, 2000.0, 5000.0]


def test_an_attempt_that_continues_another_adds_what_it_trained_itself(empty):
    points(empty, empty.run("vae", "search", "pruned", number=0), [5.0, 10.0], [3.0, 2.5])
    points(empty, empty.run("vae", "search", number=1), [4.0], [2.8])
    points(empty, empty.run("vae", "search", number=0, attempt=2), [5.0, 10.0, 17.0], [3.0, 2.5, 2.1])
    assert course(empty) == [(5.0, 3.0), (10.0, 2.5), (21.0, 2.1)]


def test_evaluations_of_workers_at_once_are_in_the_order_in_which_they_were_made(empty):
    start = pd.Timestamp("2025-01-01", tz="UTC")
    points(empty, empty.run("vae", "search", number=0, started=start), [10.0, 20.0], [3.0, 2.0])
    late = start + pd.Timedelta(seconds=5)
    points(empty, empty.run("vae", "search", number=1, started=late), [10.0, 20.0], [2.5, 1.0])
    # At 10 s, 15 s, 20 s and 25 s, of which each had cost one of them ten more.
    assert course(empty) == [(10.0, 3.0), (20.0, 2.5), (30.0, 2.0), (40.0, 1.0)]


@pytest.mark.parametrize("state", ["diverged", "failed", "out_of_memory"])
def test_what_was_lost_is_on_the_bill_and_no_result(empty, state):
    points(empty, empty.run("vae", "search", number=0), [5.0], [3.0])
    points(empty, empty.run("vae", "search", state, number=1), [5.0, 10.0], [1.0, NAN])
    points(empty, empty.run("vae", "search", number=2), [5.0], [2.0])
    assert course(empty) == [(5.0, 3.0), (20.0, 2.0)]


def test_before_the_first_value_there_is_none(empty):
    points(empty, empty.run("vae", "search", number=0), [5.0, 10.0], [NAN, 2.0])
    found = search_course(Costs(Study(empty.results())), SECONDS, "vae")
    assert [found.level(cost) for cost in (10.0, 11.0)] == [2.0, 2.0]
    assert np.isnan(found.level(9.0))


def test_without_a_search_or_its_costs_there_is_no_course(empty):
    points(empty, empty.run("vae", "final"), [5.0])
    assert course(empty) is None
    points(empty, empty.run("vae", "search", number=0), [NAN], [2.0])
    assert course(empty) is None
    assert course(empty, IMAGES) == [(1000.0, 2.0)]
    assert course(empty, OPERATIONS) is None


def test_when_attempts_started_need_not_be_known(empty):
    points(empty, empty.run("vae", "search", number=0, started=pd.NaT), [5.0], [3.0])
    points(empty, empty.run("vae", "search", number=1, started=pd.NaT), [4.0], [2.0])
    assert course(empty) == [(5.0, 3.0), (9.0, 2.0)]


def test_operations_and_energy_are_those_of_each_run(empty):
    for number, (operations, joules) in enumerate([(10.0, 30.0), (20.0, 60.0)]):
        run = empty.run("vae", "search", number=number, param_latent_size=number + 2)
        points(empty, run, [5.0, 20.0], [3.0 / (number + 1), 2.0 / (number + 1)])
        empty.measure(run, "cost", "operations_per_image", operations)
        empty.measure(run, "cost", "training_joules", joules, conditions="RAPL")
    assert [cost for cost, _ in course(empty, OPERATIONS)] == [30_000.0, 60_000.0, 120_000.0, 180_000.0]
    assert [cost for cost, _ in course(empty, JOULES)] == [7.5, 30.0, 45.0, 90.0]


def test_at_its_end_a_search_has_cost_what_tuning_did(measured, four):
    for results in (measured, four):
        spent = Costs(Study(results))
        for arm in results.arms:
            for cost in COSTS[:2]:
                found = search_course(spent, cost, arm)
                all_of_it = spent.of_evaluations(cost, spent.searches[arm].points).sum()
                assert all_of_it == pytest.approx(spent.of_tuning(cost, arm))
                assert found.cost[-1] <= all_of_it
                assert (np.diff(found.cost) > 0).all()
                assert (np.diff(found.value) < 0).all()
