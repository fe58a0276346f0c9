"""Samples with values that are not finite: counted, crossed out, and of no gain to the scores."""

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image

from bench.core.metrics import METRICS
from bench.core.results import PICTURES
from bench.data.choice import fixed_choice
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


class Pixels:
    """All pixels as features."""

    name, size, description, accuracy = "pixels", 64, "pixels", None

    def features(self, images):
        return images.reshape(len(images), -1).astype(float)


@pytest.fixture(scope="module")
def scored():
    """The scores of a sampler that is perfect, or that copies, but for a share of its samples that breaks."""
    from bench.data.bundled import load_digits
    from bench.evaluation.quality import sample_quality

    images = load_digits().tuning.train.images
    train, held_out, fresh = images[:500], images[500:800], images[800:1200]

    @cache
    def quality(share, *, copies=False):
        samples = (train if copies else fresh)[:400].astype(np.int32)
        samples[: round(share * 400)] = -1
        samples = samples[np.random.default_rng(0).permutation(400)]
        found = sample_quality(
            with_noise_for_broken(samples, LEVELS), held_out, train, Pixels(), LEVELS, broken(samples, LEVELS)
        )
        return {row.metric: row for row in found.measurements}, found.unavailable

    return quality


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_every_sample_that_breaks_counts_against_each_score(scored, share):
    (whole, _), (found, _) = scored(0.0), scored(share)
    for metric in ("frechet_distance", "frechet_distance_infinity", "kid"):
        assert found[metric].value > 1.1 * whole[metric].value
    for metric in ("precision", "density"):
        assert found[metric].value == pytest.approx((1 - share) * whole[metric].value, abs=0.06)
    for metric in ("recall", "coverage"):
        assert found[metric].value <= (1 - share) * whole[metric].value + 0.05, metric
        assert found[metric].standard_error > 0


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_samples_that_break_do_not_hide_that_the_others_are_copies(scored, share):
    (whole, _), (found, _) = scored(0.0, copies=True), scored(share, copies=True)
    assert whole["data_copying"].value == found["data_copying"].value == 1.0
    (fair, _), (damaged, _) = scored(0.0), scored(share)
    assert damaged["data_copying"].value == pytest.approx(fair["data_copying"].value, abs=0.08)
    # Values of one n stand in one row of the report, however many samples broke.
    assert damaged["data_copying"].n == fair["data_copying"].n


def test_copying_of_too_few_whole_samples_is_not_measured(scored):
    found, unavailable = scored(0.9, copies=True)
    assert "data_copying" not in found
    assert "of 300 samples 3" in unavailable["data_copying"]
    assert "are whole" in unavailable["data_copying"]


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


@pytest.fixture(scope="module")
def measured(digits, protocol):
    """The context of a Glow whose samples all break, or none."""

    @cache
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
    assert lost["data"] == whole["data"] == "All 64 validation images"


def test_real_images_are_as_large_as_the_samples(measured):
    context = measured()
    sampler = context.programs.sampler
    pictures = {
        each.kind: each
        for each in sample_grids.final_pictures(sampler, context.images, context.split, context.train, 0)
    }
    sizes = {kind: pixels_of(pictures[kind].png).shape for kind in ("data", "samples")}
    assert sizes["data"] == sizes["samples"]
    assert pictures["data"].png == image_grid(fixed_choice(context.images, 64), LEVELS, 8)
