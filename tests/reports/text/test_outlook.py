"""What would change the answer: counted from the data, and silent where they say nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports.analysis.arm_forecasts import HORIZON_SCHEDULES, recorded
from reports.analysis.forecast import CHECKED, FARTHEST, FEWEST_POINTS, Crossing
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text import answer, method
from reports.text.outlook import HELD, POWER, outlook
from tests.benchmarks.forecast_coverage import OUTPUT


def test_a_decided_order_is_set_against_the_spread_over_configurations(finished):
    first, *more = outlook(Study(finished), "glow", "vae")
    levels = "from 2.10 to 9.70 for Glow (12) and from 2.46 to 9.70 for VAE (12)"
    assert first.startswith(f"Over the complete trials, validation bits/dim go {levels}: the ranges overlap, with ")
    trials = Study(finished).trials.query("state == 'complete'")
    values = {arm: frame["value"] for arm, frame in trials.groupby("arm")}
    above = int((values["glow"] > values["vae"].min()).sum())
    assert f"with {above} of 12 trials of Glow above the best of VAE: which arm is lower depends on" in first
    assert "The order holds for these implementations and this search space" in first
    assert "standard deviation between seeds" not in first
    assert answer.answer(Study(finished)).outlook == [first, *more]


def test_the_seeds_that_an_open_order_needs_are_those_that_would_separate_its_difference(study):
    a, b = [2.00, 2.10, 2.05], [2.03, 2.13, 2.10]
    found = outlook(Study(study({"vae": b, "glow": a}).results()), "glow", "vae")
    gap, variance = np.mean(b) - np.mean(a), np.var(a, ddof=1) + np.var(b, ddof=1)
    needed = int(np.ceil(variance * (POWER / gap) ** 2))
    assert f"about {needed} seeds of each arm" in found[0]
    # So many seeds bring the standard error to where the difference is POWER of them.
    assert gap / np.sqrt(variance / needed) >= POWER > gap / np.sqrt(variance / (needed - 1))


def training(results):
    """What is said of more training, behind what would decide the order."""
    return outlook(Study(results), "glow", "vae")[1:]


def final_curves(builder, arm, values):
    """Replace the validation curves of an arm's final runs."""
    finals = {run["run_id"] for run in builder.runs if (run["role"], run["arm"]) == ("final", arm)}
    for row in builder.histories:
        if row["run_id"] in finals:
            row["value"] = values(row["images"])


def test_more_training_is_forecast_from_the_curves(finished):
    # Both curves are value + 1.4 / step at 12 steps of 1,000 images, without noise.
    glow, vae, order, what = training(finished)
    assert f"at {'24 k'.replace(' ', NO_BREAK)} training images, 2 times its budget" in glow
    for sentence, level in ((glow, (1.97 + 1.99 + 1.96) / 3), (vae, (2.31 + 2.33 + 2.30) / 3)):
        value = f"{level + 1.4 / 24:.4f}"
        assert f"{value} ({value} to {value})" in sentence
        assert "10 times" not in sentence
    assert "is not forecast to change within 2 times the budget: the probability that it does is < 0.1%" in order
    assert what.startswith("Forecasts are no measurements")


