"""Samples with values that are not finite: counted, crossed out, and of no gain to the scores."""

import io

import numpy as np
import pytest
from PIL import Image

from bench.core.metrics import METRICS
from bench.core.results import PICTURES
from bench.evaluation import sample_grids
from bench.evaluation.broken_samples import broken, share_of_broken, with_noise_for_broken
from bench.evaluation.image_grid import image_grid
from bench.evaluation.metrics import MEASURES, EvaluationContext
from bench.evaluation.programs import EvaluationPrograms
from bench.evaluation.quality import compute_prdc
from models.glow.config import GlowConfig
from models.registry import build_model

LEVELS = 17


def samples_with(lost, n=60, value=-1):
    """Random images, of which the numbers in ``lost`` hold a single value that is none."""
    images = np.random.default_rng(0).integers(0, LEVELS, (n, 8, 8, 1)).astype(np.int32)
    images[lost, 3, 4, 0] = value
    return images


@pytest.mark.parametrize("value", [-1, LEVELS, np.iinfo(np.int32).min])
def test_an_image_with_a_single_value_that_is_no_grey_level_is_broken(value):
    assert np.flatnonzero(broken(samples_with([2, 7], value=value), LEVELS)).tolist() == [2, 7]


@pytest.mark.parametrize(("value", "is_broken"), [(np.nan, True), (np.inf, True), (16.0001, False), (17.0, True)])
def test_mean_images_may_be_off_by_rounding_but_not_be_no_numbers(value, is_broken):
    means = np.full((1, 8, 8, 1), 3.5)
    means[0, 0, 0, 0] = value
    assert broken(means, LEVELS).tolist() == [is_broken]


def test_the_share_is_logged_whether_it_is_0_or_not():
    none, some = (share_of_broken(samples_with(lost), LEVELS) for lost in ([], [1, 2, 3]))
    assert (none.key, none.value, none.n) == ("quality/non_finite_samples", 0.0, 60)
    assert (some.value, some.n) == (3 / 60, 60)
    assert some.standard_error == pytest.approx(np.sqrt(0.05 * 0.95 / 60))
    assert METRICS["non_finite_samples"].higher_is_better is False


def test_scores_see_noise_in_place_of_what_broke_and_all_else_as_it_is():
    samples = samples_with([5, 6])
    scored = with_noise_for_broken(samples, LEVELS)
    assert not broken(scored, LEVELS).any()
    kept = ~broken(samples, LEVELS)
    assert (scored[kept] == samples[kept]).all()
    assert len(np.unique(scored[5])) > 8
    assert (scored[5] != scored[6]).any()
    assert (with_noise_for_broken(samples, LEVELS) == scored).all()


def test_scores_do_not_gain_by_samples_that_break():
    """Of a perfect sampler, a fifth breaks."""
    from bench.data.bundled import load_digits
    from bench.evaluation.quality import sample_quality

    class Pixels:
        name, size, description, accuracy = "pixels", 64, "pixels", None

        def features(self, images):
            return images.reshape(len(images), -1).astype(float)

    images = load_digits().tuning.train.images
    train, held_out, perfect = images[:600], images[600:900], images[900:1200].astype(np.int32)
    lost = np.arange(300) % 5 == 0
    damaged = np.where(lost[:, None, None, None], -1, perfect)

    def scores(samples):
        clean, lost = with_noise_for_broken(samples, LEVELS), broken(samples, LEVELS)
        rows = sample_quality(clean, held_out, train, Pixels(), LEVELS, lost).measurements
        return {row.metric: row.value for row in rows}

    whole, found = scores(perfect), scores(damaged)
    for metric in ("frechet_distance", "frechet_distance_infinity", "kid"):
        assert found[metric] > 1.1 * whole[metric]
    for metric in ("precision", "density"):
        assert found[metric] == pytest.approx(0.8 * whole[metric], abs=0.05)
    assert found["coverage"] < whole["coverage"]
    # The balls of fewer samples are wider, but not as wide as those of images of noise.
    assert found["recall"] <= whole["recall"] + 0.02


