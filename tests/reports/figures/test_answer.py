"""The chart of the first screen: all arms, however many, with their seeds, intervals and what was published."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis import differences
from reports.analysis.literature import IMAGE_SHAPES, RESULTS
from reports.analysis.results import Study
from reports.analysis.statistics import mean_interval
from reports.figures import answer as figures
from reports.figures.grammar import Rule
from reports.figures.learning import learning_curves
from reports.figures.registry import registered_figures
from reports.figures.trade_offs import trade_offs
from reports.formatting import difference
from reports.text.answer import answer

ALONE = {"vae": ["latent_size", "learning_rate"]}


def rows(figure):
    """The names on the vertical axis, from the top, and by name the layers in that row."""
    return in_rows(figure.panels[0])


def in_rows(panel):
    ticks = sorted(panel.y.ticks, reverse=True)
    layers = [layer for layer in panel.layers if not isinstance(layer, Rule)]
    return {name: [layer for layer in layers if place in list(layer.y)] for place, name in ticks}


def test_it_stands_in_the_answer_before_all_others():
    (entry,) = [each for each in registered_figures() if each.section == "answer"]
    assert entry.make is figures.answer


def test_two_arms_with_their_seeds_means_and_intervals(finished):
    figure = figures.answer(Study(finished))
    known = rows(figure)
    assert list(known) == ["Glow", "VAE"]
    assert figure.panels[0].x.title == "test bits/dim, lower is better"
    interval, seeds, mean = known["Glow"]
    assert list(interval.x) == pytest.approx(mean_interval(np.array([1.97, 1.99, 1.96])))
    assert list(seeds.x) == [1.97, 1.99, 1.96]
    assert list(mean.x) == pytest.approx([1.9733333])
    assert len(set(seeds.runs)) == 3
    assert figure.caption == (
        "Filled: the mean over training seeds; hollow: each seed. Lines: 95% intervals over training seeds. "
        "Below: how far above Glow, with the 95% interval of that difference. Where it excludes 0 "
        "the arms differ, though their own intervals may overlap."
    )
    assert figure.panels[0].height < 1.5


def test_one_arm_with_one_seed_has_its_interval_over_images(study):
    figure = figures.answer(Study(study({"vae": [2.31]}).results(swept=ALONE)))
    interval, mean = rows(figure)["VAE"]
    assert list(interval.x) == pytest.approx([2.31 - 1.96 * 0.012, 2.31 + 1.96 * 0.012])
    assert list(mean.x) == [2.31]
    assert figure.caption == "Filled: the one seed. Lines: 95% intervals over test images."


def overlapping(study):
    """Two seeds of each arm: the arms' own intervals overlap by far, and that of the difference excludes 0."""
    return study({"vae": [1.425, 1.451], "glow": [1.245, 1.253]}, measured=True).results()


def test_the_difference_that_decides_is_drawn_where_the_arms_own_intervals_overlap(study):
    known = Study(overlapping(study))
    levels, below = figures.answer(known).panels
    (of_glow, *_), (of_vae, *_) = in_rows(levels).values()
    assert of_vae.x[0] < of_glow.x[1]
    assert below.x.title == "above Glow (bits/dim)"
    ((name, (interval, value)),) = in_rows(below).items()
    (zero,) = [layer for layer in below.layers if isinstance(layer, Rule)]
    assert (name, zero.at, zero.across) == ("VAE", 0.0, "x")
    found = differences.likelihood(known, "vae", "glow")
    assert (list(value.x), list(interval.x)) == ([found.value], [found.low, found.high])
    assert interval.x[0] > 0
    assert not found.contains_zero


def test_the_figure_and_the_headline_state_the_same_difference(study):
    known = Study(overlapping(study))
    interval, value = in_rows(figures.answer(known).panels[1])["VAE"]
    shown = difference(value.x[0], *interval.x)
    assert "lower by {} (95% interval {} to {})".format(*shown) in answer(known).headline


