"""The figures for plotly hold the runs that the static ones show, and foreign text stays text."""

from __future__ import annotations

import json

from reports.analysis import curves as figures
from reports.analysis.results import Study
from reports.figures import plotly as interactive
from reports.figures import styles, views
from reports.pages import study as pages


def load(text):
    """As strict JSON: NaN and infinity would stop the page's script."""
    return json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))


def test_every_trial_of_a_response_can_be_selected(finished):
    data = figures.response(Study(finished), "vae", "learning_rate")
    plot = load(interactive.response(data, styles.VAE))
    drawn = [run for trace in plot["data"] if trace["name"] != "selected" for run in trace["customdata"]]
    assert sorted(drawn) == sorted(data.points["run_id"])
    assert plot["layout"]["xaxis2"]["type"] == "log"
    assert {trace["marker"]["color"] for trace in plot["data"]} == {"var(--vae)", "var(--ink)"}
    complete = next(trace for trace in plot["data"] if trace["name"] == "complete")
    assert "VAE trial 0, latent_size = " in complete["hovertext"][complete["customdata"].index("run0000")]


def test_of_very_many_trials_the_best_are_drawn(empty):
    for number in range(interactive.MOST_POINTS + 50):
        run = empty.run("vae", "search", number=number, param_latent_size=number + 1)
        empty.measure(run, "validation", "bits_per_dim", 9.0 - 0.001 * number)
    data = figures.response(Study(empty.results()), "vae", "latent_size")
    plot = load(interactive.response(data, styles.VAE))
    drawn = next(trace for trace in plot["data"] if trace["name"] == "complete")
    assert len(drawn["x"]) == interactive.MOST_POINTS
    assert max(drawn["y"]) < 9.0 - 0.001 * 49


def test_learning_curves_carry_their_run(finished):
    (data, _) = figures.learning_curves(Study(finished))
    plot = load(interactive.learning_curves(data, styles.VAE))
    assert [trace["meta"] for trace in plot["data"]][-3:] == [curve.run_id for curve in data.final]
    assert len(plot["data"]) == len(data.searched) + len(data.final)


def test_every_plot_of_a_page_is_strict_json_that_cannot_end_its_block(measured):
    study = Study(measured)
    looks = styles.family_styles(study.families)
    plots = [view.plot for view in (*views.responses(study, looks), *views.trade_offs(study, looks))]
    assert len(plots) == 6
    for plot in plots:
        load(plot)
    assert "<" not in pages._data_block('{"a": "</script><!--"}')
    assert load(str(pages._data_block('{"a": "</script><!--"}'))) == {"a": "</script><!--"}


def test_what_looks_like_markup_shows_as_it_is(empty):
    for number in range(2):
        hostile = {"param_<b>x</b>": f"<a href='javascript:1'>{number}"}
        empty.measure(empty.run("vae", "search", number=number, **hostile), "validation", "bits_per_dim", 2.0)
    data = figures.response(Study(empty.results(swept={"vae": ["<b>x</b>"]})), "vae", "<b>x</b>")
    plot = interactive.response(data, styles.VAE)
    assert "<b>" not in plot
    assert "<a " not in plot
    assert "&lt;b&gt;x&lt;" in plot
