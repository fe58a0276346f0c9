"""How runs ended: metrics that could not be measured."""

from __future__ import annotations

from dataclasses import replace

from reports.analysis.results import Study
from reports.text import state_tables
from tests.reports.conftest import texts


def test_a_metric_that_could_not_be_measured_stands_with_its_reason(study):
    results = study({"vae": [2.3], "glow": [1.97]}).results()
    run_id = results.runs.loc[(results.runs["role"] == "final") & (results.runs["arm"] == "glow"), "run_id"].iloc[0]
    reasons = {"kid": "needs 50 images", "mine": "ZeroDivisionError: no"}
    assert texts(state_tables.unavailable(Study(replace(results, unavailable={run_id: reasons})))) == [
        ["Glow", "Kernel distance (KID)", "needs 50 images", "1"],
        ["Glow", "mine", "ZeroDivisionError: no", "1"],
    ]
    assert not state_tables.unavailable(Study(results)).rows
