"""The Pareto front against its definition, and the trade-offs' points against the frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from reports.analysis.results import Study
from reports.analysis.trade_offs import on_front, trade_offs

FEW = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(FEW, FEW), min_size=1, max_size=30))
def test_a_point_is_on_the_front_if_and_only_if_none_dominates_it(points):
    expected = [
        not any((a <= x and b <= y) and (a < x or b < y) for a, b in points)  # the definition
        for x, y in points
    ]
    x, y = (pd.Series(values) for values in zip(*points, strict=True))
    assert list(on_front(x, y)) == expected


def test_trials_are_traded_against_time_and_size_and_final_runs_against_speed(study):
    builder = study({"vae": [2.31, 2.33], "glow": [1.97, 1.99]}, measured=True)
    for number, run in enumerate(row for row in builder.runs if row["role"] == "search"):
        if run["state"] == "complete":
            builder.measure(run, "cost", "parameters", 1000 + number)
            builder.measure(run, "cost", "training_seconds", 5.0)
    found = trade_offs(Study(builder.results()))
    # All trials took the same time, so that there is nothing to trade.
    assert [(trade.metric, trade.split) for trade in found] == [
        ("parameters", "validation"),
        ("sample_images_per_second", "test"),
        ("sample_images_per_second", "test"),
    ]
    size, one, many = found
    assert not size.higher_is_better
    assert len(size.points) == sum(row["role"] == "search" and row["state"] == "complete" for row in builder.runs)
    assert (one.conditions[-8:], many.conditions[-8:]) == (" batch 1", "batch 64")
    assert many.higher_is_better
    # The VAE samples faster, Glow is the likelier: the best of each stands on the front.
    assert set(many.front["arm"]) == {"vae", "glow"}
    assert many.front["cost"].is_monotonic_increasing
    assert many.front["value"].is_monotonic_increasing


def test_runs_without_a_finite_figure_are_no_points(study):
    builder = study({"vae": [2.31, np.nan], "glow": [1.97]}, measured=True)
    speeds = [trade for trade in trade_offs(Study(builder.results())) if trade.metric == "sample_images_per_second"]
    assert [len(trade.points) for trade in speeds] == [2, 2]
