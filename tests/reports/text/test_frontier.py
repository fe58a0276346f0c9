"""Which arm is better for how much, in words: what was measured, what is open, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.analysis.frontier import frontiers
from reports.analysis.results import Study
from reports.analysis.rungs import rungs
from reports.formatting import NO_BREAK
from reports.text import frontier
from reports.text.equal_time import at_equal_time
from tests.reports.analysis.test_targets import CODES, TIMES
from tests.reports.conftest import FALLS, SLOW, curves_of, shifted


def said(study):
    found = frontiers(study)
    *orders, basis = [text.replace(NO_BREAK, " ") for text in frontier.sentences(study, found)] or [frontier.BASIS]
    assert basis == frontier.BASIS
    return orders


def cells(table):
    """The table's cells as text, their notes in parentheses."""
    return [
        [f"{cell.text} ({'; '.join(cell.notes)})".removesuffix(" ()").replace(NO_BREAK, " ") for cell in row]
        for row in table.rows
    ]


def test_ranges_and_crossing_by_time_then_by_images(empty):
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    by_time, by_images = said(curves_of(empty, curves, seconds=dict.fromkeys(TIMES, 2.0)))
    assert by_time == (
        "On validation, "
        "by training time, Glow is lower from 2.00 s to 4.00 s; VAE is lower from 6.00 s to 12 s. The means of Glow "
        "and VAE cross at 6.00 s (95% interval 4.00 s to 6.00 s): Glow is lower before, VAE after."
    )
    assert by_images.startswith(
        "On validation, by training images seen, Glow is lower from 1,000 images to 2,000 images; VAE is lower"
    )


def test_what_the_seeds_do_not_separate_is_open(empty):
    curves = {"vae": [FALLS, shifted(FALLS, 3.0)], "glow": [SLOW, shifted(SLOW, 3.0)]}
    (by_images,) = said(curves_of(empty, curves))
    assert by_images == (
        "On validation, "
        "by training images seen, the seeds leave open which of VAE and Glow is lower at every budget measured, from "
        "1,000 images to 6,000 images. The means of Glow and VAE cross at 3,000 images (open, as the seeds separate "
        "the arms on neither side): Glow is lower before, VAE after."
    )


def test_one_seed_is_said_to_have_no_interval(empty):
    (by_images,) = said(curves_of(empty, {"vae": [FALLS], "glow": [SLOW, shifted(SLOW)]}))
    assert by_images == (
        "On validation, "
        "by training images seen, VAE has the lowest value at 6,000 images, the largest budget that is known of "
        "all; VAE has one seed, so that no interval is known. The means of Glow and VAE cross at 3,000 images (one "
        "seed, so no interval): Glow is lower before, VAE after."
    )


def test_of_three_arms_without_a_common_budget_that_is_said_and_no_pair_is_called_apart(empty):
    curves = {"vae": [FALLS], "glow": [SLOW], "pixelcnn": [SLOW]}
    by_time, _ = said(curves_of(empty, curves, seconds={**dict.fromkeys(TIMES, 2.0), "pixelcnn": 100.0}))
    assert by_time == (
        "On validation, by training time, no budget was measured of all arms: VAE ends at 12 s, and the first "
        "evaluation of pixelcnn is at 100 s."
    )


def test_tuning_may_leave_no_budget_at_which_both_were_measured(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 100)  # half a second each
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    *_, tuned = said(curves_of(empty, curves, seconds=dict.fromkeys(TIMES, 1.0)))
    assert tuned == (
        "On validation with tuning included, "
        "50 s for VAE and 0 s for Glow, no budget was measured of the final runs of two arms: Glow ends at 6.00 s, "
        "before the first evaluation of VAE at 51 s; the search of VAE had come to 3.00 by then (one search, so no "
        "interval), and the final runs of Glow to 3.5050 ± 0.0050."
    )


def test_what_a_search_had_found_stands_where_its_final_runs_have_no_value_yet_and_enters_no_verdict(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 50 + [2.0] * 50)
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    study = curves_of(empty, curves, seconds=dict.fromkeys(TIMES, 5.0))
    tuned = [each for each in frontiers(study) if each.with_tuning and each.cost.name == "seconds"]
    first, last = cells(frontier.budgets(study, tuned))
    assert first == [
        "30 s (training time; with tuning)",
        "2.00 (the best of its search so far)",
        "3.5050 ± 0.0050",
        "–",
        "–",
    ]
    assert last[1:3] == ["1.2050 ± 0.0050", "ended (3.5050 ± 0.0050 at 30 s)"]


