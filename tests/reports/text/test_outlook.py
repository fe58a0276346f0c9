"""What would change the answer: counted from the data, and silent where they say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.analysis.results import Study
from reports.text import answer
from reports.text.outlook import POWER, outlook


def test_a_decided_order_is_set_against_the_spread_over_configurations(finished):
    first, second = outlook(Study(finished), "glow", "vae")
    levels = "from 2.10 to 9.70 for Glow (12) and from 2.46 to 9.70 for VAE (12)"
    assert first.startswith(f"Over the complete trials, validation bits/dim go {levels}: the ranges overlap, with ")
    trials = Study(finished).trials.query("state == 'complete'")
    values = {arm: frame["value"] for arm, frame in trials.groupby("arm")}
    above = int((values["glow"] > values["vae"].min()).sum())
    assert f"with {above} of 12 trials of Glow above the best of VAE: which arm is lower depends on" in first
    assert "The order holds for these implementations and this search space" in first
    assert "standard deviation between seeds" not in first
    # Both curves are value + 1.4 / step at 12 steps: neither gains on the other.
    assert "would not bring VAE closer" in second
    assert answer.answer(Study(finished)).outlook == [first, second]


def test_the_seeds_that_an_open_order_needs_are_those_that_would_separate_its_difference(study):
    a, b = [2.00, 2.10, 2.05], [2.03, 2.13, 2.10]
    found = outlook(Study(study({"vae": b, "glow": a}).results()), "glow", "vae")
    gap, variance = np.mean(b) - np.mean(a), np.var(a, ddof=1) + np.var(b, ddof=1)
    needed = int(np.ceil(variance * (POWER / gap) ** 2))
    assert f"about {needed} seeds of each arm" in found[0]
    # So many seeds bring the standard error to where the difference is POWER of them.
    assert gap / np.sqrt(variance / needed) >= POWER > gap / np.sqrt(variance / (needed - 1))


def test_more_training_is_counted_in_doublings(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    for row in builder.histories:
        run = next(run for run in builder.runs if run["run_id"] == row["run_id"])
        if run["role"] == "final" and run["family"] == "vae":
            row["value"] = 3.0 - 0.1 * np.log2(row["images"])
    (_, training) = outlook(Study(builder.results()), "glow", "vae")
    gain_of_glow = 1.4 / 6 - 1.4 / 12
    assert "changed by −0.117 and that of VAE by −0.100" in training
    assert gain_of_glow == pytest.approx(0.117, abs=1e-3)
    assert "would not bring VAE closer" in training


def test_ranges_that_do_not_overlap_are_named_as_such(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    for row in builder.measurements:
        if row["split"] == "validation" and row["family"] == "vae":
            row["value"] = 50.0 + float(str(row["value"]))
    first, _ = outlook(Study(builder.results()), "glow", "vae")
    assert "the ranges do not overlap." in first


def test_a_single_trial_has_no_range(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    builder.measurements = [row for row in builder.measurements if row["split"] != "validation"]
    builder.histories = []
    assert outlook(Study(builder.results()), "glow", "vae") == [
        "The order holds for these implementations and this search space, not for the families as such."
    ]


def test_rising_validation_is_no_loss_of_longer_training(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    for row in builder.histories:
        run = next(run for run in builder.runs if run["run_id"] == row["run_id"])
        if run["role"] == "final" and run["family"] == "vae":
            row["value"] = 2.3 + 0.1 * abs(row["step"] - 4)
    (_, training) = outlook(Study(builder.results()), "glow", "vae")
    assert "that of VAE by 0:" in training


@pytest.mark.parametrize("levels", [{"vae": [2.3], "glow": []}, {"vae": [], "glow": []}])
def test_nothing_is_said_where_there_is_nothing_to_compare(study, levels):
    assert outlook(Study(study(levels).results()), "glow", "vae") == []


def test_a_budget_that_patience_left_unspent_is_no_reason_to_hope_for_more(finished):
    seen = int(finished.histories["images"].max())
    for budget, ended in ((seen + 1, True), (seen, False)):
        settings = {**finished.settings, "training_images": {"vae": budget, "glow": budget}}
        _, second = outlook(Study(replace(finished, settings=settings)), "glow", "vae")
        assert second.startswith("All final runs of Glow and VAE ended by patience") == ended
