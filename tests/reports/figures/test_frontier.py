"""The figures of which arm is better for how much draw what was measured, and mark what a shorter run may not give."""

from __future__ import annotations

import numpy as np

from reports.analysis.results import Study
from reports.figures.frontier import frontier
from reports.figures.grammar import Band, Points, Rule, Step
from tests.reports.conftest import FALLS, SLOW, curves_of, shifted

TIMES = {"vae": 1.0, "glow": 3.0}
BOTH = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}


def of(panel, kind, arm):
    """The layers of a kind and an arm."""
    return [layer for layer in panel.layers if type(layer) is kind and layer.colour == arm]


def test_a_figure_for_each_cost_that_is_known(empty):
    empty.history(empty.run("vae", "search", number=0, seconds=50.0), [3.0])
    images, seconds = frontier(curves_of(empty, BOTH, seconds=TIMES))
    assert [figure.stem for figure in (images, seconds)] == ["images", "seconds"]
    labels = [panel.x.title for panel in seconds.panels]
    assert labels == ["training time (s)", "training time (s)", "training time, tuning included (s)"]
    (figure,) = frontier(curves_of(type(empty)(), BOTH))
    assert figure.stem == "images"


def test_what_the_search_had_found_is_dotted_before_the_final_runs(empty):
    empty.history(empty.run("vae", "search", number=0), [3.0, 2.5, 2.5])
    empty.history(empty.run("vae", "search", number=1), [2.75, 1.5])
    _, seconds = frontier(curves_of(empty, BOTH, seconds=TIMES))
    plain, _, tuned = seconds.panels
    found, final = of(tuned, Step, "vae")
    assert [each.dash for each in (found, final)] == ["dotted", "solid"]
    # Where it found something better, and held until the first evaluation of a final run.
    assert list(found.x) == [0.5, 1.0, 2.5, 3.5]
    assert list(found.y) == [3.0, 2.5, 1.5, 1.5]
    assert final.x[0] == 3.5
    assert len(of(tuned, Step, "glow")) == len(of(plain, Step, "vae")) == 1
    assert "and dotted before it what the search had found." in seconds.caption


def test_curves_begin_and_end_where_they_were_measured(empty):
    _, seconds = frontier(curves_of(empty, BOTH, seconds=TIMES))
    curves, distance = seconds.panels
    (glow,), (end,) = of(curves, Step, "glow"), of(curves, Points, "glow")
    assert list(glow.x) == [3.0, 6.0, 9.0, 12.0, 15.0, 18.0]
    assert (list(end.x), list(end.y)) == ([18.0], [3.505])
    (band,) = of(curves, Band, "glow")
    assert (min(band.x), max(band.x)) == (3.0, 18.0)
    # In steps: each value up to the next evaluation.
    assert list(band.low[:3]) == [4.0, 4.0, 3.9]
    assert list(band.x[:3]) == [3.0, 6.0, 6.0]
    (line,) = of(distance, Step, "glow")
    assert list(line.x) == [3.0, 4.0, 5.0, 6.0]
    assert any(isinstance(layer, Rule) and layer.at == 0.0 for layer in distance.layers)
    assert not of(distance, Step, "vae")


def test_a_schedule_that_depends_on_the_budget_is_dashed_wherever_it_is_drawn(empty):
    decays = {"vae": "plateau", "glow": "cosine"}
    (figure,) = frontier(curves_of(empty, BOTH, decay=decays))
    curves, distance = figure.panels
    assert [layer.dash for arm in BOTH for layer in of(curves, Step, arm)] == ["solid", "dashed"]
    assert [layer.dash for layer in of(distance, Step, "glow")] == ["dashed"]
    assert "Dashed: Glow, whose schedule depends on the budget" in figure.caption
    (figure,) = frontier(curves_of(type(empty)(), BOTH))
    assert "Dashed" not in figure.caption


def test_one_seed_has_neither_band_nor_interval(empty):
    (figure,) = frontier(curves_of(empty, {arm: seeds[:1] for arm, seeds in BOTH.items()}))
    assert not any(isinstance(layer, Band) for panel in figure.panels for layer in panel.layers)
    assert "band" not in figure.caption
    assert len(figure.panels) == 2


def test_one_arm_has_no_distance(empty):
    (figure,) = frontier(curves_of(empty, {"vae": BOTH["vae"]}))
    assert len(figure.panels) == 1
    assert list(frontier(Study(type(empty)().results()))) == []


def test_an_arm_without_seconds_is_named(empty):
    _, seconds = frontier(curves_of(empty, BOTH, seconds={"vae": 1.0, "glow": np.nan}))
    assert "Without Glow: not known" in seconds.caption
    assert not of(seconds.panels[0], Step, "glow")


def test_test_at_shares_of_the_budget_shows_seeds_and_marks_early_points(measured):
    *_, figure = frontier(Study(measured))
    (panel,) = figure.panels
    assert panel.y.label == "test bits/dim"
    early, final = (layer for layer in of(panel, Points, "vae") if layer.size > 5)
    assert (early.filled, list(early.x)) == (False, [2000.0, 3000.0, 6000.0])
    assert (final.filled, list(final.x)) == (True, [12_000.0])
    seeds = [layer for layer in of(panel, Points, "vae") if layer.size < 5]
    assert [len(layer.x) for layer in seeds] == [3] * 4
    assert "Large hollow marks: VAE and Glow before the end" in figure.caption
