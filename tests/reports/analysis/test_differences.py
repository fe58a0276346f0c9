"""Differences between families: intervals that cover what they claim, effect sizes and p-values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.analysis import differences, statistics
from reports.analysis.results import Study


def draw(rng, seeds, images=120, *, over_seeds=0.03, over_images=0.2):
    """Bits/dim of two families that do not differ: images that both find hard, own images, own seeds, and noise."""
    common = rng.normal(0, 1, images)
    return [
        common
        + rng.normal(0, over_images, images)
        + rng.normal(0, over_seeds, (seeds, 1))
        + rng.normal(0, 0.05, (seeds, images))
        for _ in range(2)
    ]


def covers(interval):
    return interval is not None and interval.low <= 0 <= interval.high


def test_one_seed_each_is_the_paired_t_test():
    x, y = draw(np.random.default_rng(0), 1)
    interval = statistics.compare_paired(x, y)
    expected = stats.ttest_rel(x[0], y[0])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert interval.p == pytest.approx(expected.pvalue)
    assert (interval.over_seeds, interval.over_images, interval.paired) == (False, True, True)


def test_without_variation_over_images_it_is_welch():
    a, b = [2.31, 2.33, 2.30, 2.35], [1.97, 1.99, 1.90]
    image = np.linspace(-1, 1, 50)  # the same in both: it cancels
    interval = statistics.compare_paired(np.add.outer(a, image), np.add.outer(b, image))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert interval.p == pytest.approx(expected.pvalue)
    assert interval.over_seeds


def test_images_that_are_hard_for_both_do_not_widen_the_interval():
    x, y = draw(np.random.default_rng(0), 3)
    narrow = statistics.compare_paired(x, y)
    shuffled = statistics.compare_paired(x, np.random.default_rng(1).permutation(y, axis=1))
    assert narrow is not None
    assert shuffled is not None
    assert narrow.value == pytest.approx(shuffled.value)
    assert (shuffled.high - shuffled.low) > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("seeds", "over_seeds"), [(2, 0.1), (3, 0.1), (3, 0.01)])
def test_interval_over_seeds_and_images_covers(seeds, over_seeds):
    rng = np.random.default_rng(seeds)
    hits = [covers(statistics.compare_paired(*draw(rng, seeds, over_seeds=over_seeds))) for _ in range(500)]
    assert 0.92 <= np.mean(hits) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
def test_hierarchical_bootstrap_would_be_too_narrow(seeds):
    rng = np.random.default_rng(seeds)

    def means(family, images):
        drawn = rng.multinomial(len(family), np.full(len(family), 1 / len(family)), len(images)) / len(family)
        return ((drawn @ family) * images).sum(axis=1)

    hits = []
    for _ in range(400):
        x, y = draw(rng, seeds, over_seeds=0.1)
        images = rng.multinomial(x.shape[1], np.full(x.shape[1], 1 / x.shape[1]), 2000) / x.shape[1]
        low, high = np.quantile(means(x, images) - means(y, images), [0.025, 0.975])
        hits.append(low <= 0 <= high)
    assert np.mean(hits) < 0.9


def test_windows_that_resemble_their_neighbours_widen_the_interval():
    rng = np.random.default_rng(0)
    paired = np.repeat(rng.normal(size=60), 20)
    x, y = paired[None], np.zeros((1, 1200))
    images, windows = statistics.compare_paired(x, y), statistics.compare_paired(x, y, "text")
    assert windows.value == images.value
    assert windows.high - windows.low > 3 * (images.high - images.low)


def test_pairing_needs_the_same_images():
    with pytest.raises(ValueError, match="x has 3 images and y 4"):
        statistics.compare_paired(np.ones((2, 3)), np.ones((2, 4)))
    assert statistics.compare_paired(np.ones((2, 1)), np.ones((2, 1))) is None
    assert statistics.compare_paired(np.full((3, 7), 0.1), np.full((3, 7), 0.3)) is None


def test_holm_by_hand():
    # Sorted: 0.005 × 4 = 0.02, 0.01 × 3 = 0.03, 0.03 × 2 = 0.06, 0.04 × 1 = 0.04 -> 0.06, as it may not decrease.
    assert statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])
    assert statistics.holm(np.array([0.2])) == pytest.approx([0.2])
    assert len(statistics.holm(np.array([]))) == 0


def test_hedges_g_by_hand():
    # Means 2 and 3, both variances 1, m = 4: -1 × (1 - 3 / 15).
    assert statistics.hedges_g(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])) == pytest.approx(-0.8)
    assert math.isnan(statistics.hedges_g(np.array([0.1, 0.1, 0.1]), np.array([0.3, 0.3])))


def test_differences_of_a_study(measured):
    found = differences.differences(Study(measured))
    assert [(d.metric, d.variant.conditions) for d in found if d.metric == "kid"] == [
        ("kid", "classifier features"),
        ("kid", "random features"),
    ]
    names = {d.metric for d in found}
    assert {"bits_per_dim", "elbo_nats", "recall", "sample_images_per_second"} <= names
    # The same figure in another unit, no better direction, k that differs, the floor, settled by the configuration.
    assert not names & {"nll_nats", "auroc", "effective_sample_size", "kid_floor", "parameters", "collapsed_share"}
    p = np.array([d.interval.p for d in found])
    assert [d.adjusted for d in found] == pytest.approx(statistics.holm(p))
    first = found[0]
    assert (first.metric, first.first, first.second) == ("bits_per_dim", "vae", "glow")
    assert first.interval.value == pytest.approx(2.31333 - 1.97333, abs=1e-4)
    assert first.interval.paired
    assert first.effect > 0


def test_other_conditions_are_not_compared(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]}, measured=True)
    for row in builder.measurements:
        if row["metric"] == "kid" and row["family"] == "vae":
            row["n"] = 500
        if row["split"] == "throughput" and row["family"] == "vae":
            row["conditions"] = f"GPU, {row['conditions']}"
    names = {d.metric for d in differences.differences(Study(builder.results()))}
    assert "recall" in names
    assert not names & {"kid", "train_images_per_second", "sample_images_per_second"}


def test_a_single_seed_is_not_tested(study):
    found = differences.differences(Study(study({"vae": [2.3], "glow": [2.0, 2.1]}, measured=True).results()))
    assert found == []


def test_three_families_are_compared_in_all_pairs_of_bits_per_dim(study):
    builder = study({"vae": [2.3, 2.32], "glow": [2.0, 2.01]})
    for seed in (0, 1):
        builder.final("pixelcnn", seed, 2.6 + 0.01 * seed)
    found = differences.differences(Study(builder.results()))
    assert [(d.metric, d.first, d.second) for d in found] == [
        ("bits_per_dim", "vae", "glow"),
        ("bits_per_dim", "vae", "pixelcnn"),
        ("bits_per_dim", "glow", "pixelcnn"),
    ]


def test_likelihood_is_paired_only_where_the_images_are_known_to_be_the_same(study, measured):
    assert differences.likelihood(Study(measured), "vae", "glow").paired
    builder = study({"vae": [2.3, 2.32, 2.31], "glow": [2.0, 2.01, 2.04]}, measured=True)
    plain = differences.likelihood(Study(builder.results(tables={})), "vae", "glow")
    assert (plain.paired, plain.over_seeds) == (False, True)
    assert not differences.likelihood(Study(builder.results(dataset={})), "vae", "glow").paired
    tables = builder.results().tables
    for column, change in (("image", 1), ("bound_nats", 5.0)):  # other images; the table of another figure
        frame = tables["likelihood_by_image"].copy()
        frame[column] += change * (frame["run_id"] > "run0038")
        other = builder.results(tables={"likelihood_by_image": frame})
        assert not differences.likelihood(Study(other), "vae", "glow").paired
