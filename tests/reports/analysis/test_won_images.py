"""Which test images an arm is better on: those of the data, and none where the arms saw different ones."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bench.core.results import WonImages
from reports.analysis.results import Study
from reports.analysis.won_images import MOST_IMAGES, MOST_PAIRS, wins
from tests.reports.conftest import Builder


def two_arms(gains, seeds=2, *, dimensions=64):
    """Glow's bits/dim of each image lie below the VAE's by ``gains``, on average over seeds."""
    gains = np.array(gains, dtype=float)
    builder = Builder()
    hard = np.linspace(2, 3, len(gains))
    for arm, bits in (("vae", hard), ("glow", hard - gains)):
        for seed in range(seeds):
            run = builder.run(arm, "final", seed=seed)
            own = bits + 0.02 * (seed - (seeds - 1) / 2)
            builder.measure(run, "test", "bits_per_dim", float(own.mean()), n=len(own))
            nats = -own * dimensions * math.log(2)
            builder.table(
                run,
                "likelihood_by_image",
                image=np.arange(len(own)),
                bound_nats=nats,
                monte_carlo_error=0.05,
                effective_sample_size=3.0,
            )
    return builder.results()


def test_by_hand():
    ours, theirs = wins(Study(two_arms([0.3, -0.1, 0.005, 0.2, 0.0, -0.008])))
    assert (ours.winner, ours.loser, ours.images) == ("glow", "vae", (0, 3, 2))
    assert ours.bits == pytest.approx((0.3, 0.2, 0.005))
    assert (ours.won, ours.clearly, ours.measured) == (3, 2, 6)
    assert (theirs.winner, theirs.loser, theirs.images) == ("vae", "glow", (1, 5))
    assert theirs.bits == pytest.approx((0.1, 0.008))
    assert (theirs.won, theirs.clearly) == (2, 1)


def test_the_clearest_few_of_many():
    gains = np.random.default_rng(0).normal(0.05, 0.2, 300)
    for win, sign in zip(wins(Study(two_arms(gains))), (1, -1), strict=True):
        assert list(win.images) == list(np.argsort(-sign * gains)[:MOST_IMAGES])
        assert win.won == (sign * gains > 0).sum()


def test_identical_runs_and_a_clean_sweep():
    assert [(win.images, win.won) for win in wins(Study(two_arms(np.zeros(9))))] == [((), 0)] * 2
    ours, theirs = wins(Study(two_arms(np.full(9, 0.1))))
    assert (ours.won, theirs.won, theirs.images) == (9, 0, ())


def test_a_single_seed_shows_images_too():
    assert wins(Study(two_arms([0.1, -0.2, 0.3], seeds=1)))[0].images == (2, 0)


def test_the_best_arm_beside_each_of_the_next(four, study):
    assert [(win.winner, win.loser) for win in wins(Study(four))] == [
        ("deep", "shallow"),
        ("shallow", "deep"),
        ("deep", "conv"),
        ("conv", "deep"),
        ("deep", "dense"),
        ("dense", "deep"),
    ]
    many = {f"arm{i}": [2.0 + 0.1 * i, 2.01 + 0.1 * i] for i in range(7)}
    found = wins(Study(study(many, measured=True, families=dict.fromkeys(many, "vae")).results()))
    assert len(found) == 2 * MOST_PAIRS
    assert {win.winner for win in found[::2]} == {"arm0"}


def test_nothing_without_tables_of_the_same_images(measured):
    assert wins(Study(dataclasses.replace(measured, tables={}))) == []
    assert wins(Study(dataclasses.replace(measured, dataset={}))) == []
    frame = measured.tables["likelihood_by_image"].copy()
    frame.loc[frame["run_id"] == frame["run_id"].iloc[0], "image"] += 1000
    assert wins(Study(dataclasses.replace(measured, tables={"likelihood_by_image": frame}))) == []


def test_an_image_that_a_seed_lacks_is_left_out(measured):
    frame = measured.tables["likelihood_by_image"].copy()
    lost = sorted(wins(Study(measured))[0].images)[0]
    frame.loc[frame["image"] == lost, "bound_nats"] = np.nan
    found = wins(Study(dataclasses.replace(measured, tables={"likelihood_by_image": frame})))
    assert found[0].measured == 359
    assert lost not in found[0].images


def test_only_the_picture_of_the_same_images_is_theirs():
    ours, _ = wins(Study(two_arms([0.3, -0.1, 0.2])))
    assert ours.shows(WonImages("glow", "vae", (0, 2), b""))
    for other in (("glow", "vae", (2, 0)), ("vae", "glow", (0, 2)), ("glow", "vae", (0,))):
        assert not ours.shows(WonImages(*other, b""))
