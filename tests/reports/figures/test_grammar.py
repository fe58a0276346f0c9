"""A figure as data: what it refuses, its numbers, and its static drawing."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from reports.analysis.results import Study
from reports.figures import matplotlib as static
from reports.figures import plotly as interactive
from reports.figures.grammar import Axis, Band, Bars, Figure, Line, Panel, Points, Rule, Step
from reports.figures.learning import learning_curves
from reports.figures.scales import scales
from reports.figures.styles import HUES, MARKERS, arm_styles, css, look_of
from reports.figures.trials import responses

X = [1.0, 2.0, 4.0]


def test_layers_refuse_numbers_that_do_not_match():
    with pytest.raises(ValueError, match="a Line labelled 'a' has 3 of x, 2 of y: it needs as many of each"):
        Line(X, [1.0, 2.0], label="a")
    with pytest.raises(ValueError, match="marker 'spade': one of circle, square"):
        Points(X, X, marker="spade")
    with pytest.raises(ValueError, match="colour 'blue': one of arm, vae, glow"):
        look_of("blue", arm_styles({"arm": "vae"}))


def test_the_numbers_of_a_figure_are_a_frame():
    panel = Panel(Axis(), Axis(), [Points(X, X, label="a", runs=["r", "s", "t"]), Rule(2.0)])
    bars = Panel(Axis(), Axis(), [Bars(["p", "q"], [0.1, 0.9], [0.0, 0.8], [0.2, 1.0], colour="vae")])
    frame = Figure("a", [panel, bars]).frame()
    assert list(frame["layer"]) == ["points"] * 3 + ["rule"] + ["bars"] * 2
    assert list(frame["run"].dropna()) == ["r", "s", "t"]
    assert list(frame["name"].dropna()) == ["p", "q"]
    assert frame.loc[frame["layer"] == "bars", ["panel", "x", "low", "high"]].to_numpy().tolist() == [
        [2.0, 0.1, 0.0, 0.2],
        [2.0, 0.9, 0.8, 1.0],
    ]
    assert Figure("empty", [Panel(Axis(), Axis(), [])]).frame().empty


def test_a_study_without_a_finite_value_has_no_invented_scale(study):
    builder = study({"vae": [2.3]})
    builder.measurements.clear()
    builder.histories.clear()
    results = builder.results()
    for figure in responses(Study(results)):
        panel = figure.panels[-1]
        assert panel.note == "no trial has a finite value"
        assert scales(figure)[-1][1].ticks == ()
        drawn = [element.text for element in ET.fromstring(static.draw(figure, HUES)).iter()]  # noqa: S314 - our own
        assert "0.0" not in drawn
        assert "validation bits/dim" in drawn
        axis = json.loads(interactive.draw(figure, HUES))["layout"]["yaxis2"]
        assert axis["tickvals"] == axis["ticktext"] == []


def test_every_layer_and_marker_is_drawn():
    for scale in ("linear", "log", "log2"):
        layers = [
            Line(X, X, [0.1, 0.1, 9.0], label="line", dash="dotted"),
            Line([], []),
            *(Line(X, X, opacity=0.5) for _ in range(3)),
            Step(X, X, label="step", where="mid", colour="glow"),
            Band(X, X, X, step=True),
            *(Points(X, X, marker=marker) for marker in MARKERS),
            Rule(3.0, dash="arm"),
        ]
        panel = Panel(Axis("x", "s", scale=scale), Axis("y", scale=scale, whole=True), layers, note="a note")
        raw = static.draw(Figure("a", [panel, panel], legend=True, one_x=True), HUES)
        assert raw.count("a note") == 2
        assert {"line", "step"} <= {element.text for element in ET.fromstring(raw).iter()}  # noqa: S314 - our own


def test_a_family_has_a_hue_and_an_arm_a_shade_of_it():
    arms = {
        "b": "made",
        "vae": "vae",
        "deep": "glow",
        **{f"v{i}": "vae" for i in range(6)},
        "glow": "glow",
        "c": "other",
    }
    found = arm_styles(arms)
    assert list(found) == list(arms)
    assert found["vae"] == HUES["vae"]
    assert found["deep"] == HUES["glow"]
    assert found["glow"].name == "glow-shade-2"
    assert (found["b"].name, found["c"].name) == ("other-1", "other-2")
    shades = [found[arm] for arm in ("vae", "v0", "v1", "v2", "v3")]
    for what in ("light", "dark", "marker"):
        assert len({getattr(style, what) for style in shades}) == 5
    assert found["v4"] == found["vae"]
    every = [style for style in found.values() if style.name.startswith(("vae", "glow"))]
    assert all(
        style.name.startswith(arms[arm].replace("made", "other")[:4]) for arm, style in found.items() if arm in "vae"
    )
    assert len({style.light for style in every}) == 7


def contrast(first, second):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("family", ["vae", "glow", *(f"x{i}" for i in range(4))])
def test_every_shade_stands_out_from_the_paper(family):
    others = {f"x{i}": f"x{i}" for i in range(4)}
    found = arm_styles(others | {f"{family}-{i}": family for i in range(5)})
    for style in found.values():
        assert contrast(style.light, "#fdfcfa") >= 2.95
        assert contrast(style.dark, "#15171a") >= 2.95


def test_colours_follow_the_theme_and_are_light_in_print():
    text = css([HUES["vae"]])
    light, dark, classes = text.splitlines()
    assert light.startswith(":root { --vae: #0072b2; --vae-band: #0072b233;")
    assert dark.startswith("@media screen and (prefers-color-scheme: dark) { :root { --vae: #56b4e9;")
    assert classes == ".vae { color: var(--vae); }"


def test_four_arms_share_a_figure_of_learning_curves(four):
    together = next(iter(learning_curves(Study(four))))
    labels = [layer.label for layer in together.panels[0].layers if layer.label]
    assert labels == ["dense", "conv", "shallow", "deep"]
