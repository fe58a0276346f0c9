"""Trials that a person promoted: marked in their table, said on the page and beside the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.analysis.results import Study
from reports.pages.document import Paragraph
from reports.pages.study import page
from reports.text import run_tables
from reports.text.answer import answer
from reports.text.promotion import by_hand


def said_of(results, promoted):
    return by_hand(Study(replace(results, promoted=promoted)), ["vae", "glow"])


def test_trials_are_named_with_what_it_means_for_the_search(finished):
    assert said_of(finished, {}) == ""
    assert said_of(finished, {"vae": []}) == ""
    assert said_of(finished, {"gone": [1]}) == ""
    assert said_of(finished, {"glow": [5], "vae": [2, 7, 11]}) == (
        "Promoted by hand, to be trained to the whole budget though the search had stopped them: trials 2, 7 and 11 of "
        "VAE and trial 5 of Glow. Not trained to it: trial 2 of VAE (pruned), trial 11 of VAE (out of memory) and "
        "trial 5 of Glow (diverged)."
    )


def test_one_of_which_no_run_is_known_is_not_said_to_be_trained(finished):
    assert said_of(finished, {"glow": [99]}).endswith("Not trained to it: trial 99 of Glow (no run).")


def test_one_that_was_selected_is_said_to_be(finished):
    number = int(Study(finished).finals["glow"].trial["number"])
    assert said_of(finished, {"glow": [number]}).endswith(
        f"trial {number} of Glow. The selected trial of Glow is among them."
    )


def test_the_table_of_trials_marks_them(finished):
    study = Study(replace(finished, promoted={"vae": [3]}))
    (row,) = [row for row in run_tables.trials(study, "vae", {}).rows if row[0].text == "3"]
    assert "promoted by hand" in row[0].all_notes
    others = [row for arm in study.arms for row in run_tables.trials(study, arm, {}).rows if row[0].text != "3"]
    assert not any(
        "promoted by hand" in row[0].all_notes for row in [*others, *run_tables.trials(study, "glow", {}).rows]
    )


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("promoted", [{}, {"vae": [3]}])
def test_the_page_and_the_grounds_of_the_answer_say_so(finished, promoted):
    results = replace(finished, promoted=promoted)
    said = by_hand(Study(results), ["vae", "glow"])
    notes = [block.text for block in page(results).all_blocks() if isinstance(block, Paragraph)]
    assert (said in notes) == bool(promoted)
    assert (said in answer(Study(results)).grounds) == bool(promoted)
