"""Alarms sound where they should, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from reports.answer import answer
from reports.diagnostics import findings
from reports.formatting import NO_BREAK
from reports.study import Study

LEVELS = {"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}


def texts(results, *, alarm):
    return [f.text.replace(NO_BREAK, " ") for f in findings(Study(results)) if f.alarm == alarm]


def changed(study, metric, values, **known):
    """The study with a metric's value replaced in every final run that has it, one value a seed."""
    builder = study(LEVELS, measured=True)
    for row in builder.measurements:
        if row["metric"] == metric:
            row |= {"value": values[int(str(row["seed"]))], **known}
    return builder.results()


@pytest.mark.parametrize(
    ("metric", "silent", "loud", "words"),
    [
        (
            "collapsed_share",
            [0.4] * 3,
            [0.5] * 3,
            "Posterior collapse: 12 of 32 latents of VAE are active, 50% are not",
        ),
        ("round_trip_error", [0.5] * 3, [0.1, 0.1, 0.6], "Glow loses images"),
        ("condition_number", [1e4] * 3, [10, 2e4, 10], "Ill conditioned"),
        ("effective_sample_size", [2.0] * 3, [1.9] * 3, "rests on single weights"),
        ("data_copying", [0.5, 0.6, 0.7], [0.6, 0.61, 0.62], "Data copying: samples of VAE"),
        ("auroc", [0.3, 0.5, 0.7], [0.2, 0.21, 0.22], "VAE finds mnist 8x8 likelier than its own held-out data"),
    ],
)
def test_alarm_thresholds(study, metric, silent, loud, words):
    assert not any(words in text for text in texts(changed(study, metric, silent), alarm=True))
    results = changed(study, metric, loud)
    assert any(words in text for text in texts(results, alarm=True))
    assert any(words in detail.replace(NO_BREAK, " ") for detail in answer(Study(results)).details)


def test_no_active_unit_is_collapse_even_where_the_share_is_not_known(study):
    builder = study(LEVELS, measured=True)
    builder.measurements = [row for row in builder.measurements if row["metric"] != "collapsed_share"]
    for row in builder.measurements:
        if row["metric"] == "active_units":
            row["value"] = 0
    assert any("Posterior collapse: 0 of 32 latents" in text for text in texts(builder.results(), alarm=True))


@pytest.mark.parametrize(
    ("last", "error", "words", "alarm"),
    [
        (2.2995, 0.00001, "it has flattened", False),
        (2.28, 0.05, "cannot tell whether it has flattened", False),
        (2.28, 0.0001, "it has not flattened", True),
    ],
)
def test_what_the_last_doubling_changed(study, last, error, words, alarm):
    builder = study({"vae": [2.3], "glow": [2.0]}, measured=True)
    tables = builder.results().tables
    frame = tables["bound_by_samples"]
    run = frame["run_id"].iloc[0]
    mine = frame[frame["run_id"] == run].tail(2).copy()
    mine["bits_per_dim"], mine["monte_carlo_error"] = [2.3, last], error
    said = texts(builder.results(tables={"bound_by_samples": mine}), alarm=alarm)
    assert any(text.startswith("VAE: from k = 32 to 64 the bound fell by") and words in text for text in said)


def test_worst_convolution_is_named(study):
    said = texts(study(LEVELS, measured=True).results(), alarm=False)
    assert any("the condition number 33, at level 2, step 1 counted from 0" in text for text in map(str.lower, said))


def test_interval_of_an_auroc_stays_within_0_and_1(study):
    said = texts(changed(study, "auroc", [0.97, 0.98, 1.0]), alarm=False)
    assert any("AUROC 0.983 (95% interval 0.945 to 1.000, 3 seeds)" in text for text in said)


def test_nothing_to_say_of_old_results(finished):
    assert findings(Study(finished)) == []


def test_values_that_are_not_finite_raise_nothing(study):
    for metric in ("collapsed_share", "round_trip_error", "condition_number", "data_copying", "auroc"):
        findings(Study(changed(study, metric, [np.nan, np.inf, np.nan])))
