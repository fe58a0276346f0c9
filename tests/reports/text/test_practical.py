"""Practical size in words: the probabilities, what the region is as file size, and why there is none."""

from __future__ import annotations

import dataclasses

from reports.analysis import differences
from reports.analysis.practical import practical_size
from reports.analysis.results import Study
from reports.analysis.won_images import Win
from reports.formatting import NO_BREAK, chance
from reports.text import practical
from reports.text.answer import answer
from tests.reports.analysis.test_won_images import two_arms


def said(study):
    return " ".join(practical.sentence(study, "glow", "vae")).replace(NO_BREAK, " ")


def ground(study, low="glow", high="vae"):
    return practical.ground(study, low, high).replace(NO_BREAK, " ")


def test_the_sentence_of_the_answer(measured):
    study = Study(measured)
    assert said(study) == (
        "In practice Glow is better (P > 0.999 by more than 0.01 bits/dim, 28.8 bytes over 360 test images)."
    )
    assert ground(study) == (
        "P(Glow better than VAE by more than 0.01 bits/dim) > 0.999, P(practically equal) "
        "< 0.001, P(VAE better by more) < 0.001. 0.01 bits/dim are 0.0800 bytes an image, 28.8 bytes over 360 test "
        "images, 0.507% of the lowest mean."
    )
    (short,) = practical.sentence(study, "glow", "vae")
    assert short in answer(study).first
    assert practical.ground(study, "glow", "vae") in answer(study).grounds


def test_the_readers_region_is_named(measured):
    study = Study(dataclasses.replace(measured, equivalence=0.34))
    assert "by more than 0.34 bits/dim) = 0.500" in ground(study)
    assert said(study).startswith("Whether the difference matters in practice is open (P = 0.")
    equal = Study(dataclasses.replace(measured, equivalence=0.5))
    assert said(equal).startswith("Practically equal (P > 0.999 within 0.5 bits/dim, ")
    assert "practically equal" not in " ".join(answer(Study(measured)).outlook)


def test_a_clear_difference_that_is_too_small_to_matter_needs_no_more_seeds(measured):
    equal = Study(dataclasses.replace(measured, equivalence=0.5))
    interval = differences.likelihood(equal, "vae", "glow")
    assert interval is not None
    said = " ".join(answer(equal).outlook)
    assert ("may settle which is lower" in said) == interval.contains_zero
    assert ("the difference is clear, and too small to matter" in said) != interval.contains_zero


def test_two_levels_are_said_in_nats_too(study):
    builder = study({"vae": [0.15, 0.151], "glow": [0.17, 0.171]})
    results = builder.results(dataset={"name": "b", "image_shape": (28, 28, 1), "grey_levels": 2})
    text = ground(Study(results), "vae", "glow")
    assert "0.01 bits/dim are 5.43 nats or 0.980 bytes an image, 353 bytes over 360 test images, 6.64% of" in text


def test_one_seed_says_why_there_is_no_probability(study):
    results = study({"vae": [2.3], "glow": [2.0, 2.01]}, measured=True).results()
    assert said(Study(results)) == ""
    why = ground(Study(results))
    assert practical.ground(Study(results), "glow", "vae") in answer(Study(results)).grounds
    assert why == (
        "How probably the difference is more than 0.01 bits/dim is not known: both arms need two training seeds or "
        "more, not 2 of Glow and 1 of VAE."
    )
    (row,) = practical.table(Study(results)).rows
    assert [cell.text for cell in row[:5]] == ["Glow and VAE", "–", "–", "–", "not known"]
    assert row[4].notes == ["both arms need two training seeds or more, not 2 of Glow and 1 of VAE"]
    assert row[5].notes[0].endswith("over images")


def test_the_table_has_every_pair(four):
    table = practical.table(Study(four))
    assert [row[0].text for row in table.rows][:3] == ["deep and shallow", "deep and conv", "deep and dense"]
    for row in table.rows:
        first, second = row[0].text.split(" and ")
        found = practical_size(Study(four), first, second).probabilities
        assert [cell.order for cell in row[1:4]] == [found.better, found.equal, found.worse]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_a_study_without_measured_arms_has_no_row(empty, study):
    assert practical.table(Study(empty.results())).rows == []
    assert practical.table(Study(study({"vae": [2.3, 2.31]}).results())).rows == []


def test_no_probability_is_certain():
    assert [chance(p) for p in (0.0, 0.0004, 0.25, 0.9994, 0.9996, 1.0)] == [
        "< 0.001",
        "< 0.001",
        "0.250",
        "0.999",
        "> 0.999",
        "> 0.999",
    ]


def test_images_in_words():
    win = Win("glow", "vae", (4, 2), (0.31, 0.0042), 2, 1, 3)
    study = Study(two_arms([0.1, 0.2]))
    assert practical.won(study, win) == (
        "Glow is better than VAE on 2 of 3 test images (66.7%), by more than 0.01 bits/dim on 1 of them"
    )
    assert practical.won_labels(win) == ("0.3100", "0.0042")
    assert practical.won_labels(Win("glow", "vae", (1,), (1e-9,), 1, 0, 3)) == ("< 0.0001",)
    none = Win("vae", "glow", (), (), 0, 0, 3)
    assert practical.won(study, none) == "VAE is better than Glow on none of 3 test images"
    assert practical.won_labels(none) == ()
