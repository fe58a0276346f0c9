"""When arms pass a target, from curves of which it is known; a miss is counted."""

from __future__ import annotations

import numpy as np
import pytest

from bench.core.results import Measurement, ReferenceCodes
from reports.analysis.curves import final_curves
from reports.analysis.results import Study
from reports.analysis.targets import passing, targets, time_to_targets
from tests.reports.conftest import FALLS, SLOW, curves_of, shifted

CODES = ReferenceCodes(
    [
        Measurement("reference_codes", "code_png", 3.0, 0.01, 360),
        Measurement("reference_codes", "code_xz", 1.3, None, 360),
        Measurement("reference_model", "code_pixelcnn", 0.9, 0.01, 360),
    ]
)
TIMES = {"vae": 1.0, "glow": 3.0}
MNIST = {"name": "mnist", "grey_levels": 256, "image_shape": [28, 28, 1]}


def test_a_target_is_passed_at_the_first_evaluation_at_or_below_it(empty):
    study = curves_of(empty, {"vae": [FALLS, shifted(FALLS)]}, seconds=TIMES)
    found = passing(final_curves(study, "vae"), 3.0)
    assert list(found.images) == [3000.0, 4000.0]
    assert list(found.seconds) == [3.0, 4.0]
    assert (found.at_first, found.lost, found.seeds) == (0, 0, 2)


def test_a_curve_that_rises_again_has_passed(empty):
    study = curves_of(empty, {"vae": [[3.0, 2.0, 2.5]]}, seconds=TIMES)
    assert list(passing(final_curves(study, "vae"), 2.0).images) == [2000.0]


def test_a_seed_that_does_not_reach_it_is_a_miss_with_what_was_spent(empty):
    study = curves_of(empty, {"vae": [FALLS, SLOW]}, seconds=TIMES)
    found = passing(final_curves(study, "vae"), 1.5)
    assert list(found.passed) == [True, False]
    assert list(found.seconds) == [5.0, np.inf]
    assert list(found.spent_seconds) == [6.0, 6.0]
    assert list(found.spent_images) == [6000.0, 6000.0]


def test_the_first_evaluation_is_an_upper_limit_and_a_value_that_is_not_finite_passes_nothing(empty):
    study = curves_of(empty, {"vae": [[2.0, 1.0], [float("nan"), 2.0], [float("-inf"), 4.0]]}, seconds=TIMES)
    found = passing(final_curves(study, "vae"), 2.5)
    assert list(found.images) == [1000.0, 2000.0, np.inf]
    assert found.at_first == 2


def test_without_seconds_images_are_known(empty):
    study = curves_of(empty, {"vae": [FALLS]})
    found = passing(final_curves(study, "vae"), 3.0)
    assert list(found.images) == [3000.0]
    assert np.isnan(found.seconds).all()


def test_final_runs_that_were_lost_are_misses(empty):
    curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds=TIMES)
    empty.run("vae", "final", "diverged", seed=7, param_decay="plateau")
    empty.run("vae", "final", "failed", seed=8, param_decay="plateau")
    empty.run("vae", "final", "interrupted", seed=9, param_decay="plateau")
    empty.run("vae", "final", "diverged", seed=7, param_decay="plateau", param_latent_size=3)  # another configuration
    ((_, found), *_) = time_to_targets(Study(empty.results(reference_codes=CODES)))
    assert (found["vae"].lost, found["vae"].seeds, found["glow"].lost) == (2, 3, 0)


def test_a_seed_that_was_lost_at_another_budget_is_no_further_seed(empty):
    curves_of(empty, {"vae": [FALLS, FALLS]}, budget={"vae": (6000, 6, 100)}, seconds=TIMES)
    own = {"param_decay": "plateau", "param_evaluations": 6, "param_batch_size": 100}
    empty.run("vae", "final", "diverged", seed=1, param_images=6000, **own)  # reported by another attempt
    empty.run("vae", "final", "diverged", seed=2, param_images=12_000, **own)  # of a larger budget
    for _ in range(2):
        empty.run("vae", "final", "diverged", seed=3, param_images=6000, **own)
    for run in empty.runs:
        run["config_hash"] = "one"
    ((_, found), *_) = time_to_targets(Study(empty.results(reference_codes=CODES)))
    assert (found["vae"].lost, found["vae"].seeds) == (1, 3)


def test_targets_are_codes_the_reference_model_and_what_was_published_of_the_same_data(empty):
    study = curves_of(empty, {"vae": [FALLS], "glow": [SLOW]}, seconds=TIMES, dataset=MNIST, reference_codes=CODES)
    known = targets(study)
    assert [target.value for target in known] == sorted((target.value for target in known), reverse=True)
    named = {target.name.split(",")[0]: target.value for target in known}
    assert named["PNG"] == 3.0
    assert named["PixelCNN"] == 0.9
    assert named["published: Glow"] == 1.05
    found = {target.name.split(",")[0]: by_arm for target, by_arm in time_to_targets(study)}
    assert list(found["PNG"]["vae"].seconds) == [3.0]
    assert not found["published: Glow"]["vae"].passed.any()


def test_published_nats_become_bits_of_the_same_images(empty):
    binary = {"name": "binarized_mnist", "grey_levels": 2, "image_shape": [28, 28, 1]}
    study = curves_of(empty, {"vae": [FALLS]}, dataset=binary)
    named = {target.name: target.value for target in targets(study)}
    assert named["published: PixelCNN"] == pytest.approx(81.30 / (784 * np.log(2)))
    assert targets(curves_of(empty, {"vae": [FALLS]}, dataset={"name": "binarized_mnist", "grey_levels": 2})) == []


def test_nothing_without_a_curve(empty):
    assert time_to_targets(Study(empty.results(reference_codes=CODES))) == []
