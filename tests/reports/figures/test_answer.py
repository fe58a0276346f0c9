"""The chart of the first screen: all arms, however many, with their seeds, intervals and what was published."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis.literature import RESULTS
from reports.analysis.results import Study
from reports.analysis.statistics import mean_interval
from reports.figures import study as figures
from reports.figures.registry import registered_figures

ALONE = {"vae": ["latent_size", "learning_rate"]}


def rows(figure):
    """The names on the vertical axis, from the top, and by name the layers in that row."""
    (panel,) = figure.panels
    ticks = sorted(panel.y.ticks, reverse=True)
    return {name: [layer for layer in panel.layers if place in list(layer.y)] for place, name in ticks}


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
        "Filled: the mean over training seeds; hollow: each seed. Lines: 95% intervals over training seeds."
    )
    assert figure.panels[0].height < 1.5


def test_one_arm_with_one_seed_has_its_interval_over_images(study):
    figure = figures.answer(Study(study({"vae": [2.31]}).results(swept=ALONE)))
    interval, mean = rows(figure)["VAE"]
    assert list(interval.x) == pytest.approx([2.31 - 1.96 * 0.012, 2.31 + 1.96 * 0.012])
    assert list(mean.x) == [2.31]
    assert figure.caption == "Filled: the one seed. Lines: 95% intervals over test images."


def test_arms_of_one_and_of_several_seeds_are_told_apart(study):
    figure = figures.answer(Study(study({"vae": [2.31, 2.30], "glow": [1.97]}).results()))
    assert "An arm without hollow marks has one seed." in figure.caption
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
    assert "No test value yet: deep." in figure.caption


def test_without_a_test_value_there_is_none(study, empty):
    assert figures.answer(Study(empty.results())) is None
    assert figures.answer(Study(study({"vae": []}).results())) is None
    assert figures.answer(Study(study({"vae": [np.nan]}).results())) is None


@pytest.mark.parametrize(("name", "levels"), list(RESULTS), ids=str)
def test_published_results_are_marks_in_the_same_unit(study, name, levels):
    dataset = {"name": name, "grey_levels": levels, "image_shape": [28, 28, 1]}
    figure = figures.answer(Study(study({"vae": [1.2, 1.3]}).results(swept=ALONE, dataset=dataset)))
    known = rows(figure)
    published = {each.model: each for each in RESULTS[name, levels]}
    assert set(known) == {"VAE", *(f"published: {model}" for model in published)}
    for model, each in published.items():
        (marks,) = known[f"published: {model}"]
        index = [text.startswith(f"{model}: {each.value:g} ") for text in marks.about].index(True)
        nats = each.metric == "nll_nats"
        assert marks.x[index] == pytest.approx(each.value / (784 * np.log(2)) if nats else each.value)
        assert each.source in marks.about[index]
    assert figure.caption.endswith("Upright strokes: published results of the same data, in bits/dim.")
