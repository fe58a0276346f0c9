"""What would change the answer: counted from the data, and silent where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from reports import answer
from reports.outlook import POWER, outlook
from reports.study import Study


def test_a_decided_order_is_measured_in_spreads_between_seeds(finished):
    first, second = outlook(Study(finished), "glow", "vae")
    spread = np.std([2.31, 2.33, 2.30], ddof=1)
    gap = np.mean([2.31, 2.33, 2.30]) - np.mean([1.97, 1.99, 1.96])
    assert f"{gap / spread:.1f} times the larger standard deviation between seeds" in first
    # Both curves are value + 1.4 / step at 12 steps: neither gains on the other.
    assert "would not bring VAE closer" in second
    assert answer.answer(Study(finished)).outlook == [first, second]


def test_the_seeds_that_an_open_order_needs_are_those_that_would_tell_its_difference(study):
    a, b = [2.00, 2.10, 2.05], [2.03, 2.13, 2.10]
    found = outlook(Study(study({"vae": b, "glow": a}).results()), "glow", "vae")
    gap, variance = np.mean(b) - np.mean(a), np.var(a, ddof=1) + np.var(b, ddof=1)
    needed = int(np.ceil(variance * (POWER / gap) ** 2))
    assert f"about {needed} seeds of each family" in found[0]
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


@pytest.mark.parametrize("levels", [{"vae": [2.3], "glow": []}, {"vae": [], "glow": []}])
def test_nothing_is_said_where_there_is_nothing_to_compare(study, levels):
    assert outlook(Study(study(levels).results()), "glow", "vae") == []