def test_where_the_order_would_change_is_said(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    final_curves(builder, "glow", lambda images: 2.0 + 0.05 * (images / 12_000) ** -0.5)
    final_curves(builder, "vae", lambda images: 1.9 + 0.17 * (images / 12_000) ** -0.5)
    # They are level where 0.1 = 0.12 t^-0.5.
    (order,) = (each for each in training(builder.results()) if "the order of" in each)
    place = f"17.3{NO_BREAK}k training images"
    assert f"would change at {place} (95% interval: from {place} to {place})" in order
    assert "within 2 times the budget is > 99.9%" in order


def test_an_order_that_rather_stays_has_no_place_where_it_changes(finished, monkeypatch):
    found = Crossing(math.inf, 15_000.0, math.inf, 0.31, 12_000.0)
    monkeypatch.setattr("reports.text.outlook.crossing", lambda *_: found)
    (order,) = (each for each in training(finished) if "the order of" in each)
    assert "stays rather than changes within 2 times the budget: the probability that it changes is 31%" in order
    assert "nowhere" not in order


def test_the_method_is_that_of_the_forecasts():
    notes = dict(method.NOTES)
    assert "second half" not in notes["What would change the answer"]
    note = notes["Forecasts of more training"]
    for said in (f"fewer than {FEWEST_POINTS} evaluations", f"the first {CHECKED:.0%} of the curve", "never rises"):
        assert said in note
    assert "end at twice the budget" in note
    assert FARTHEST == 2


def test_the_coverage_that_the_text_states_was_measured():
    frame = pd.read_csv(OUTPUT / "forecast_coverage.csv")
    rows = frame[(frame["quantity"] == "at 2 times the budget") & (frame["source"] == "synthetic")]
    held = rows["held"].astype(bool)
    late = held[rows["shape"] == "late start"].mean()
    logged = frame[(frame["quantity"] == "end") & (frame["group"] == "second half")]
    ends = logged.loc[~logged["shape"].isin(HORIZON_SCHEDULES), "held"].astype(bool)
    assert (
        f"{1000 * held.mean():.0f} of 1,000 ends of synthetic curves, {100 * late:.0f} in 100 of those that begin "
        f"late, and {ends.sum()} of {len(ends)} of logged curves"
    ) == HELD


def test_a_cosine_has_no_forecast_and_says_why(finished):
    runs = finished.runs.copy()
    runs["param.decay"] = "cosine"
    found = training(replace(finished, runs=runs))
    assert found == [
        "No forecast of more training is made of Glow and VAE: the learning rate ends with the budget (cosine), and a "
        "longer run would not begin with this one."
    ]


def test_one_arm_without_a_forecast_is_named_and_the_other_is_forecast(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    final_curves(builder, "vae", lambda images: 2.3 + 0.1 * abs(images / 1000 - 4))
    glow, what, vae = training(builder.results())
    assert "Glow is forecast to reach" in glow
    assert what.startswith("Forecasts are no measurements")
    assert vae == "No forecast of more training is made of VAE: validation rose before the end."


def test_earlier_forecasts_are_kept_score_of(finished):
    before = recorded(Study(finished))
    short = before.assign(made_at=before["made_at"] / 2, budget=before["budget"] / 2)
    assert len(short) > len(short["arm"].unique())
    short["value"], short["low"], short["high"] = 2.2, 2.0, 2.4
    found = outlook(Study(finished, short), "glow", "vae")
    glow, vae = (each for each in found if "earlier forecast" in each)
    # 1.25, 1.5 and twice 6,000 images are one forecast, measured 1.973 + 1.4 / step and 2.313 + 1.4 / step.
    assert glow.startswith("The earlier forecast of Glow, made at ")
    assert glow.endswith("was 2.20 (2.00 to 2.40) bits/dim, and 2.0900 was measured: its interval held it.")
    assert vae.endswith("its interval did not hold it.")
    earlier = pd.concat([short, short.assign(made_at=4_000.0, low=2.15, value=2.2)], ignore_index=True)
    glow = next(each for each in outlook(Study(finished, earlier), "glow", "vae") if "earlier forecast" in each)
    assert glow.startswith("Of 2 earlier forecasts of Glow, 1 held what was measured since; the farthest, made at ")


def test_ranges_that_do_not_overlap_are_named_as_such(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    for row in builder.measurements:
        if row["split"] == "validation" and row["family"] == "vae":
            row["value"] = 50.0 + float(str(row["value"]))
    first, *_ = outlook(Study(builder.results()), "glow", "vae")
    assert "the ranges do not overlap." in first


def test_a_single_trial_has_no_range(study):
    builder = study({"vae": [2.3, 2.31], "glow": [1.97, 1.98]})
    builder.measurements = [row for row in builder.measurements if row["split"] != "validation"]
    builder.histories = []
    assert outlook(Study(builder.results()), "glow", "vae") == [
        "The order holds for these implementations and this search space, not for the families as such.",
        "No forecast of more training is made of Glow and VAE: no final run has a learning curve.",
    ]


@pytest.mark.parametrize("levels", [{"vae": [2.3], "glow": []}, {"vae": [], "glow": []}])
def test_nothing_is_said_where_there_is_nothing_to_compare(study, levels):
    assert outlook(Study(study(levels).results()), "glow", "vae") == []


def test_a_budget_that_patience_left_unspent_is_no_reason_to_hope_for_more(finished):
    seen = int(finished.histories["images"].max())
    for budget, ended in ((seen + 1, True), (seen, False)):
        own = {"param.images": budget, "param.evaluations": 1, "param.batch_size": 1}
        second = training(replace(finished, runs=finished.runs.assign(**own)))[0]
        assert ("No forecast" in second and "patience ended training" in second) == ended
