"""Practical size: probabilities by hand, calibrated, in agreement with the interval, and none where none can be had."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bench.core.results import EQUIVALENCE
from reports.analysis import differences, practical, statistics
from reports.analysis.practical import Verdict, practical_size, practical_sizes, probabilities, region_size
from reports.analysis.results import Study
from reports.analysis.statistics import Interval


def interval(value, error, freedom):
    return Interval(value, math.nan, math.nan, True, True, math.nan, error, freedom)


def test_closed_forms():
    # ν = 1 is Cauchy's, F(t) = 1/2 + atan(t) / π; ν = 2 has F(t) = 1/2 + t / (2 √(2 + t²)); ν = ∞ is normal.
    def cauchy(t):
        return 0.5 + math.atan(t) / math.pi

    def two(t):
        return 0.5 + t / (2 * math.sqrt(2 + t * t))

    def normal(t):
        return 0.5 * (1 + math.erf(t / math.sqrt(2)))

    for freedom, distribution in ((1, cauchy), (2, two), (math.inf, normal)):
        found = probabilities(interval(-0.03, 0.02, freedom), 0.01)
        assert found.better == pytest.approx(distribution((-0.01 + 0.03) / 0.02))
        assert found.worse == pytest.approx(1 - distribution((0.01 + 0.03) / 0.02))
        assert found.better + found.equal + found.worse == pytest.approx(1)


def test_exchanging_the_arms_exchanges_better_and_worse():
    a, b = (probabilities(interval(value, 0.02, 3.3), 0.01) for value in (-0.03, 0.03))
    assert (a.better, a.equal, a.worse) == pytest.approx((b.worse, b.equal, b.better))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_and_probabilities_never_contradict_each_other(seeds):
    rng = np.random.default_rng(seeds)
    decided = set()
    for _ in range(300):
        scale = 10 ** rng.uniform(-3, 0)
        x, y = (rng.normal(0, scale, (seeds, 1)) + rng.normal(0, scale, (seeds, 20)) for _ in range(2))
        found = statistics.compare_paired(x + rng.normal(0, 0.1), y)
        chances, region = probabilities(found, 0.05), 0.05
        # An end of the interval is where 2.5% lie beyond: the region is left where the interval leaves it.
        assert (chances.better > 0.975) == (found.high < -region)
        assert (chances.worse > 0.975) == (found.low > region)
        if -region < found.low and found.high < region:
            assert chances.equal > 0.95
        decided.add(chances.verdict)
    assert decided == set(Verdict)


def test_an_end_of_the_interval_is_where_the_probability_is_a_fortieth():
    x, y = np.random.default_rng(0).normal(0, 0.1, (2, 3, 40))
    found = statistics.compare_paired(x, y)
    if found.high < 0:
        x, y = y, x
        found = statistics.compare_paired(x, y)
    assert probabilities(found, found.high).worse == pytest.approx(0.025)


def simulate(seeds, over_seeds, over_images, region, differences, images=30):
    """What is said of each difference, the probabilities of better, equal and worse (differences, 3).

    ``over_seeds`` has the spread over seeds of either arm.
    """
    rng = np.random.default_rng(seeds)
    said = []
    for difference in differences:
        common = rng.normal(0, 1, images)
        x, y = (
            common
            + rng.normal(0, over_images, images)
            + rng.normal(0, spread, (seeds, 1))
            + rng.normal(0, 0.2 * over_images, (seeds, images))
            for spread in over_seeds
        )
        found = probabilities(statistics.compare_paired(x + difference, y), region)
        said.append((found.better, found.equal, found.worse))
    return np.array(said)


SPREADS = [(2, 0.1, 0.02), (2, 0.03, 0.2), (3, 0.1, 0.1), (5, 0.05, 0.3)]


@pytest.mark.parametrize(("seeds", "over_seeds", "over_images"), SPREADS)
def test_probabilities_are_calibrated_and_never_too_sure(seeds, over_seeds, over_images):
    region = over_seeds
    differences = np.random.default_rng(7).uniform(-1, 1, 400) * (6 * over_seeds + over_images)
    said = simulate(seeds, (over_seeds, over_seeds), over_images, region, differences)
    true = np.stack([differences < -region, abs(differences) <= region, differences > region], axis=1)
    sure = said >= practical.DECIDED
    assert sure.any(axis=1).mean() > 0.2
    assert true[sure].mean() >= 0.97
    assert true[said <= 0.05].mean() <= 0.03
    # On average over all differences each of the three is as probable as it was said to be.
    assert said.mean(axis=0) == pytest.approx(true.mean(axis=0), abs=0.05)


@pytest.mark.parametrize(("seeds", "over_seeds", "over_images"), SPREADS)
@pytest.mark.parametrize("width", [1.0, 3.0])
def test_a_difference_at_the_edge_of_the_region_is_seldom_called_equal_or_larger(seeds, over_seeds, over_images, width):
    region = width * over_seeds
    said = simulate(seeds, (over_seeds, over_seeds), over_images, region, np.full(400, region))
    sure = said >= practical.DECIDED
    # Three standard errors of a share of 400 above 5%.
    assert (sure.mean(axis=0) <= 0.083).all()
    assert sure[:, 0].mean() <= 0.01


@pytest.mark.parametrize(("seeds", "share"), [(2, 0.09), (3, 0.06), (5, 0.055)])
def test_where_the_seeds_of_one_arm_alone_vary_few_are_a_little_too_sure(seeds, share):
    said = simulate(seeds, (0.1, 0.01), 0.2, 0.4, np.full(600, 0.4))
    sure = said >= practical.DECIDED
    assert (sure.mean(axis=0) <= share + 3 * math.sqrt(share * (1 - share) / 600)).all()


def test_fewer_seeds_are_less_sure():
    x, y = np.array([2.00, 2.02]), np.array([2.05, 2.07])
    few = statistics.compare_paired(np.add.outer(x, np.linspace(0, 1, 9)), np.add.outer(y, np.linspace(0, 1, 9)))
    many = statistics.compare_paired(
        np.add.outer(np.tile(x, 4), np.linspace(0, 1, 9)), np.add.outer(np.tile(y, 4), np.linspace(0, 1, 9))
    )
    sureness = [probabilities(each, 0.01).better for each in (few, many)]
    assert sureness[0] < 0.95 < sureness[1]


def test_of_a_study(measured):
    found = practical_size(Study(measured), "glow", "vae")
    assert found.verdict == Verdict.BETTER
    assert found.interval == differences.likelihood(Study(measured), "glow", "vae")
    wide = Study(dataclasses.replace(measured, equivalence=0.9))
    assert practical_size(wide, "glow", "vae").verdict == Verdict.EQUAL
    (only,) = practical_sizes(Study(measured))
    assert (only.first, only.second) == ("glow", "vae")


def test_every_pair_of_arms_the_lower_mean_first(four):
    pairs = [(each.first, each.second) for each in practical_sizes(Study(four))]
    assert pairs == [
        ("deep", "shallow"),
        ("deep", "conv"),
        ("deep", "dense"),
        ("shallow", "conv"),
        ("shallow", "dense"),
        ("conv", "dense"),
    ]


@pytest.mark.parametrize("levels", [{"vae": [2.3], "glow": [2.0]}, {"vae": [2.3, 2.31], "glow": [2.0]}])
def test_one_seed_gives_no_probability(study, levels):
    found = practical_size(Study(study(levels, measured=True).results()), "glow", "vae")
    assert found.probabilities is None
    assert found.interval is not None
    assert found.verdict == Verdict.OPEN
    assert found.reason == f"both arms need two training seeds or more, not 1 of Glow and {len(levels['vae'])} of VAE"


def test_two_seeds_give_wide_ones(study):
    found = practical_size(Study(study({"vae": [2.00, 2.04], "glow": [1.97, 2.01]}).results()), "glow", "vae")
    assert found.probabilities.better < 0.9
    assert found.probabilities.worse > 0.03


def test_identical_runs(study):
    same = practical_size(Study(study({"vae": [2.3, 2.3], "glow": [2.0, 2.0]}).results()), "glow", "vae")
    assert (same.probabilities, same.reason) == (None, "all seeds of both arms gave the same values")
    twins = study({"vae": [2.30, 2.302, 2.301], "twin": [2.30, 2.302, 2.301]}, families={"twin": "vae"})
    assert practical_size(Study(twins.results()), "vae", "twin").verdict == Verdict.EQUAL


def test_runs_that_are_not_finite_are_left_out(study):
    nan, inf = math.nan, math.inf
    found = practical_size(Study(study({"vae": [2.3, 2.31, nan], "glow": [2.0, 2.01, inf]}).results()), "glow", "vae")
    assert found.verdict == Verdict.BETTER
    lost = practical_size(Study(study({"vae": [2.3, nan], "glow": [2.0, 2.01]}).results()), "glow", "vae")
    assert lost.reason == "both arms need two training seeds or more, not 2 of Glow and 1 of VAE"
    assert practical_sizes(Study(study({"vae": [nan, nan], "glow": [2.0, 2.01]}).results())) == []


def test_without_tables_it_rests_on_seeds_alone(measured):
    found = practical_size(Study(dataclasses.replace(measured, tables={})), "glow", "vae")
    assert found.verdict == Verdict.BETTER
    assert not found.interval.over_images


def test_arms_measured_on_different_images_are_not_judged(study):
    builder = study({"vae": [2.3, 2.32], "glow": [2.0, 2.01]}, measured=True)
    frame = builder.results().tables["likelihood_by_image"].copy()
    runs = {row["run_id"] for row in builder.runs if row["role"] == "final" and row["arm"] == "glow"}
    frame.loc[frame["run_id"].isin(runs), "image"] += 1
    other = builder.results(tables={"likelihood_by_image": frame})
    assert practical_size(Study(other), "glow", "vae").reason == "they were measured on different test images"
    for row in builder.measurements:
        if row["arm"] == "glow" and row["metric"] == "bits_per_dim":
            row["n"] = 100
    fewer = builder.results(tables={})
    assert practical_size(Study(fewer), "glow", "vae").reason == "they were measured on different test images"


def test_other_units_are_not_judged(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["split"] == "test":
            row["unit"] = "nats"
    assert practical_sizes(Study(builder.results())) == []


def test_the_region_as_file_size(measured):
    assert measured.equivalence == EQUIVALENCE == 0.01
    found = region_size(Study(measured))
    # 8 × 8 × 1 values of 0.01 bits are 0.08 bytes, 360 of them 28.8; Glow's mean is 1.97333.
    assert (found.image_bytes, found.images, found.all_bytes) == pytest.approx((0.08, 360, 28.8))
    assert found.share == pytest.approx(0.01 / 1.97333, rel=1e-4)
    assert found.nats is None
    assert region_size(Study(dataclasses.replace(measured, dataset={}))) is None


def test_of_two_level_images_the_region_is_known_in_nats_too(study):
    dataset = {"name": "binarized_mnist", "image_shape": (28, 28, 1), "grey_levels": 2}
    builder = study({"vae": [0.15, 0.151], "glow": [0.17, 0.171]})
    found = region_size(Study(builder.results(dataset=dataset)))
    assert found.nats == pytest.approx(784 * 0.01 * math.log(2))
    assert found.image_bytes == pytest.approx(0.98)
