"""The reference model's configuration: when a study has one, its budget, and that it makes no study another one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.data.bundled import DIGITS
from bench.data.keras_datasets import CIFAR10
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Study, StudySettings, default_images
from bench.study.plan import plan, plan_reference, study_eta, total_seconds
from bench.study.reference_model import MOST_MULTIPLICATIONS, RUN_KIND, most_test_images, reference_study, too_large
from bench.study.search_space import Integers
from bench.study.speed import Speed
from models.autoregressive.config import AutoregressiveConfig
from models.vae.config import VAEConfig

VAE = Arm(VAEConfig(latent_size=4), sweep={"latent_size": Integers(2, 64)})


@pytest.fixture(autouse=True)
def _steady_processor(monkeypatch):
    monkeypatch.setattr("bench.study.speed.multiplications_per_second", lambda: 1e10)


def bind(*arms, info=DIGITS, **settings):
    study = Study(name="one", question="Which?", arms=arms or (VAE,))
    return BoundStudy(study, StudySettings.from_options(settings), info, "d")


def budget(bound):
    reference = reference_study(bound)
    return reference.base(reference.study.arms[0]).training.images


def test_a_study_has_one_unless_it_wants_none_or_an_arm_is_of_its_family():
    (arm,) = reference_study(bind()).study.arms
    assert arm.model == AutoregressiveConfig.preset("small")
    assert not arm.sweep
    assert reference_study(bind(reference_model=False)) is None
    assert reference_study(bind(VAE, Arm(AutoregressiveConfig(blocks=1), name="mine"))) is None


def test_it_makes_no_study_another_one():
    assert bind(reference_model=False).study_id == bind().study_id


@pytest.mark.parametrize("given", [{"images": 640}, {"epochs": 3}, {"smoke": True}])
def test_its_budget_is_that_of_the_study(given):
    bound = bind(**given)
    assert budget(bound) == bound.base(VAE).training.images


def test_without_a_budget_of_the_study_it_is_the_largest_of_the_arms():
    assert budget(bind()) == default_images(DIGITS.sizes["train"])
    small, large = (replace(VAE, training=TrainingConfig(images=n), name=f"of-{n}") for n in (128, 640))
    assert budget(bind(small, large)) == 640


def test_its_training_costs_no_more_than_a_bound_whatever_the_images_and_the_budget():
    bound = bind(info=CIFAR10, images=10**12)
    size = AutoregressiveConfig.preset("small").size(CIFAR10.image_shape, CIFAR10.grey_levels)
    cost = 3 * size.multiplications * budget(bound)
    assert 0.99 * MOST_MULTIPLICATIONS < cost <= MOST_MULTIPLICATIONS
    assert most_test_images(CIFAR10) * size.multiplications <= MOST_MULTIPLICATIONS


@pytest.mark.parametrize(("side", "channels", "batch"), [(34, 1, 64), (35, 1, 62), (64, 3, 17), (68, 1, 16)])
def test_large_images_have_one_that_is_trained_in_smaller_batches(side, channels, batch):
    bound = bind(info=replace(CIFAR10, image_shape=(side, side, channels)))
    assert too_large(bound) == ""
    reference = reference_study(bound)
    training = reference.base(reference.study.arms[0]).training
    assert training.batch_size == batch
    assert training.steps >= 500
    assert training.warmup_steps == training.steps // 10
    # As long as its training may take, and validation and test as long again, at the speed that the plan assumes.
    planned = plan_reference(bound)
    cost = 3 * planned.largest.multiplications * training.images
    assert 0.99 * MOST_MULTIPLICATIONS < cost <= MOST_MULTIPLICATIONS
    small = plan_reference(bind(info=replace(CIFAR10, image_shape=(32, 32, 3))))
    assert planned.final_seconds < 1.6 * small.final_seconds


@pytest.mark.parametrize("side", [72, 128, 512, 4096])
def test_there_is_none_of_so_large_images_that_its_bound_allows_few_steps(side):
    bound = bind(info=replace(CIFAR10, image_shape=(side, side, 3)))
    assert reference_study(bound) is None
    assert plan_reference(bound) is None
    assert re.fullmatch(
        rf"not trained: on images of {side}x{side}x3, the 5e\+12 multiply-adds that it may take are \d+ steps of \d+ "
        "images, and fewer than 500 say little of such a model",
        too_large(bound),
    )
    assert too_large(bind(info=bound.info, reference_model=False)) == ""


def test_small_images_and_the_arms_own_short_budget_are_no_reason_against_it():
    for bound in (bind(), bind(info=CIFAR10), bind(images=64), bind(info=CIFAR10, images=64)):
        assert too_large(bound) == ""
        assert reference_study(bound) is not None


def test_a_large_batch_of_the_arms_leaves_it_the_steps_that_it_takes():
    reference = reference_study(bind(info=CIFAR10, batch_size=1024, images=10**6))
    assert reference.base(reference.study.arms[0]).training.steps >= 500


@pytest.mark.parametrize(("images", "warmup"), [(64, 0), (64 * 500, 50), (76_800, 100)])
def test_its_warm_up_is_no_more_than_a_tenth_of_its_steps(images, warmup):
    reference = reference_study(bind(images=images))
    assert reference.base(reference.study.arms[0]).training.warmup_steps == warmup


@pytest.mark.parametrize("images", [64, 640, 6400])
def test_all_its_evaluations_take_no_longer_than_its_training(images):
    reference = reference_study(bind(images=images))
    training = reference.base(reference.study.arms[0]).training
    evaluated = training.evaluations * reference.settings.evaluation_images
    assert evaluated <= 3 * training.steps * training.batch_size


def test_validation_is_cut_to_what_leaves_the_training_most_of_the_time():
    assert reference_study(bind()).settings.evaluation_images == 1000
    assert reference_study(bind(evaluation_images=60)).settings.evaluation_images == 60
    assert reference_study(bind(evaluation_images=10**6)).settings.evaluation_images == 1000


@pytest.mark.parametrize(
    ("image_shape", "given", "batch"),
    [
        ((8, 8, 1), None, 64),
        ((8, 8, 1), 100, 100),
        ((28, 28, 1), None, 64),
        ((256, 256, 3), None, 5),
        ((1024, 1024, 1), 9, 1),
    ],
)
def test_a_batch_of_large_images_fits_into_memory(image_shape, given, batch):
    reference = reference_study(bind(info=replace(DIGITS, image_shape=image_shape), batch_size=given, images=1))
    assert reference.base(reference.study.arms[0]).training.batch_size == batch


def test_images_of_many_channels_have_a_hidden_one_each():
    (arm,) = reference_study(bind(info=replace(DIGITS, image_shape=(8, 8, 60)))).study.arms
    assert arm.model.hidden_channels == 60


def test_symbols_of_a_text_have_no_order_for_it():
    shape = {"image_shape": (1, 64, 1), "grey_levels": 100}
    text = replace(DIGITS, **shape, kind="text", encoding="characters", symbols=tuple(map(chr, range(100))))
    scaling = []
    for info in (text, replace(text, kind="audio", encoding="linear", symbols=(), sample_rate=8000)):
        (arm,) = reference_study(bind(info=info)).study.arms
        scaling.append(arm.model.input_scaling)
    assert scaling == ["one_hot", "centred"]


@pytest.mark.parametrize(("limit", "images"), [(None, 10_000), (300, 300)])
def test_it_is_planned_to_be_measured_on_the_images_that_final_runs_are(limit, images):
    """Its own settings limit validation, which chooses its weights; and no other measure is made of it."""
    info = replace(DIGITS, sizes={**DIGITS.sizes, "test": 10_000})
    speed = Speed(first_seconds=1.0, step_seconds=0.01, likelihood_seconds=0.005)
    times = plan_reference(bind(info=info, evaluation_images=limit), speed).times
    assert times.measuring == pytest.approx(images * 0.005)


def test_the_plan_and_the_predicted_time_have_it():
    bound, without = bind(), bind(reference_model=False)
    reference = plan_reference(bound)
    assert reference.largest == AutoregressiveConfig.preset("small").size((8, 8, 1), 17)
    assert plan_reference(without) is None
    (arm,) = plan(bound)
    assert total_seconds(bound, [arm]) - total_seconds(without, [arm]) == pytest.approx(reference.final_seconds)
    assert [RUN_KIND in study_eta(each)._left for each in (bound, without)] == [True, False]
