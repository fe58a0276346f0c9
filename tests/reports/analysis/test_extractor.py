"""An extractor near chance is an alarm, and what rests on it is marked; broken samples are counted aloud."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis import differences
from reports.analysis.extractor import doubtful
from reports.analysis.findings import findings
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.pages.study import page
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text import comparison_tables
from reports.text.answer import answer

NEAR, OPEN = "extractor near chance", "extractor possibly at chance"
NAME = "classifier features"
"""The conditions of the scores in the synthetic studies."""


def extracted(study, accuracy, chance=0.25, n=360, conditions=NAME):
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}, measured=True)
    for run in [run for run in builder.runs if run["role"] == "final"]:
        for metric, value in (("extractor_accuracy", accuracy), ("extractor_chance", chance)):
            builder.measure(run, "quality", metric, value, n=n, conditions=conditions)
    return Study(builder.results())


@pytest.mark.parametrize(
    ("accuracy", "chance", "n", "mark"),
    [
        (0.25, 0.25, 360, NEAR),
        (0.28, 0.25, 360, NEAR),
        (0.30, 0.25, 10_000, NEAR),
        (0.62, 0.58, 1000, NEAR),
        (0.35, 0.25, 360, ""),
        (0.972, 0.1, 359, ""),
        (1.0, 0.5, 8, ""),
        (float("nan"), 0.25, 360, ""),
        (1e308, 0.25, 360, ""),
        (-1.0, 0.25, 360, ""),
        (0.30, 0.15, 20, OPEN),
        (0.35, 0.25, 20, OPEN),
        (0.25, 0.25, 4, OPEN),
        (0.60, 0.58, 1000, OPEN),
        (1.0, 0.5, 4, OPEN),
    ],
)
def test_near_chance_is_told_apart_from_too_few_images(study, accuracy, chance, n, mark):
    found = doubtful(extracted(study, accuracy, chance, n))
    assert {name: skill.mark for name, skill in found.items()} == ({NAME: mark} if mark else {})


@pytest.mark.usefixtures("no_figures")
def test_too_few_images_are_no_proof_that_features_say_little(study):
    known = extracted(study, 0.30, 0.15, 20)
    (said,) = [finding for finding in findings(known) if "xtractor" in finding.text]
    assert said.alarm
    assert said.text == (
        "Extractor possibly at chance: the classifier features on whose features sample quality is measured predicts "
        "30.0% of 20 validation images correctly, and a constant prediction 15.0%. 20 images are too few to tell this "
        "from chance, and whether its features say anything of an image is open: do not rely on the scores that the "
        "comparison marks."
    )
    html = page_as_html(page(known.results))
    assert html.count('<strong class="alarm">extractor possibly at chance</strong>') == 3
    assert "near chance" not in said.text


def test_of_images_of_one_label_nothing_can_be_told(study):
    (said,) = [finding for finding in findings(extracted(study, 1.0, 1.0, 10_000)) if "xtractor" in finding.text]
    assert "All of them have one label, so that nothing is known of its features" in said.text
    assert "too few" not in said.text


def test_an_extractor_near_chance_is_an_alarm_once(study):
    known = extracted(study, 0.25)
    said = [finding for finding in findings(known) if "near chance" in finding.text]
    assert [finding.alarm for finding in said] == [True]
    assert said[0].text.startswith(
        "Extractor near chance: the classifier features on whose features sample quality is measured predicts 25.0% of "
        "360 validation images correctly, and a constant prediction 25.0%."
    )
    assert said[0].text in answer(known).alarms


@pytest.mark.usefixtures("no_figures")
def test_the_scores_that_use_it_are_marked_and_no_others(study):
    known = extracted(study, 0.25)
    rows = dict(comparison_tables.comparison(known))["Sample quality"]
    marked = {(row.label, row.notes[0]) for row in rows if row.warning}
    assert marked == {
        ("Kernel distance (KID)", NAME),
        ("Fréchet distance", NAME),
        ("Recall", NAME),
    }
    tested = comparison_tables.differences(known, differences.differences(known))
    notes = {row[0].notes[-2]: row[0].notes[0] for row in tested.rows if row[0].text == "Fréchet distance"}
    assert notes[NAME] == "extractor near chance"
    assert notes["random features"] != "extractor near chance"
    shown = page(known.results)
    html, markdown = page_as_html(shown), page_as_markdown(shown)
    assert html.count('<strong class="alarm">extractor near chance</strong>') == 3
    assert markdown.count("**extractor near chance**") == 3


def test_a_good_extractor_marks_nothing(study):
    known = extracted(study, 0.97)
    assert doubtful(known) == {}
    assert not any(row.warning for _, rows in comparison_tables.comparison(known) for row in rows)


def test_results_without_an_accuracy_mark_nothing(measured, empty):
    assert doubtful(Study(measured)) == {}
    assert doubtful(Study(empty.results(swept={}))) == {}


def broken(study, shares, n=360):
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}, measured=True)
    for run in [run for run in builder.runs if run["role"] == "final" and run["arm"] == "glow"]:
        builder.measure(run, "quality", "non_finite_samples", shares[int(str(run["seed"]))], n=n)
    return [f.text.replace(NO_BREAK, " ") for f in findings(Study(builder.results())) if "Broken" in f.text and f.alarm]


def test_broken_samples_are_counted_over_seeds(study):
    (text,) = broken(study, [9 / 360, 0.0, 1 / 360])
    assert text.startswith(
        "Broken samples: 10 of 1,080 images that Glow generated (0.926%, 3 seeds) held values that are not finite."
    )


def test_whole_samples_are_no_finding(study):
    assert broken(study, [0.0, 0.0, 0.0]) == []
    assert broken(study, [np.nan, 0.0, 0.0]) == []
