"""The static and the interactive figure say the same, and the caption says what both show."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer

import reports.figures.study  # noqa: F401 - registers the figures of the report
from bench.core.results import Measurement, ReferenceCodes
from bench.study.search_space import Integers, Reals, to_json
from reports.analysis.results import Study
from reports.figures import matplotlib as static
from reports.figures import plotly as interactive
from reports.figures.answer import OVER_SEEDS
from reports.figures.grammar import Axis, Band, Bars, Figure, Line, Panel, Points, Rule, Step
from reports.figures.learning import FAINT
from reports.figures.registry import registered_figures
from reports.figures.scales import scales
from reports.figures.styles import arm_styles
from reports.figures.trade_offs import trade_offs
from reports.figures.trials import responses
from tests.reports.conftest import Builder, whole

CODES = {"xz": 2.2, "png": 2.35, "webp": 2.36, "pixel_histogram": 2.6, "uniform": 8.0}
RANDOM = {"epochs": 12, "sampler": "random", "seeds": 3}
SPACE = {
    "vae": to_json({"latent_size": Integers(2, 64, log=True), "learning_rate": Reals(1e-4, 0.1, log=True)}),
    "glow": to_json({"flow_depth": Integers(2, 8), "learning_rate": Reals(1e-4, 0.1, log=True)}),
}
ALONE = {"vae": ["latent_size", "learning_rate"]}
MNIST = {"name": "mnist", "grey_levels": 256, "image_shape": [28, 28, 1]}
BINARY = {"name": "binarized_mnist", "grey_levels": 2, "image_shape": [28, 28, 1]}


def studies():
    """Synthetic studies, whole and in parts."""
    both = {"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}
    yield "measured", whole(both, measured=True).results(settings=RANDOM, space=SPACE)
    families = {"a dense network": "vae", "b": "vae", "c": "glow", "d": "made"}
    four = {arm: [2.0 + 0.1 * i, 2.02 + 0.1 * i] for i, arm in enumerate(families)}
    near = [Measurement("reference_codes", f"code_{name}", value, 0.01, 360) for name, value in CODES.items()]
    near.append(Measurement("reference_model", "code_pixelcnn", 1.9, 0.01, 360))
    cost = {"parameters": 47936, "training_seconds": 130.0, "training_images": 76800}
    near += [Measurement("reference_model", name, value) for name, value in cost.items()]
    yield "four arms", whole(four, families=families).results(dataset=MNIST, reference_codes=ReferenceCodes(near))
    yield "one seed", whole({"vae": [0.21]}, measured=True).results(swept=ALONE, dataset=BINARY)
    builder = whole({"vae": [2.31], "glow": []}, measured=True)
    for row in builder.measurements:
        row["standard_error"] = row["monte_carlo_error"] = np.nan
    for row in builder.histories:
        row["seconds"] = np.nan
    for frame in builder.tables.get("bound_by_samples", []):
        frame["monte_carlo_error"] = np.nan
    yield "without errors and seconds", builder.results()
    builder = Builder()
    run = builder.run("vae", "search", number=0, param_latent_size=8, param_learning_rate=1e-3)
    builder.measure(run, "validation", "bits_per_dim", 2.1)
    yield "one trial", builder.results(swept=ALONE)


@dataclass(frozen=True)
class Drawn:
    """A figure, and what both renderers make of it."""

    name: str
    figure: Figure
    axes: list[Axes]
    plot: dict[str, Any]

    def panels(self):
        """Each panel with its scales, matplotlib's axes, and the number of plotly's."""
        panels = self.figure.panels
        return zip(panels, scales(self.figure), self.axes, ("", *range(2, 1 + len(panels))), strict=True)


@pytest.fixture(scope="module")
def drawn():
    """Every figure of every study."""
    found = []
    for name, results in studies():
        known = Study(results)
        styles = arm_styles(known.families)
        for entry in registered_figures():
            if not entry.source[0].startswith("reports."):
                continue
            made = entry.make(known)
            for figure in [] if made is None else [made] if isinstance(made, Figure) else made:
                canvas = static.canvas_of(figure, styles)
                # The layout alone, which places the labels.
                canvas.draw_without_rendering()
                plot = json.loads(interactive.draw(figure, styles))
                found.append(Drawn(f"{name}: {figure.title}", figure, canvas.axes, plot))
    assert len(found) > 50
    return found


def test_both_have_the_same_axes_and_ticks(drawn):
    for each in drawn:
        for panel, known, axes, number in each.panels():
            bars = any(isinstance(layer, Bars) for layer in panel.layers)
            for letter, axis, scale in (("x", panel.x, known[0]), *([] if bars else [("y", panel.y, known[1])])):
                one, other = getattr(axes, f"{letter}axis"), each.plot["layout"][f"{letter}axis{number}"]
                places, labels = [place for place, _ in scale.ticks], [label for _, label in scale.ticks]
                assert list(one.get_majorticklocs()) == places == other["tickvals"], each.name
                assert [label.get_text() for label in one.get_majorticklabels()] == labels, each.name
                assert [unescape(text.replace("<br>", "\n")) for text in other["ticktext"]] == labels, each.name
                assert list(one.get_minorticklocs()) == [], each.name
                assert one.get_label_text() == scale.title, each.name
                assert unescape(other["title"]["text"].replace("<br>", "\n")) == scale.title, each.name
                assert not axis.shown or scale.title.replace("\n", " ") == axis.title, each.name
                assert getattr(axes, f"get_{letter}lim")() == pytest.approx((scale.low, scale.high)), each.name
                ends = np.power(10, other["range"]) if other["type"] == "log" else other["range"]
                assert list(ends) == pytest.approx([scale.low, scale.high]), each.name
                assert (one.get_scale() == "log") == (other["type"] == "log") == (axis.scale != "linear"), each.name
                assert not axis.shown or len(labels) >= (1 if axis.named else 2) or panel.note, each.name


def test_no_labels_touch_in_the_static_figure(drawn):
    for each in drawn:
        for axes in each.axes:
            for letter in "xy":
                labels = getattr(axes, f"{letter}axis").get_majorticklabels()
                # Of names that stand in two lines by turns, those of a line.
                for line in (True, False):
                    shown = [label for label in labels if label.get_text().startswith("\n") == line]
                    boxes = [label.get_window_extent() for label in shown if label.get_text()]
                    ends = sorted((getattr(box, f"{letter}0"), getattr(box, f"{letter}1")) for box in boxes)
                    assert all(first[1] <= second[0] for first, second in pairwise(ends)), each.name


def error_bars(panel):
    """The number of error bars that a panel's layers ask for."""
    layers = [layer.columns() for layer in panel.layers if isinstance(layer, Line | Points)]
    return sum(np.isfinite(layer["error"]).any() and len(layer["y"]) > 0 for layer in layers if "error" in layer)


