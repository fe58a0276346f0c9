"""The selected configurations: what was swept, and the rest apart."""

from __future__ import annotations

from reports.analysis.results import Study
from reports.text import configuration_tables
from tests.reports.conftest import texts


def test_selected_configurations_show_what_was_swept_and_the_rest_apart(study):
    builder = study({"vae": [2.3], "glow": [1.97]})
    for row in builder.runs:
        row["param.optimizer"] = "adam"
    known = Study(builder.results())
    shown = [row[0].text for row in configuration_tables.selected(known).rows]
    assert shown[3:] == ["latent_size", "learning_rate", "flow_depth"]
    assert texts(configuration_tables.fixed(known)) == [["optimizer", "adam", "adam"]]
