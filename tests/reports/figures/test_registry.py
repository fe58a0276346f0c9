"""A figure of a user's own: one file, in HTML, Markdown and CSV; a broken one leaves the rest of the report whole."""

from __future__ import annotations

import importlib.util

import pandas as pd
import pytest

from bench.core.errors import SettingsError
from reports import Axis, Figure, Panel, Points, register_figure, write_report
from reports.figures import registry
from reports.figures.registry import registered_figures

pytestmark = pytest.mark.usefixtures("undrawn")

FILE = '''
"""Latent size against the time of a trial."""

from reports import Axis, Figure, Panel, Points, register_figure


@register_figure("time-of-size", "What a larger model costs", section="trials", note="Each mark is a trial.")
def time_of_size(study):
    layers = [
        Points(mine["param.learning_rate"], mine["seconds"], label=study.title(arm), colour=arm, runs=mine["run_id"])
        for arm, mine in study.trials.groupby("arm")
    ]
    panel = Panel(Axis("learning rate", scale="log"), Axis("time", "s"), layers)
    return Figure("Time against learning rate", [panel], "One mark a trial.", legend=True)
'''


@pytest.fixture(autouse=True)
def own_figures(monkeypatch):
    """Each test has the project's figures, and its own."""
    import reports.figures.study  # noqa: F401 - registers them

    monkeypatch.setattr(registry, "_FIGURES", dict(registry._FIGURES))


def load(path, text):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.slow
def test_one_file_adds_a_figure_to_every_form_of_the_report(four, tmp_path):
    load(tmp_path / "my_figure.py", FILE)
    paths = write_report(four, tmp_path / "report")
    html, markdown = (path.read_text("utf-8") for path in (paths.html, paths.markdown))
    assert html.index('id="trials"') < html.index("What a larger model costs") < html.index('id="learning"')
    for text in (html, markdown):
        assert "Time against learning rate" in text
        assert "One mark a trial." in text
        assert "Each mark is a trial." in text
    assert "![Time against learning rate](figures/time-of-size-1.svg)" in markdown
    assert "[Numbers](figures/time-of-size-1.csv)" in markdown
    assert tmp_path / "report/figures/time-of-size-1.svg" in paths.figures
    numbers = pd.read_csv(tmp_path / "report/figures/time-of-size-1.csv")
    trials = four.runs[four.runs["role"] == "search"]
    assert sorted(numbers["run"]) == sorted(trials["run_id"])
    assert set(numbers["colour"]) == set(four.arms)
    assert sorted(numbers["y"]) == pytest.approx(sorted(trials["seconds"]))


def test_every_figure_leaves_its_numbers(measured, tmp_path):
    paths = write_report(measured, tmp_path)
    names = {path.stem for path in paths.figures}
    assert {path.stem for path in paths.figure_numbers} == {name for name in names if not name.startswith("learning")}
    assert "[Numbers](histories.csv)" in paths.markdown.read_text("utf-8")


BROKEN = [
    (lambda study: study.nothing, "AttributeError: "),
    (lambda study: 3, "TypeError: 'int' object"),
    (lambda study: [1], "TypeError: it returned a int, not a Figure, several, or None"),
    (lambda study: Figure("f", [Panel(Axis(), Axis(), [Points([1], [1, 2])])]), "ValueError: a Points labelled"),
    (lambda study: Figure("f", [Panel(Axis(), Axis(), [Points([1], [2], colour="blue")])]), "ValueError: colour"),
    (lambda study: 1 / 0, "ZeroDivisionError: division by zero"),
]


def test_figures_that_raise_leave_their_places_and_the_rest(finished, tmp_path, caplog):
    for number, (made, _) in enumerate(BROKEN):
        register_figure(f"broken-{number}", f"A <b>broken</b> one, {number}", section="learning")(made)
    paths = write_report(finished, tmp_path)
    html, markdown = (path.read_text("utf-8") for path in (paths.html, paths.markdown))
    for number, (_, words) in enumerate(BROKEN):
        assert f"A &lt;b&gt;broken&lt;/b&gt; one, {number}" in html
        assert f"figure broken-{number} could not be drawn" in caplog.text
        for text in (html, markdown):
            assert words in text.replace("\\", "").replace("&#39;", "'")
    for text in (html, markdown):
        assert text.count("This figure could not be drawn: ") == len(BROKEN)
    assert len(paths.figures) == 16


def test_figures_that_belong_nowhere_else_have_a_section_of_their_own(finished, tmp_path):
    @register_figure("mine", "Mine")
    def mine(study):
        return [Figure(f"Mine {i}", [Panel(Axis(), Axis(), [Points([1], [i])])]) for i in range(2)]

    html = write_report(finished, tmp_path).html.read_text("utf-8")
    assert html.index('id="learning"') < html.index('id="more"') < html.index("Mine 1") < html.index('id="pictures"')


def test_nothing_to_show_is_no_heading(finished, tmp_path):
    register_figure("nothing", "Never shown")(lambda study: None)
    assert "Never shown" not in write_report(finished, tmp_path).html.read_text("utf-8")


def test_names_and_sections_are_checked_and_ours_come_first():
    with pytest.raises(SettingsError, match="section 'top' is none of answer, budgets, comparison"):
        register_figure("a", "A", section="top")
    with pytest.raises(SettingsError, match="a name has lower-case letters"):
        register_figure("a b", "A")
    with pytest.raises(SettingsError, match="'response' is registered already, by reports"):
        register_figure("response", "Mine")(lambda study: None)

    def again(study):
        return None

    register_figure("again", "Once")(again)
    register_figure("again", "Twice")(again)
    assert [each.title for each in registered_figures()][-1] == "Twice"
