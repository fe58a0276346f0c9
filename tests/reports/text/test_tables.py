"""Tables of the trials: stability by learning rate, and what was published beside what was obtained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.results import RunState
from reports.analysis import differences, literature
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text import tables


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_each_half_decade_of_the_learning_rate_counts_its_ends(empty):
    trials = [
        (1.1e-3, RunState.COMPLETE, 2.0),
        (2.9e-3, RunState.COMPLETE, 2.2),
        (3.0e-3, RunState.PRUNED, None),
        (0.5, RunState.DIVERGED, None),
        (0.9, RunState.OUT_OF_MEMORY, None),
        (0.8, RunState.COMPLETE, 3.5),
        (-1.0, RunState.FAILED, None),
    ]
    for number, (rate, state, value) in enumerate(trials):
        run = empty.run("vae", "search", state, number=number, param_learning_rate=rate)
        if value is not None:
            empty.measure(run, "validation", "bits_per_dim", value)
    table = tables.learning_rate_stability(Study(empty.results()), "vae")
    assert table is not None
    assert texts(table) == [
        ["1.0e-03 to 3.2e-03", "3", "2", "1", "0", "0", "0.100"],
        ["3.2e-01 to 1.0e+00", "3", "1", "0", "2", "1.50", "1.50"],
    ]
    assert tables.learning_rate_stability(Study(empty.results(swept={"vae": ["latent_size"]})), "vae") is None


def test_rescued_trials_are_counted_by_learning_rate_where_trials_may_be_rescued(empty):
    trials = [
        (1.1e-3, RunState.COMPLETE, 0),
        (0.5, RunState.COMPLETE, 2),
        (0.9, RunState.PRUNED, 1),
        (0.7, RunState.DIVERGED, 1),
        (0.8, RunState.DIVERGED, None),  # before its first evaluation
        (0.8, RunState.COMPLETE, 0),
    ]
    for number, (rate, state, times) in enumerate(trials):
        run = empty.run("vae", "search", state, number=number, param_learning_rate=rate)
        if state == RunState.COMPLETE:
            empty.measure(run, "validation", "bits_per_dim", 2.0)
        if times is not None:
            empty.measure(run, "cost", "rescues", times)
    table = tables.learning_rate_stability(Study(empty.results()), "vae")
    assert table is not None
    assert table.columns[-1] == "Rescued"
    assert [row[-1] for row in texts(table)] == ["0", "3"]


def test_published_figures_stand_beside_what_was_obtained_on_the_same_data_alone(study):
    builder = study({"vae": [2.3], "glow": [1.97]})
    results = builder.results()
    assert tables.published(Study(results)).rows == []
    whole = {**results.dataset, "image_shape": (28, 28, 1)}
    mnist = builder.results(dataset={**whole, "name": "mnist", "grey_levels": 256})
    rows = texts(tables.published(Study(mnist)))
    assert ["Glow", "1.05", "–", "–", "–", literature.GRATHWOHL] in rows
    multiscale = ["8 couplings, multi-scale", "1.02", "1,711,818", "9,984,000", "1 RTX 3090, 2 h 17 min"]
    assert [*multiscale, literature.LIPPE] in rows
    assert [float(row[1]) for row in rows[:-2]] == sorted(float(row[1]) for row in rows[:-2])
    assert rows[-1][0] == "Glow, this study"
    assert rows[-1][1].startswith("1.97")
    assert rows[-1][2:] == ["1,254,112", "12,000", "CPU, 2 cores", "–"]
    binary = builder.results(dataset={**whole, "name": "binarized_mnist", "grey_levels": 2})
    assert texts(tables.published(Study(binary)))[-1][1].startswith("87.39")
    assert tables.published(Study(builder.results(dataset={"name": "mnist", "grey_levels": 2}))).rows == []


def test_selected_configurations_show_what_was_swept_and_the_rest_apart(study):
    builder = study({"vae": [2.3], "glow": [1.97]})
    for row in builder.runs:
        row["param.optimizer"] = "adam"
    known = Study(builder.results())
    shown = [row[0].text for row in tables.selected(known).rows]
    assert shown[3:] == ["latent_size", "learning_rate", "flow_depth"]
    assert texts(tables.fixed(known)) == [["optimizer", "adam", "adam"]]


def test_values_in_different_units_each_name_their_own(study):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["unit"] = "nats/dim"
    rows = dict(tables.comparison(Study(builder.results())))["Likelihood"]
    (row,) = [row for row in rows if row.label == "Bits/dim"]
    assert [cell.text.rpartition(NO_BREAK)[2] for cell in row.cells] == ["nats/dim", "bits/dim"]


@pytest.mark.parametrize(("n", "first"), [(1000, "Fréchet distance, extrapolated"), (2000, "Fréchet distance")])
def test_the_extrapolated_frechet_distance_leads_where_images_are_few(study, n, first):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]}, measured=True)
    for row in [row for row in builder.measurements if row["metric"] == "frechet_distance"]:
        row["n"] = n
        builder.measurements.append(
            {**row, "metric": "frechet_distance_infinity", "value": float(str(row["value"])) - 1}
        )
    known = Study(builder.results())
    labels = [row.label for row in dict(tables.comparison(known))["Sample quality"] if "Fréchet" in row.label]
    assert labels[0] == first
    found = tables.differences(known, differences.differences(known))
    assert next(row[0].text for row in found.rows if "Fréchet" in row[0].text) == first


def test_a_metric_that_could_not_be_measured_stands_with_its_reason(study):
    results = study({"vae": [2.3], "glow": [1.97]}).results()
    run_id = results.runs.loc[(results.runs["role"] == "final") & (results.runs["arm"] == "glow"), "run_id"].iloc[0]
    reasons = {"kid": "needs 50 images", "mine": "ZeroDivisionError: no"}
    assert texts(tables.unavailable(Study(replace(results, unavailable={run_id: reasons})))) == [
        ["Glow", "Kernel distance (KID)", "needs 50 images", "1"],
        ["Glow", "mine", "ZeroDivisionError: no", "1"],
    ]
    assert not tables.unavailable(Study(results)).rows