def test_both_have_the_same_bands_lines_and_error_bars(drawn):
    for each in drawn:
        for panel, _, axes, number in each.panels():
            traces = [trace for trace in each.plot["data"] if trace.get("yaxis", "y") == f"y{number}"]
            bands = sum(isinstance(layer, Band) for layer in panel.layers)
            assert sum(isinstance(artist, FillBetweenPolyCollection) for artist in axes.collections) == bands, each.name
            assert sum(trace.get("fill") == "tonexty" for trace in traces) == bands, each.name
            bars = error_bars(panel)
            assert sum(any(trace.get("error_y", {}).get("array", [])) for trace in traces) == bars, each.name
            found = [bar for bar in axes.containers if isinstance(bar, ErrorbarContainer)]
            assert sum(any(np.isfinite(ends).any() for ends in bar.lines[2][0].get_segments()) for bar in found) == bars
            lines = [layer for layer in panel.layers if isinstance(layer, Line)]
            asked = Counter((interactive.DASHES.get(layer.dash), layer.markers or len(layer.x) == 1) for layer in lines)
            drawn_lines = [trace for trace in traces if "dash" in trace.get("line", {})]
            there = Counter((trace["line"]["dash"], "markers" in trace["mode"]) for trace in drawn_lines)
            if not any(layer.dash == "arm" for layer in lines):
                assert there == asked, each.name


def holds(panels, kind, **known):
    return any(
        isinstance(layer, kind)
        and all(getattr(layer, name) == value for name, value in known.items())
        and (isinstance(layer, Rule) or len(layer.x))
        for panel in panels
        for layer in panel.layers
    )


