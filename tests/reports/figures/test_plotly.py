"""Interactive figures hold the runs that the static ones show, and foreign text stays text."""

from __future__ import annotations

import json
from itertools import pairwise

import plotly.graph_objects as go
import pytest

import reports.figures.study  # noqa: F401 - registers the figures of the report
from reports.analysis import curves
from reports.analysis.results import Study
from reports.figures import plotly as interactive
from reports.figures import trials
from reports.figures.grammar import Axis, Band, Bars, Figure, Line, Panel, Points, Rule
from reports.figures.learning import learning_curves
from reports.figures.registry import registered_figures
from reports.figures.styles import arm_styles
from reports.pages.templates import data_block


def load(text):
    """As strict JSON: NaN and infinity would stop the page's script."""
    return json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))


def checked(text):
    """What plotly draws of it; plotly's package knows every name and value, and raises where it does not."""
    go.Figure(found := load(text))
    return found


def plotted(figure, study):
    return checked(interactive.draw(figure, arm_styles(study.families)))


def test_plotly_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="markerr"):
        checked('{"data": [{"type": "scatter", "markerr": 1}], "layout": {}}')


def response(results, arm, parameter):
    known = Study(results)
    return plotted(trials.response(known, curves.response(known, arm, parameter)), known)


def test_every_trial_of_a_response_can_be_selected(finished):
    data = curves.response(Study(finished), "vae", "learning_rate")
    plot = response(finished, "vae", "learning_rate")
    drawn = [run for trace in plot["data"] if trace["name"] != "selected" for run in trace["customdata"]]
    assert sorted(drawn) == sorted(data.points["run_id"])
    assert plot["layout"]["xaxis2"]["type"] == "log"
    assert {trace["marker"]["color"] for trace in plot["data"]} == {"var(--vae)", "var(--ink)"}
    complete = next(trace for trace in plot["data"] if trace["name"] == "complete")
    assert "VAE trial 0, latent_size = " in complete["text"][complete["customdata"].index("run0000")]
    assert "validation bits/dim: %{y}" in complete["hovertemplate"]


def test_of_very_many_trials_the_best_are_drawn(empty):
    for number in range(interactive.MOST_POINTS + 50):
        run = empty.run("vae", "search", number=number, param_latent_size=number + 1)
        empty.measure(run, "validation", "bits_per_dim", 9.0 - 0.001 * number)
    plot = response(empty.results(swept={"vae": ["latent_size"]}), "vae", "latent_size")
    drawn = next(trace for trace in plot["data"] if trace["name"] == "complete")
    assert len(drawn["x"]) == interactive.MOST_POINTS
    assert max(drawn["y"]) < 9.0 - 0.001 * 49


def test_learning_curves_carry_their_run(finished):
    known = Study(finished)
    data = curves.learning_curves(known)[0]
    _, figure, _ = learning_curves(known)
    runs = [trace.get("meta") for trace in plotted(figure, known)["data"] if trace.get("meta")]
    expected = [curve.run_id for curve in (*data.searched, *data.final)]
    assert sorted(runs) == sorted(2 * expected)  # against images, and against seconds


def test_of_very_many_learning_curves_all_finals_and_the_best_trials_are_drawn(empty):
    for number in range(interactive.MOST_CURVES + 20):
        run = empty.run("vae", "search", number=number)
        empty.history(run, [3.0, 2.0 + 0.001 * number])
    final = empty.run("vae", "final")
    empty.history(final, [3.0, 2.5])
    known = Study(empty.results(swept={"vae": []}))
    (figure,) = learning_curves(known)
    drawn = [trace for trace in plotted(figure, known)["data"] if trace.get("meta") and trace["xaxis"] == "x"]
    assert len(drawn) == interactive.MOST_CURVES + 1
    assert {trace["meta"] for trace in drawn} >= {"run0000", final["run_id"]}
    assert f"run{interactive.MOST_CURVES:04d}" not in {trace["meta"] for trace in drawn}


def test_every_figure_of_a_page_is_strict_json_that_cannot_end_its_block(measured):
    known = Study(measured)
    found = [each.make(known) for each in registered_figures() if each.source[0].startswith("reports.")]
    made = [figure for each in found if each is not None for figure in ([each] if isinstance(each, Figure) else each)]
    assert len(made) == 21
    for figure in made:
        plotted(figure, known)
    assert "<" not in data_block('{"a": "</script><!--"}')
    assert load(str(data_block('{"a": "</script><!--"}'))) == {"a": "</script><!--"}