def test_before_a_search_has_begun_there_is_nothing(empty):
    empty.history(empty.run("vae", "search", number=0), [float("nan")] * 99 + [2.0])
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    *_, tuned = said(curves_of(empty, curves, seconds=dict.fromkeys(TIMES, 1.0)))
    assert tuned.endswith("before the first evaluation of VAE at 51 s.")


def test_one_arm_has_nothing_to_be_better_than(empty):
    assert said(curves_of(empty, {"vae": [FALLS, FALLS]}, seconds=TIMES)) == []
    assert said(Study(empty.results(histories=empty.results().histories.iloc[:0]))) == []


def test_many_ranges_are_counted(empty):
    one, other = [10.0, 8.0, 8.0, 6.0, 6.0, 4.0, 4.0, 2.0], [9.0, 9.0, 7.0, 7.0, 5.0, 5.0, 3.0, 3.0]
    study = curves_of(empty, {"vae": [one, shifted(one)], "glow": [other, shifted(other)]})
    (by_images,) = said(study)
    assert by_images == (
        "On validation, "
        "by training images seen, Glow is lower at 1,000 images; VAE is lower at 8,000 images; between these lie 6 "
        "more ranges, listed below. The means of Glow and VAE cross for the last of 7 times at 8,000 images (95% "
        "interval 7,000 images to 8,000 images): Glow is lower before, VAE after."
    )
    found = frontiers(study)
    assert [row[3] for row in cells(frontier.ranges(study, found))] == ["Glow", "VAE"] * 4
    assert len(frontier.crossing_table(study, found).rows) == 7


@pytest.mark.parametrize(
    ("decay", "words"), [("cosine", "depends on the budget"), (None, "is not known not to depend")]
)
def test_a_schedule_that_depends_on_the_budget_is_said_and_marked(empty, decay, words):
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    study = curves_of(empty, curves, decay={"vae": decay, "glow": "constant"})
    found = frontiers(study)
    (sentence,) = frontier.schedules(study, found)
    assert sentence.startswith(f"The learning-rate schedule of VAE {words}")
    rows = cells(frontier.budgets(study, found))
    assert [row[0].split(" (")[0] for row in rows] == ["750 images", "1,500 images", "3,000 images", "6,000 images"]
    assert rows[0][1:3] == ["none yet", "none yet"]
    assert "before its end" in rows[2][1]
    assert rows[2][3] == "VAE (VAE before its end)"
    assert "before its end" not in rows[3][1]
    assert rows[3][3] == "VAE"
    assert not any("before its end" in row[2] for row in rows)


def test_schedules_that_do_not_depend_on_it_need_no_words(empty):
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]})
    assert frontier.schedules(study, frontiers(study)) == []


def test_the_budgets_of_arms_that_end_apart(empty):
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    study = curves_of(empty, curves, seconds=TIMES)
    rows = cells(frontier.budgets(study, frontiers(study)[1:2]))
    assert rows[-1][:3] == ["18 s (training time)", "ended (1.2050 ± 0.0050 at 6.00 s)", "3.5050 ± 0.0050"]
    assert rows[-1][3:] == ["–", "–"]
    assert rows[1][2] == "none yet"


def test_a_value_held_after_patience_ended_training_is_marked(empty):
    curves = {"vae": [FALLS[:3], FALLS[:4]], "glow": [SLOW, SLOW]}
    study = curves_of(empty, curves, budget=dict.fromkeys(curves, (6000, 6, 100)))
    rows = cells(frontier.budgets(study, frontiers(study)))
    assert rows[-1][0] == "6,000 images (the largest known of every arm)"
    assert rows[-1][1] == "2.50 ± 0.50 (held since 3,000 images, where patience ended training)"
    assert "held" not in rows[-1][2]
    assert not any("held" in row[1] for row in rows[:-2])


def test_time_to_a_target_counts_misses(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 100)  # half a second each
    curves = {"vae": [FALLS, shifted(FALLS), SLOW], "glow": [SLOW, SLOW]}
    study = curves_of(empty, curves, seconds=TIMES, reference_codes=CODES)
    png, xz, pixelcnn = cells(frontier.time_to_target(study, frontiers(study)))
    assert png[2] == (
        "3.00 s to 4.00 s (3,000 images to 4,000 images; 2 of 3 seeds; not reached in 6.00 s by 1; with tuning 53 s to "
        "54 s)"
    )
    assert png[3] == "not reached in 18 s (in 6,000 images)"
    assert xz[2].startswith("6.00 s (6,000 images; 2 of 3 seeds")
    assert pixelcnn[2] == "not reached in 6.00 s (in 6,000 images)"