def test_each_arm_is_compared_with_the_lowest(four):
    known = Study(four)
    drawn = in_rows(figures.answer(known).panels[1])
    assert list(drawn) == ["shallow", "conv", "dense"]
    for arm, (interval, value) in drawn.items():
        found = differences.likelihood(known, arm, "deep")
        assert [*interval.x, *value.x] == [found.low, found.high, found.value]
    assert "Seeds were not repeated" not in figures.answer(known).caption


def test_a_difference_of_no_known_uncertainty_is_not_drawn_and_named(study):
    builder = study({"vae": [2.3], "glow": [2.0], "made": [2.5, 2.6]})
    for row in builder.measurements:
        if row["arm"] in ("vae", "glow"):
            row["standard_error"] = np.nan
    figure = figures.answer(Study(builder.results()))
    assert len(figure.panels) == 1
    assert "Of VAE and made no interval of the difference is known." in figure.caption


def test_arms_in_different_units_share_no_chart_and_are_not_ranked(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["unit"] = "nats/dim"
    known = Study(builder.results())
    assert answer(known).headline.startswith("The arms are not ranked")
    assert figures.answer(known) is None
    assert list(trade_offs(known)) == []
    assert all(
        len({layer.colour for panel in each.panels for layer in panel.layers}) == 1 for each in learning_curves(known)
    )


def test_arms_of_one_and_of_several_seeds_are_told_apart(study):
    figure = figures.answer(Study(study({"vae": [2.31, 2.30], "glow": [1.97]}).results()))
    assert "An arm without hollow marks has one seed." in figure.caption
    assert "Seeds were not repeated: the interval leaves open what another seed would change." in figure.caption
    assert "over training seeds, and of an arm with one seed over test images" in figure.caption


def test_four_arms_are_ranked_and_one_without_a_value_is_named(study):
    families = {"dense": "vae", "conv": "vae", "shallow": "glow", "deep": "glow"}
    builder = study({"dense": [2.3, 2.2], "conv": [2.1, 2.1], "shallow": [2.0, np.nan], "deep": []}, families=families)
    figure = figures.answer(Study(builder.results()))
    known = rows(figure)
    assert list(known) == ["shallow", "conv", "dense", "deep"]
    assert known["deep"] == []
    # Both seeds gave the same value: there is no interval.
    assert [layer.label for layer in known["conv"]] == ["seed", "mean"]
    assert "shallow: 1 seed without a finite value." in figure.caption
    assert "Without a test value: deep." in figure.caption


def test_without_a_test_value_there_is_none(study, empty):
    assert figures.answer(Study(empty.results())) is None
    assert figures.answer(Study(study({"vae": []}).results())) is None
    assert figures.answer(Study(study({"vae": [np.nan]}).results())) is None


@pytest.mark.parametrize(("name", "levels"), list(RESULTS), ids=str)
def test_published_results_are_marks_in_the_same_unit(study, name, levels):
    shape = IMAGE_SHAPES[name]
    dataset = {"name": name, "grey_levels": levels, "image_shape": list(shape)}
    figure = figures.answer(Study(study({"vae": [1.2, 1.3]}).results(swept=ALONE, dataset=dataset)))
    known = rows(figure)
    published = {each.model: each for each in RESULTS[name, levels]}
    shown = {row.removeprefix("published: ") for row in known} - {"VAE"}
    assert len(shown) == min(len(published), figures.MOST_PUBLISHED)
    assert min(published.values(), key=lambda each: each.value).model in shown
    for model, each in ((model, each) for model, each in published.items() if model in shown):
        (marks,) = known[f"published: {model}"]
        index = [text.startswith(f"{model}: {each.value:g} ") for text in marks.about].index(True)
        nats = each.metric == "nll_nats"
        assert marks.x[index] == pytest.approx(each.value / (np.prod(shape) * np.log(2)) if nats else each.value)
        assert each.source in marks.about[index]
    some = ", the lowest and those nearest to the lowest arm" if len(shown) < len(published) else ""
    assert figure.caption.endswith(f"Upright strokes: published results of the same data, in bits/dim{some}.")
