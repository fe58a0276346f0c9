"""Scores of text: the divergence of trigrams against SciPy and sums by hand, copies against a plain search."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from bench.core.blocks import BLOCKS
from bench.core.errors import SettingsError
from bench.core.metrics import METRICS
from bench.evaluation.quality import text as quality
from bench.evaluation.quality.text import LONG_RUN, copied_share, ngram_divergence, text_quality

NAMES = ("trigram_divergence", "trigram_divergence_floor", "copied_share", "copied_share_floor")


def windows(seed, n=60, length=40, levels=4):
    """A Markov chain that mostly counts up."""
    random = np.random.RandomState(seed)
    steps = np.where(random.rand(n, length) < 0.7, 1, random.randint(0, levels, (n, length)))
    return np.cumsum(steps, axis=1) % levels


def shares(lines, order):
    counts = Counter(tuple(line[i : i + order]) for line in lines.tolist() for i in range(len(line) - order + 1))
    return counts, sum(counts.values())


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("levels", [4, 256])
def test_the_divergence_is_that_of_scipy(order, levels):
    x, y = windows(0, levels=4), windows(1, n=30)
    if levels == 256:
        # The lowest and the highest symbols, which codes must tell apart.
        x, y = (np.array([0, 1, 254, 255])[each] for each in (x, y))
    (p, total_p), (q, total_q) = shares(x, order), shares(y, order)
    keys = sorted({*p, *q})
    expected = jensenshannon([p[key] / total_p for key in keys], [q[key] / total_q for key in keys], base=2) ** 2
    assert ngram_divergence(x, y, levels, order).value == pytest.approx(expected, rel=1e-10)


def test_equal_sets_have_no_divergence_and_disjoint_ones_one_bit():
    x = windows(0)
    assert ngram_divergence(x, x, 8).value == 0.0
    assert ngram_divergence(x, x + 4, 8).value == pytest.approx(1.0)


def test_its_error_is_that_of_many_draws():
    estimates = [ngram_divergence(windows(2 * i, 200), windows(2 * i + 1, 200, levels=4) % 3, 4) for i in range(150)]
    spread = np.std([each.value for each in estimates])
    assert np.mean([each.standard_error for each in estimates]) == pytest.approx(spread, rel=0.2)


def test_trigrams_that_no_number_holds_are_refused():
    with pytest.raises(ValueError, match="order=9 with 256 symbols: at most 8"):
        ngram_divergence(windows(0), windows(1), 256, 9)


@pytest.mark.parametrize("run", [1, 5, 20])
def test_copies_are_those_that_a_search_finds(run):
    train, own = windows(0, n=40), windows(1, n=20)
    own[3, 5:35], own[7] = train[2, 1:31], train[9]
    known = "|".join("".join(map(str, line)) for line in train)
    found = [["".join(map(str, line[i : i + run])) in known for i in range(len(line) - run + 1)] for line in own]
    expected = np.mean(found, axis=1)
    estimate = copied_share(own, train, run)
    assert estimate.value == pytest.approx(expected.mean())
    assert estimate.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(20))


def repeated(lines):
    """Each window as often as a block is long: neighbours that are all alike."""
    return np.repeat(lines, 40, axis=0)


def test_errors_are_over_blocks_of_windows_as_their_neighbours_resemble_them():
    x, y, train = windows(0, n=BLOCKS), windows(1, n=BLOCKS), windows(2, n=1200)
    y[:10] = train[:10]
    for found, expected in (
        (ngram_divergence(repeated(x), repeated(y), 4), ngram_divergence(x, y, 4)),
        (copied_share(repeated(y), train), copied_share(y, train)),
    ):
        assert expected.standard_error > 0
        assert found.value == pytest.approx(expected.value)
        assert found.standard_error == pytest.approx(expected.standard_error)
    # Though a choice of windows is drawn at random, it stays in their order.
    *_, floor = text_quality(*map(as_images, (train, repeated(y), train)), 4).measurements
    assert floor.standard_error == pytest.approx(copied_share(y, train).standard_error)


def as_images(lines):
    return lines[:, None, :, None].astype(np.uint8)


def test_every_score_has_its_floor():
    train, own = windows(0, n=300), windows(1, n=100)
    found = text_quality(as_images(windows(2, n=100)), as_images(own), as_images(train), 4)
    value = {each.metric: each.value for each in found.measurements}
    assert tuple(value) == NAMES
    assert set(NAMES) <= set(METRICS)
    assert {each.n for each in found.measurements} == {100}
    assert {each.conditions for each in found.measurements} == {
        "",
        "runs of 20, sought in 12,000 of 12,000 training symbols",
    }
    assert found.unavailable == {}
    # Samples of the very distribution score as training text does.
    assert value["trigram_divergence"] < 2 * value["trigram_divergence_floor"] < 0.05
    # Of held-out windows, whatever the samples are.
    assert value["copied_share_floor"] == pytest.approx(copied_share(own, train, LONG_RUN).value)


def test_noise_diverges_and_training_windows_are_copies():
    train, own = windows(0, n=300), windows(1, n=100)
    noise = np.random.RandomState(5).randint(0, 4, (100, 40))
    values = [
        {each.metric: each.value for each in text_quality(*map(as_images, (samples, own, train)), 4).measurements}
        for samples in (noise, train[:100])
    ]
    assert values[0]["trigram_divergence"] > 0.2
    assert values[1]["trigram_divergence"] < 0.05
    assert [value["copied_share"] for value in values] == [0.0, 1.0]


def test_windows_shorter_than_a_run_are_compared_as_a_whole():
    both = as_images(windows(0, n=60, length=2))
    value = {each.metric: each.value for each in text_quality(both, both, both, 4).measurements}
    assert value["trigram_divergence"] == 0.0
    assert value["copied_share"] == 1.0


def test_too_few_windows_are_not_measured():
    few = as_images(windows(0, n=49))
    found = text_quality(few, few, few, 4)
    assert found.measurements == []
    assert set(found.unavailable) == set(NAMES)
    assert "at least 50 windows of each set, and there are 49" in found.unavailable["copied_share"]


def test_broken_samples_are_left_out_of_copies_and_not_of_the_divergence():
    train, own = windows(0, n=300), windows(1, n=200)
    samples = train[:200].copy()
    broken = np.arange(200) % 2 == 0
    samples[broken] = np.random.RandomState(5).randint(0, 4, (100, 40))
    value = {each.metric: each for each in text_quality(*map(as_images, (samples, own, train)), 4, broken).measurements}
    assert (value["copied_share"].value, value["copied_share"].n) == (1.0, 100)
    assert value["trigram_divergence"].value > 0.05
    few = text_quality(*map(as_images, (samples, own, train)), 4, np.arange(200) > 40)
    assert [each.metric for each in few.measurements] == ["trigram_divergence", "trigram_divergence_floor"]
    assert "of 200 samples 41 are" in few.unavailable["copied_share_floor"]


def test_of_large_texts_a_fixed_choice_is_compared_and_searched(monkeypatch):
    monkeypatch.setattr(quality, "MOST_SYMBOLS", 80 * 40)
    train, own, samples = windows(0, n=300), windows(1, n=200), windows(2, n=200)
    found = text_quality(*map(as_images, (samples, own, train)), 4).measurements
    assert {each.n for each in found} == {80}
    assert found[-1].conditions == "runs of 20, sought in 3,200 of 12,000 training symbols"


def test_windows_of_other_lengths_are_refused():
    with pytest.raises(SettingsError, match="windows of 40, 40, 30 symbols differ in length"):
        text_quality(as_images(windows(0)), as_images(windows(0)), as_images(windows(0, length=30)), 4)