def test_time_to_a_target_without_seconds_is_images(empty):
    empty.run("glow", "final", "diverged", seed=7, param_decay="plateau")
    study = curves_of(empty, {"vae": [FALLS], "glow": [[2.0, 1.0]]}, reference_codes=CODES)
    png, xz, _ = cells(frontier.time_to_target(study, frontiers(study)))
    assert png[2:] == [
        "3,000 images",
        "≤ 1,000 images (the first evaluation in 1 seed; 1 of 2 seeds; not reached by 1; 1 seed diverged or failed)",
    ]
    assert xz[2] == "6,000 images"


def test_the_arms_on_test(measured):
    study = Study(measured)
    table = frontier.on_test(study, rungs(study))
    rows = cells(table)
    assert [row[0] for row in rows] == ["2,000 images", "3,000 images", "6,000 images", "12,000 images"]
    assert rows[3][1] == "2.3133 ± 0.0088 (k = 64)"
    assert rows[3][3] == "Glow"
    assert table.caption.endswith(
        "; 95% intervals over training seeds alone; at the whole budget, values and interval of the answer"
    )
    assert "before its end" in rows[0][1]  # its schedule was not logged


def test_one_seed_is_treated_alike_on_test_and_on_validation(study):
    one = Study(study({"vae": [2.31], "glow": [1.97]}, measured=True).results())
    on_test = frontier.on_test(one, rungs(one))
    at_share, *_ = cells(on_test)
    on_validation, *_ = (row for row in cells(frontier.budgets(one, frontiers(one))) if "of every arm" in row[0])
    assert at_share[3].startswith("Glow (seeds not repeated")
    assert on_validation[3].startswith("Glow (seeds not repeated")
    assert "no interval" in on_validation[4]
    assert "95% intervals over test images alone" in on_test.caption


def test_a_target_passed_by_the_first_evaluation_is_a_bound_without_tuning(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0] * 100)
    curves = {"vae": [[2.0, 1.0], [2.0, 1.0]], "glow": [SLOW, FALLS]}
    study = curves_of(empty, curves, seconds=TIMES, reference_codes=CODES)
    png, *_ = cells(frontier.time_to_target(study, frontiers(study)))
    assert png[2] == "≤ 1.00 s (1,000 images; the first evaluation in 2 seeds)"


def test_a_target_that_every_arm_passed_by_its_first_evaluation_is_named_and_not_listed(empty):
    curves = {"vae": [[2.0, 1.0]], "glow": [[2.5, 1.1]]}
    study = curves_of(empty, curves, seconds=TIMES, reference_codes=CODES)
    table = frontier.time_to_target(study, frontiers(study))
    assert [row[0].split(",")[0] for row in cells(table)] == ["xz", "PixelCNN"]
    assert ": PNG" in table.caption


def test_one_seed_has_no_ranges(empty):
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW, shifted(SLOW)]})
    found = frontiers(study)
    assert frontier.ranges(study, found).rows == []
    study = curves_of(type(empty)(), {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]})
    assert frontier.ranges(study, frontiers(study)).rows


def test_captions_name_an_error_where_there_is_one_and_tell_the_tables_apart(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0])
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]})
    plain, tuned = (
        [each for each in frontiers(study) if each.with_tuning == with_tuning] for with_tuning in (False, True)
    )
    assert frontier.budgets(study, plain).caption == (
        "Validation bits/dim at each budget: one-sample bound, best evaluation so far"
    )
    assert frontier.budgets(study, tuned).caption.startswith("Validation bits/dim at each budget (with tuning):")
    several = curves_of(type(empty)(), {"vae": [FALLS, FALLS]})
    assert frontier.budgets(several, frontiers(several)).caption.endswith(
        "best evaluation so far, ± one standard error"
    )


def test_a_crossing_that_the_answer_says_is_not_said_again(empty):
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    study = curves_of(empty, curves, seconds=dict.fromkeys(TIMES, 2.0))
    answer = at_equal_time(study, "vae", "glow")
    by_time, by_images, _ = frontier.sentences(study, frontiers(study), answer)
    assert "cross" not in by_time
    assert "cross at 3,000 images" in by_images.replace(NO_BREAK, " ")


@pytest.mark.parametrize(("samples", "says"), [(64, False), (8, True)])
def test_another_bound_at_the_whole_budget_is_said(measured, samples, says):
    table = measured.tables["budgets"].assign(importance_samples=samples)
    of_vae = measured.runs.loc[measured.runs["arm"] == "vae", "run_id"]
    table = table[table["run_id"].isin(of_vae)]
    found = Study(replace(measured, tables=measured.tables | {"budgets": table}))
    caption = frontier.on_test(found, rungs(found)).caption
    assert caption.endswith("by another k, which changes the bound") == says
