"""Test bits/dim at shares of the budget, from tables whose values are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.analysis.differences import likelihood
from reports.analysis.results import Study
from reports.analysis.rungs import rungs
from tests.reports.conftest import FALLS, SLOW, curves_of

ENDS = {"vae": 1.2, "glow": 3.5}


def measured(builder, study, extra=0.0, **changed):
    """Each run's test bits/dim at 1,000, 2,000, 3,000 and 6,000 images, a Glow's at ``extra`` more."""
    for number, row in enumerate(study.runs.to_dict("records")):
        level = ENDS[row["arm"]] + 0.01 * number
        more = extra if row["arm"] == "glow" else 0.0
        columns = {
            "images": [each + more for each in (1000, 2000, 3000, 6000)],
            "evaluation": [1, 2, 3, 6],
            "bits_per_dim": [level + 3, level + 2, level + 1, level],
            "standard_error": 0.02,
            "importance_samples": 64,
        }
        builder.table(row, "budgets", **(columns | changed.get(row["run_id"], {})))
    return Study(builder.results())


def test_a_study_that_measured_no_rungs_has_none(empty):
    assert rungs(curves_of(empty, {"vae": [FALLS], "glow": [SLOW]})) == []
    assert rungs(Study(empty.results())) == []


def test_the_arms_at_each_rung_with_their_difference(empty):
    curves = {"vae": [FALLS, FALLS], "glow": [SLOW, SLOW]}
    found = rungs(measured(empty, curves_of(empty, curves)))
    assert [rung.images for rung in found] == [1000.0, 2000.0, 3000.0, 6000.0]
    assert [(rung.lowest, rung.second) for rung in found] == [("vae", "glow")] * 4
    assert list(found[3].levels["vae"]["value"]) == [1.2, 1.21]
    assert list(found[1].levels["glow"]["value"]) == [3.5 + 2.02, 3.5 + 2.03]
    assert found[3].interval.over_seeds
    assert found[3].interval.value == pytest.approx(3.525 - 1.205)
    assert not any(rung.early for rung in found)


def test_batches_that_do_not_divide_the_budget_make_no_rungs_of_their_own(empty):
    found = rungs(measured(empty, curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}), extra=15.0))
    assert [rung.images for rung in found] == [1015.0, 2015.0, 3015.0, 6015.0]
    assert all(len(rung.levels) == 2 for rung in found)


def test_one_seed_has_the_interval_over_images(empty):
    found = rungs(measured(empty, curves_of(empty, {"vae": [FALLS], "glow": [SLOW]})))
    assert (found[3].interval.over_seeds, found[3].interval.over_images) == (False, True)


def test_an_arm_is_compared_where_every_seed_was_measured(empty):
    study = curves_of(empty, {"vae": [FALLS, FALLS], "glow": [SLOW, SLOW]})
    first = study.finals["vae"].runs["run_id"].iloc[0]
    values = {first: {"bits_per_dim": [4.2, 3.2, np.nan, 1.2]}}
    found = rungs(measured(empty, study, **values))
    assert [list(rung.levels) for rung in found] == [["vae", "glow"], ["vae", "glow"], ["glow"], ["vae", "glow"]]
    assert (found[2].lowest, found[2].interval) == ("", None)


@pytest.mark.parametrize(
    ("images", "decay", "keeps"), [(6000, "plateau", True), (3000, "plateau", False), (6000, "cosine", False)]
)
def test_a_run_that_stopped_by_itself_keeps_its_value_at_larger_budgets(empty, images, decay, keeps):
    curves = {"vae": [FALLS[:3]], "glow": [SLOW]}
    budget = {"vae": (images, images // 1000, 100), "glow": (6000, 6, 100)}
    study = curves_of(empty, curves, budget=budget, decay={"vae": decay, "glow": "plateau"})
    first = study.finals["vae"].runs["run_id"].iloc[0]
    stopped = {"images": [1000, 2000, 3000], "evaluation": [1, 2, 3], "bits_per_dim": [4.2, 3.2, 2.2]}
    found = rungs(measured(empty, study, **{first: stopped}))
    assert list(found[3].levels) == (["vae", "glow"] if keeps else ["glow"])


def test_points_before_the_end_of_a_schedule_that_depends_on_the_budget_are_marked(empty):
    decays = {"vae": "cosine", "glow": "plateau"}
    found = rungs(measured(empty, curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, decay=decays)))
    assert [rung.early for rung in found] == [("vae",), ("vae",), ("vae",), ()]


def test_the_whole_budget_has_the_values_and_the_interval_of_the_answer(measured):
    found = rungs(Study(measured))
    assert [rung.whole for rung in found] == [False, False, False, True]
    assert found[-1].interval == likelihood(Study(measured), "vae", "glow")
    assert found[-1].interval.paired
    assert not found[-2].interval.paired


def test_values_of_the_answer_need_every_seed_and_the_end_of_training(measured):
    run = Study(measured).finals["vae"].runs["run_id"].iloc[0]
    table = measured.measurements
    lost = table.drop(table.index[(table["run_id"] == run) & (table["metric"] == "bits_per_dim")])
    assert not rungs(Study(replace(measured, measurements=lost)))[-1].whole
    longer = measured.histories.assign(images=2 * measured.histories["images"])
    assert not rungs(Study(replace(measured, histories=longer)))[-1].whole


def test_the_values_of_every_rung_are_by_run(measured):
    study = Study(measured)
    for rung in rungs(study):
        assert {arm: set(level.index) for arm, level in rung.levels.items()} == {
            arm: set(study.finals[arm].runs["run_id"]) for arm in ("vae", "glow")
        }
