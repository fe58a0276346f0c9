import subprocess
import sys

import numpy as np
import pytest

from bench.core.errors import SettingsError
from bench.core.metrics import FLOOR_SUFFIX, METRICS
from bench.data.choice import fixed_choice
from bench.evaluation.quality import frechet_distance, kernel_distance, sample_quality, scores

OF_FEATURES = ["frechet_distance", "frechet_distance_infinity", "kid", "precision", "recall", "density", "coverage"]
ALL = {*OF_FEATURES, *(metric + FLOOR_SUFFIX for metric in OF_FEATURES), "data_copying"}
FRECHET = {metric for metric in ALL if metric.startswith("frechet")}


class Pixels:
    """Three means of pixels as features; counts the images that it saw."""

    name, size, description, accuracy = "pixels", 3, "three means of pixels", None

    def __init__(self):
        self.seen = 0

    def features(self, images):
        self.seen += len(images)
        return images.reshape(len(images), 3, -1).mean(-1).astype(float)


class Whole(Pixels):
    """All pixels as features, so that no two images have the same."""

    def features(self, images):
        super().features(images)
        return images.reshape(len(images), -1).astype(float)


def noise(n, seed, low=0, high=16):
    return np.random.default_rng(seed).integers(low, high, (n, 3, 4, 1)).astype(np.uint8)


def quality(samples, held_out, train, extractor=None):
    return sample_quality(samples, held_out, train, extractor or Pixels(), 16)


def test_every_metric_of_the_schema_is_measured():
    ours = quality(noise(150, 0), noise(120, 1), noise(300, 2))
    assert {row.metric for row in ours.measurements} == ALL
    assert set(METRICS) >= ALL
    assert ours.unavailable == {}
    for row in ours.measurements:
        assert (row.split, row.n) == ("quality", 120)
        # A share of 1 has a binomial error of 0.
        assert row.standard_error > 0 or row.value == 1
        assert row.conditions == ("pixels" if row.metric == "data_copying" else "three means of pixels")


def test_floors_of_a_single_draw_are_what_training_images_score_as_samples():
    held_out, train = noise(120, 1), noise(120, 2)
    rows = {row.metric: row for row in quality(train, held_out, train).measurements}
    for metric in OF_FEATURES:
        floor = rows[metric + FLOOR_SUFFIX]
        assert (rows[metric].value, rows[metric].standard_error) == (floor.value, floor.standard_error)
    assert rows["data_copying"].value == 1.0


def test_samples_are_compared_with_held_out_images():
    samples, held_out, train = noise(120, 0, 8), noise(120, 1), noise(400, 2)
    rows = {row.metric: row.value for row in quality(samples, held_out, train).measurements}
    x, y = (Pixels().features(images) for images in (samples, held_out))
    # The order of images changes nothing but the groups of the jackknife.
    assert rows["frechet_distance"] == pytest.approx(frechet_distance(x, y).value)
    assert rows["kid"] == pytest.approx(kernel_distance(x, y).value)
    assert rows["frechet_distance"] > 5 * rows["frechet_distance_floor"]


def test_sets_are_cut_to_what_each_metric_takes(monkeypatch):
    monkeypatch.setattr(scores, "LARGEST_FRECHET_SET", 100)
    monkeypatch.setattr(scores, "LARGEST_SET", 60)
    extractor = Pixels()
    rows = quality(noise(150, 0), noise(120, 1), noise(300, 2), extractor).measurements
    assert {row.n for row in rows if row.metric.startswith("frechet")} == {100}
    assert {row.n for row in rows if not row.metric.startswith("frechet")} == {60}
    assert extractor.seen == 3 * 100