def test_captions_promise_what_is_there_and_no_more(drawn):
    words = {
        r"\bbands?\b": lambda panels: holds(panels, Band),
        r"\bDashed\b": lambda panels: holds(panels, Step, dash="dashed"),
        r"\bhollow\b|[○□◇⬠⬡▽]": lambda panels: holds(panels, Points, filled=False),
        r"standard error": lambda panels: any(map(error_bars, panels)),
        r"strip": lambda panels: any(panel.shaded for panel in panels),
        r"published": lambda panels: holds(panels, Points, label="published"),
        r"95% intervals? over training seeds": lambda panels: holds(panels, Line, label=OVER_SEEDS),
        r"Dotted: reference codes": lambda panels: holds(panels, Rule, written=True, dash="dotted"),
        r"; dash-dotted: reference model": lambda panels: holds(panels, Rule, written=True, dash="dashdot"),
        r"dotted: the shortest code": lambda panels: holds(panels, Rule, across="x", dash="dotted"),
        r"a small exact model": lambda panels: holds(
            panels, Rule, across="x", dash="dashdot", label="PixelCNN, 47.9\u00a0k weights, 2.17\u00a0min"
        ),
        r"faint": lambda panels: holds(panels, Line, opacity=FAINT),
        r"the selected one": lambda panels: holds(panels, Points, label="selected"),
    }
    known = set()
    for each in drawn:
        name, figure = each.name, each.figure
        for pattern, there in words.items():
            if re.search(pattern, figure.caption):
                assert there(figure.panels), f"{name}: {figure.caption}"
                known.add(pattern)
        if figure.numbers == "histories.csv":
            across = [panel.x.label for panel in figure.panels]
            assert ("training time" in figure.title) == ("training time" in across), name
            assert "seconds" not in f"{figure.title} {figure.caption}"
    assert known == set(words)


def test_layers_that_need_words_have_them(drawn):
    for each in drawn:
        name, figure = each.name, each.figure
        if holds(figure.panels, Band):
            assert re.search(r"\bband", figure.caption), name
        if any(map(error_bars, figure.panels)):
            assert "one standard error" in figure.caption, name
        if any(panel.shaded for panel in figure.panels):
            assert "In the strip: " in figure.caption, name


def test_likelihoods_have_their_errors(measured):
    known = Study(measured)
    (response, *_), (trade, *_) = responses(known), trade_offs(known)
    for figure in (response, trade):
        y = figure.panels[-1].y
        layers = [layer for layer in figure.panels[-1].layers if isinstance(layer, Points) and len(layer.error)]
        assert all((np.asarray(layer.y) - np.asarray(layer.error) > y.limits[0]).all() for layer in layers)
    body = response.panels[-1].layers[0]
    assert body.label == "complete"
    assert list(body.error) == [0.012] * len(body.x)
    assert all(np.isfinite(layer.error).all() for layer in trade.panels[0].layers if isinstance(layer, Points))


def test_what_is_swept_by_ratio_has_a_logarithmic_axis(empty):
    for number, (size, rate) in enumerate([(8, 0.001), (12, 0.002), (16, 0.003)]):
        run = empty.run("vae", "search", number=number, param_latent_size=size, param_learning_rate=rate)
        empty.measure(run, "validation", "bits_per_dim", 2.1 + number)
    swept = {"vae": ["latent_size", "learning_rate"]}
    space = {"vae": to_json({"latent_size": Integers(8, 16, log=True), "learning_rate": Reals(1e-4, 0.1)})}
    by_name = {
        figure.panels[-1].x.label: figure.panels[-1].x.scale
        for figure in responses(Study(empty.results(swept=swept, space=space)))
    }
    assert by_name == {"latent_size": "log", "learning_rate": "linear"}


def test_errors_on_a_logarithmic_axis_never_reach_down_to_nothing():
    panel = Panel(Axis("x"), Axis("y", scale="log"), [Points([1.0, 2.0], [1.0, 10.0], [5.0, 1.0], colour="vae")])
    figure = Figure("f", [panel])
    (trace,) = json.loads(interactive.draw(figure, arm_styles({"vae": "vae"})))["data"]
    assert trace["error_y"]["array"] == [5.0, 1.0]
    assert trace["error_y"]["arrayminus"] == [0.9, 1.0]
    ((_, y),) = scales(figure)
    assert 0 < y.low < 0.1


def test_the_pdf_is_the_same_bytes_each_time_and_leaves_the_svg_as_it_is():
    many = Points(np.linspace(0, 1, 1000), np.linspace(2, 3, 1000), label="many", colour="vae")
    figure = Figure("Sizes", [Panel(Axis("size"), Axis("bits/dim"), [many])], legend=True)
    raw, pdf = static.draw_with_pdf(figure, {})
    assert raw == static.draw(figure, {})
    assert static.draw_with_pdf(figure, {}) == (raw, pdf)
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) < 60_000
    # Text is outlines, so that there is no font, and no date; of a thousand marks there is one picture.
    assert not [word for word in (b"/FontFile2", b"/Type3", b"CreationDate") if word in pdf]
    assert pdf.count(b"/Subtype /Image") >= 1
