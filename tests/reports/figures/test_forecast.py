"""The figure of forecasts: nothing of a forecast may pass for a measurement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.analysis.forecast import FARTHEST
from reports.analysis.results import Study
from reports.figures.grammar import Band, Line, Rule
from reports.figures.learning import forecasts


@pytest.fixture
def panel(finished):
    (panel,) = forecasts(Study(finished)).panels
    return panel


def test_what_is_forecast_begins_where_measuring_ended(panel):
    lines = {layer.label: layer for layer in panel.layers if isinstance(layer, Line)}
    bands = {layer.label: layer for layer in panel.layers if isinstance(layer, Band)}
    assert set(lines) == {f"{arm}, {what}" for arm in ("VAE", "Glow") for what in ("measured", "forecast")}
    assert set(bands) == {"VAE, forecast", "Glow, forecast"}
    for arm in ("VAE", "Glow"):
        measured, forecast = lines[f"{arm}, measured"], lines[f"{arm}, forecast"]
        assert max(measured.x) == min(forecast.x) == min(bands[f"{arm}, forecast"].x) == 12_000
        assert max(forecast.x) == pytest.approx(FARTHEST * 12_000)
        assert (measured.dash, forecast.dash) == ("solid", "dashed")
        assert forecast.width < measured.width
        assert forecast.y[0] == pytest.approx(measured.y[-1])
    assert [layer.at for layer in panel.layers if isinstance(layer, Rule)] == [12_000]


def test_arms_without_a_forecast_are_named(finished):
    runs = finished.runs.copy()
    runs["param.decay"] = np.where(runs["arm"] == "vae", "cosine", "plateau")
    figure = forecasts(Study(replace(finished, runs=runs)))
    assert figure.caption.endswith("Without a forecast: VAE.")
    assert {layer.colour for layer in figure.panels[0].layers if not isinstance(layer, Rule)} == {"glow"}
    assert forecasts(Study(replace(finished, runs=runs.assign(**{"param.decay": "cosine"})))) is None
