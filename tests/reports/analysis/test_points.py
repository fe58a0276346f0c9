"""Points of learning curves give the same whether their runs are a category, as those of a store, or plain text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports.analysis.costs import COSTS, Costs
from reports.analysis.points import are_in_order, groups, largest, spread
from reports.analysis.results import Study
from reports.analysis.search_course import search_course

RUNS = pd.CategoricalDtype(["never seen", "c", "b", "a"])


def runs(*names):
    """The runs of points as plain text; their index is that of points of which some were left out."""
    return pd.Series(names, index=range(10, 10 - len(names), -1), name="run_id", dtype=object)


def as_category(results):
    """A study as it is read from a store."""
    order = pd.CategoricalDtype(list(results.runs["run_id"]))
    return replace(results, histories=results.histories.astype({"run_id": order}))


@pytest.mark.parametrize(
    "known",
    [
        pd.Series([1, 2, 3], ["a", "b", "c"]),
        pd.Series([1, 2], ["c", "a"]),
        pd.Series([True, False, True], ["a", "b", "elsewhere"]),
        pd.Series(["x", "y", "z"], ["c", "b", "a"]),
        pd.Series(pd.to_datetime(["2025-01-01", None, "2025-01-03"], utc=True), ["b", "a", "elsewhere"]),
        pd.Series([], pd.Index([], dtype=object), dtype=float),
    ],
    ids=["whole numbers", "some missing", "truths", "texts", "times", "nothing"],
)
@pytest.mark.parametrize("names", [("b", "a", "b", "c"), ("a",), ()], ids=["several", "one", "none"])
def test_what_is_known_of_runs_is_that_of_their_points(known, names):
    plain = runs(*names)
    pd.testing.assert_series_equal(spread(known, plain.astype(RUNS)), spread(known, plain))
    pd.testing.assert_series_equal(spread(known, plain), plain.map(known))


def test_points_are_grouped_by_their_runs():
    plain = runs("b", "a", "b", "c", "a")
    value = pd.Series([1.0, 2.0, 4.0, 8.0, 16.0], plain.index)
    for given in (plain, plain.astype("str"), plain.astype(RUNS)):
        assert value.groupby(groups(given), sort=False).cumsum().tolist() == [1.0, 2.0, 5.0, 8.0, 18.0]


@pytest.mark.parametrize(
    ("names", "steps", "expected"),
    [
        ("ccba", [1, 2, 1, 1], True),
        ("ccba", [2, 2, 1, 1], True),
        ("ccba", [2, 1, 1, 1], False),
        ("cbca", [1, 1, 2, 1], False),
        ("abc", [1, 1, 1], False),
        ("cc", [np.nan, 1], False),
        ("cc", [1, np.nan], False),
        ("c", [np.nan], True),
        ("", [], True),
    ],
)
def test_points_are_in_order_by_the_order_of_the_category(names, steps, expected):
    points = pd.DataFrame({"run_id": pd.Categorical(list(names), dtype=RUNS), "step": pd.Series(steps, dtype=float)})
    assert are_in_order(points) is expected
    if expected:
        pd.testing.assert_frame_equal(points.sort_values(["run_id", "step"], kind="stable"), points)


def test_points_without_a_run_come_last_and_plain_texts_are_always_sorted():
    points = pd.DataFrame({"run_id": pd.Categorical([None, "a"], dtype=RUNS), "step": [1, 1]})
    assert not are_in_order(points)
    assert not are_in_order(pd.DataFrame({"run_id": ["a", "b"], "step": [1, 1]}))


def test_the_points_of_a_study_are_in_the_order_of_evaluation_however_they_are_given(measured):
    expected = Study(measured).histories
    category = as_category(measured)
    shuffled = replace(category, histories=category.histories.sample(frac=1, random_state=0))
    for results in (category, shuffled):
        found = Study(results).histories
        assert found["run_id"].tolist() == expected["run_id"].tolist()
        for column in ("step", "images", "seconds", "value"):
            assert np.array_equal(found[column], expected[column], equal_nan=True)


def test_a_study_costs_the_same(measured, four):
    for results in (measured, four):
        plain, category = (Costs(Study(each)) for each in (results, as_category(results)))
        for arm in results.arms:
            for cost in COSTS:
                courses = [search_course(spent, cost, arm) for spent in (plain, category)]
                known = [each for each in courses if each is not None]
                assert len(known) in (0, 2)
                assert all(np.array_equal(known[0].cost, each.cost) for each in known)
                assert all(np.array_equal(known[0].value, each.value) for each in known)
                tuning = [spent.of_tuning(cost, arm) for spent in (plain, category)]
                assert np.array_equal(tuning[0], tuning[1], equal_nan=True)


def test_the_largest_values_of_all_runs_and_of_none_can_be_aligned_however_many_runs_there_are():
    """Of more than 127 categories, pandas numbers some by two bytes and none by one, and cannot align the two."""
    many = pd.Series(pd.Categorical([f"run {n:03}" for n in range(200)]), name="run_id")
    values = pd.Series(np.arange(200.0))
    of_all, of_none = largest(values, many), largest(values[:0], many[:0])
    assert of_all.to_dict() == {f"run {n:03}": float(n) for n in range(200)}
    pd.testing.assert_series_equal(of_all - of_none.reindex(of_all.index).fillna(0.0), of_all)
    pd.testing.assert_series_equal(of_all.sub(of_none, fill_value=0.0), of_all, check_names=False)