def test_what_looks_like_markup_shows_as_it_is(empty):
    for number in range(2):
        hostile = {"param_<b>x</b>%{y}": f"<a href='javascript:1'>{number}"}
        empty.measure(empty.run("vae", "search", number=number, **hostile), "validation", "bits_per_dim", 2.0)
    known = Study(empty.results(swept={"vae": ["<b>x</b>%{y}"]}))
    (figure,) = trials.responses(known)
    plot = interactive.draw(figure, arm_styles(known.families))
    assert "<b>" not in plot
    assert "<a " not in plot
    assert "&lt;b&gt;x&lt;" in plot
    assert "&gt;&#37;{y}" in plot


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_every_layer_is_drawn_whatever_its_numbers(scale):
    numbers = [1.0, float("nan"), -1.0, float("inf"), 3.0]
    layers = [
        Line(numbers, numbers, numbers, label="a", colour="arm", dash="arm"),
        Points(numbers, numbers, label="<b>", colour="ink", marker="star"),
        Band(numbers, numbers, numbers, colour="other-1"),
        Rule(2.0, across="y"),
    ]
    panel = Panel(Axis("x", "s", scale=scale), Axis("y", scale=scale), layers)
    bars = Panel(Axis("share"), Axis(), [Bars(["<i>", "b"], [0.2, 0.4], [0.1, 0.3], [0.3, 0.5])])
    plot = checked(interactive.draw(Figure("a", [panel, bars], legend=True), arm_styles({"arm": "made"})))
    assert [trace["type"] for trace in plot["data"]] == ["scatter"] * 4 + ["bar"]
    assert plot["data"][0]["line"]["color"] == "var(--other-1)"
    assert plot["data"][-1]["y"] == ["b", "&lt;i&gt;"]
    assert len(plot["layout"]["shapes"]) == 1


def test_a_rule_is_drawn_in_its_panel_though_it_comes_first():
    panels = [Panel(Axis("x"), Axis("y"), [Rule(0.0), Points([1.0], [2.0])]) for _ in range(2)]
    shapes = checked(interactive.draw(Figure("a", panels), {}))["layout"]["shapes"]
    assert [shape["xref"] for shape in shapes] == ["x", "x2"]


@pytest.mark.parametrize("one_x", [True, False])
def test_panels_stand_one_below_the_other_by_their_heights(one_x):
    panels = [
        Panel(Axis("x"), Axis("y"), [Points([1.0], [2.0])], height=height, shaded=True, note="a note")
        for height in (2.0, 1.0, 1.0)
    ]
    layout = checked(interactive.draw(Figure("a", panels, one_x=one_x), {}))["layout"]
    ends = [layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    high, *others = (top - bottom for bottom, top in ends)
    assert others == pytest.approx([high / 2] * 2)
    space = 0.02 if one_x else 0.75 / 4
    assert [above[0] - below[1] for above, below in pairwise(ends)] == pytest.approx([space] * 2)
    assert (ends[0][1], ends[2][0]) == pytest.approx((1, 0), abs=1e-12)
    shared = [layout[name].get("matches") for name in ("xaxis", "xaxis2", "xaxis3")]
    assert shared == (["x3", "x3", None] if one_x else [None] * 3)
    assert [each["yref"] for each in layout["annotations"]] == ["y domain", "y2 domain", "y3 domain"]


def test_a_rule_at_no_number_is_left_out():
    panel = Panel(Axis("x"), Axis("y"), [Rule(float("nan")), Rule(1.0, across="y"), Points([1.0], [2.0])])
    (shape,) = checked(interactive.draw(Figure("a", [panel]), {}))["layout"]["shapes"]
    assert (shape["y0"], shape["y1"], shape["yref"], shape["xref"]) == (1.0, 1.0, "y", "x domain")


def test_a_band_takes_no_entry_of_the_legend_from_the_line_of_its_label(finished):
    study = Study(finished)
    layers = [
        Band([1, 2], [0, 0], [1, 1], label="VAE, forecast", colour="vae"),
        Line([1, 2], [0.5, 0.5], label="VAE, forecast", colour="vae"),
    ]
    data = plotted(Figure("f", [Panel(Axis(), Axis(), layers)], legend=True), study)["data"]
    assert [trace.get("name") for trace in data if trace["showlegend"]] == ["VAE, forecast"]