@pytest.mark.parametrize("number", [1, 4, 55])
def test_no_ball_of_a_sample_that_broke_covers_data(number):
    rng = np.random.default_rng(0)
    samples, held_out = rng.standard_normal((60, 3)), 20 + rng.standard_normal((60, 3))
    samples[:number] = 50
    lost = np.arange(60) < number
    assert compute_prdc(samples, held_out).recall.value == 1.0
    assert compute_prdc(samples, held_out, broken=lost).recall.value == 0.0
    found = compute_prdc(np.where(lost[:, None], held_out, samples), held_out, broken=lost)
    assert [score.value for score in found] == [0.0, 0.0, 0.0, 0.0]


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_grid_crosses_out_what_is_no_image():
    black = np.zeros((2, 8, 8, 1), np.int32)
    assert pixels_of(image_grid(black, LEVELS, 2)).ndim == 2
    black[1, 0, 0, 0] = -1
    picture = pixels_of(image_grid(black, LEVELS, 2))
    assert picture.ndim == 3
    factor = picture.shape[0] // 8
    small = picture[factor // 2 :: factor, factor // 2 :: factor]
    first, second = small[:, :8].astype(int), small[:, 9:].astype(int)
    assert (first == 0).all()
    red = second[..., 0] - second[..., 1] > 100
    assert (red == (np.eye(8, dtype=bool) | np.eye(8, dtype=bool)[::-1])).all()
    assert second[~red].min() > 200


@pytest.mark.parametrize("shape", [(4, 9, 1), (7, 4, 3), (2, 2, 1)])
def test_a_cross_reaches_the_corners_of_any_tile(shape):
    picture = pixels_of(image_grid(np.full((1, *shape), -1), LEVELS, 1))
    for row in (0, -1):
        for column in (0, -1):
            assert picture[row, column].tolist() == [204, 0, 0]


@pytest.fixture
def measured(digits, protocol):
    """The context of a Glow whose samples all break, or none."""

    def context(fault=False):
        model = build_model(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), (8, 8, 1), LEVELS)
        if fault:
            model.top_prior.moments.assign(np.full(model.top_prior.moments.shape, np.nan))
        tuning = digits.tuning
        images = tuning.validation.images
        return EvaluationContext(EvaluationPrograms(model), images, "validation", tuning.train.images, protocol(2), 0)

    return context


@pytest.mark.parametrize(("fault", "share"), [(False, 0.0), (True, 1.0)])
def test_a_final_run_measures_its_samples_and_how_many_broke(measured, fault, share):
    context = measured(fault)
    found = {row.metric: row for row in MEASURES["sample quality"](context).measurements}
    assert (found["non_finite_samples"].value, found["non_finite_samples"].n) == (share, len(context.images))
    assert "frechet_distance" in found
    assert 0 <= context.samples.min() <= context.samples.max() < LEVELS


def test_pictures_count_what_they_cross_out_and_begin_with_real_images(measured):
    def captions(context):
        return {picture.kind: picture.caption for picture in MEASURES["pictures"](context).pictures}

    whole, lost = captions(measured()), captions(measured(fault=True))
    assert set(whole) == {"data", "samples", "temperatures", "neighbours"} <= set(PICTURES)
    assert not [caption for caption in whole.values() if "crossed" in caption]
    ending = "; of 64 images 64 are crossed out, with values that are not finite"
    assert lost["samples"] == whole["samples"] + ending
    assert lost["neighbours"] == whole["neighbours"] + ending
    assert lost["data"] == whole["data"] == "The first 64 validation images"


def test_real_images_are_as_large_as_the_samples(measured):
    context = measured()
    sampler = context.programs.sampler
    pictures = {
        each.kind: each
        for each in sample_grids.final_pictures(sampler, context.images, context.split, context.train, 0)
    }
    sizes = {kind: pixels_of(pictures[kind].png).shape for kind in ("data", "samples")}
    assert sizes["data"] == sizes["samples"]
    assert pictures["data"].png == image_grid(context.images[:64], LEVELS, 8)
