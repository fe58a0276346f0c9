"""The arms compared: units, the order of metrics, and what was published beside what was obtained."""

from __future__ import annotations

import pytest

from reports.analysis import differences, literature
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text import comparison_tables
from tests.reports.conftest import texts


def test_published_figures_stand_beside_what_was_obtained_on_the_same_data_alone(study):
    builder = study({"vae": [2.3], "glow": [1.97]})
    results = builder.results()
    assert comparison_tables.published(Study(results)).rows == []
    whole = {**results.dataset, "image_shape": (28, 28, 1)}
    mnist = builder.results(dataset={**whole, "name": "mnist", "grey_levels": 256})
    rows = texts(comparison_tables.published(Study(mnist)))
    assert ["Glow", "1.05", "–", "–", "–", literature.GRATHWOHL] in rows
    multiscale = ["8 couplings, multi-scale", "1.02", "1,711,818", "9,984,000", "1 RTX 3090, 2 h 17 min"]
    assert [*multiscale, literature.LIPPE] in rows
    assert [float(row[1]) for row in rows[:-2]] == sorted(float(row[1]) for row in rows[:-2])
    assert rows[-1][0] == "Glow, this study"
    assert rows[-1][1].startswith("1.97")
    assert rows[-1][2:] == ["1,254,112", "12,000", "CPU, 2 cores", "–"]
    binary = builder.results(dataset={**whole, "name": "binarized_mnist", "grey_levels": 2})
    assert texts(comparison_tables.published(Study(binary)))[-1][1].startswith("87.39")
    assert comparison_tables.published(Study(builder.results(dataset={"name": "mnist", "grey_levels": 2}))).rows == []


def test_values_in_different_units_each_name_their_own(study):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["unit"] = "nats/dim"
    rows = dict(comparison_tables.comparison(Study(builder.results())))["Likelihood"]
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
    labels = [
        row.label for row in dict(comparison_tables.comparison(known))["Sample quality"] if "Fréchet" in row.label
    ]
    assert labels[0] == first
    found = comparison_tables.differences(known, differences.differences(known))
    assert next(row[0].text for row in found.rows if "Fréchet" in row[0].text) == first