@pytest.mark.parametrize(("images", "disjoint"), [(600, 5), (300, 2)])
def test_floors_are_means_over_redraws_of_training_images(monkeypatch, images, disjoint):
    draws, measure = [], scores._feature_scores
    monkeypatch.setattr(scores, "_feature_scores", lambda x, y, broken=None: draws.append(x) or measure(x, y))
    extractor = Whole()
    held_out, train = noise(120, 1), noise(images, 2)
    rows = {row.metric: row for row in quality(noise(120, 0), held_out, train, extractor).measurements}
    assert extractor.seen == 2 * 120 + min(images, 600)
    assert len(draws) == 1 + scores.REDRAWS
    values = [kernel_distance(draw, extractor.features(fixed_choice(held_out, 120))).value for draw in draws[:5]]
    assert rows["kid_floor"].value == pytest.approx(np.mean(values))
    assert rows["kid_floor"].standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(disjoint))
    everything = np.concatenate(draws[:disjoint])
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_a_floor_takes_no_more_images_than_one_draw_may(monkeypatch):
    monkeypatch.setattr(scores, "LARGEST_FRECHET_SET", 200)
    extractor = Pixels()
    quality(noise(120, 0), noise(120, 1), noise(900, 2), extractor)
    assert extractor.seen == 120 + 120 + 200


def test_sorted_files_are_not_cut_to_their_first_images():
    train = np.concatenate([noise(300, 2, 0, 8), noise(300, 3, 8, 16)])  # first the dark ones
    held_out = train[::-1].copy()
    rows = {row.metric: row for row in quality(noise(200, 0), held_out, train).measurements}
    assert rows["coverage_floor"].value > 0.8


def test_what_there_are_too_few_images_for_is_refused_with_the_reason(monkeypatch):
    held_out, train = noise(300, 1), noise(300, 2)
    # As many features as pixels, twelve: 24 images are too few for a covariance, and 49 for all else.
    monkeypatch.setattr(Pixels, "features", lambda self, images: images.reshape(len(images), -1) / 1.0)
    few = quality(noise(24, 0), held_out, train)
    assert few.measurements == []
    assert set(few.unavailable) == ALL
    reason = "at least 25 images in each set, more than twice the 12 features"
    assert reason in few.unavailable["frechet_distance_floor"]
    assert "at least 50 images in each set, got 24 and 24" in few.unavailable["kid"]
    enough_for_covariances = quality(noise(49, 0), held_out, train)
    assert {row.metric for row in enough_for_covariances.measurements} == FRECHET
    assert set(enough_for_covariances.unavailable) == ALL - FRECHET
    assert quality(noise(50, 0), held_out, train).unavailable == {}


def test_floors_are_computed_once_for_the_runs_of_a_study():
    extractor, held_out, train = Pixels(), noise(100, 1), noise(100, 2)
    first = quality(noise(100, 0), held_out, train, extractor)
    assert extractor.seen == 300
    again = quality(noise(100, 0), held_out.copy(), train.copy(), extractor)
    assert extractor.seen == 400
    assert again == first


@pytest.mark.parametrize("changed", ["held_out", "train", "extractor"])
def test_a_floor_is_not_taken_for_that_of_other_data(changed):
    extractor = Pixels()
    data = {"held_out": noise(100, 1), "train": noise(100, 2), "extractor": extractor}
    before = quality(noise(100, 0), **data)
    if changed == "extractor":
        data["extractor"] = Pixels()
    else:
        data[changed][:] = noise(100, 7)  # in place: the array is the same object
    after = quality(noise(100, 0), **data)
    floors = [
        [row.value for row in result.measurements if row.metric.endswith(FLOOR_SUFFIX)] for result in (before, after)
    ]
    assert (floors[0] == floors[1]) == (changed == "extractor")
    assert data["extractor"].seen == (300 if changed == "extractor" else 600)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (noise(60, 0).astype(float), "dtype float64; integer images"),
        (noise(60, 0)[..., 0], r"shape \(60, 3, 4\)"),
        (noise(60, 0) + np.uint8(1), r"values in 1\.\.16; with 16 grey levels 0\.\.15"),
    ],
)
def test_images_of_another_kind_are_named(samples, message):
    with pytest.raises(SettingsError, match=f"the samples.*{message}"):
        quality(samples, noise(60, 1), noise(60, 2))


def test_metrics_import_no_framework():
    code = "import sys, bench.evaluation.quality; assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
