import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from bench.core.errors import SettingsError
from bench.evaluation.quality import data_copying, memorization, nearest_training_images
from bench.evaluation.quality.memorization import nearest


def images(n, seed, levels=256, side=5):
    return np.random.default_rng(seed).integers(0, levels, (n, side, side, 2)).astype(np.uint16)


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_the_nearest_image_is_that_of_all_distances_even_when_taken_in_pieces(levels, monkeypatch):
    monkeypatch.setattr(memorization, "_CHUNK_BYTES", 8 * 50 * 7)  # seven training images at a time
    samples, train = images(20, 0, levels), images(45, 1, levels)
    train[40] = train[3]  # a tie, which the first wins
    samples[0] = train[3]
    distances = cdist(samples.reshape(20, -1).astype(float), train.reshape(45, -1).astype(float))
    index, distance = nearest(samples, train)
    np.testing.assert_array_equal(index, distances.argmin(1))
    np.testing.assert_allclose(distance, distances.min(1))
    assert (index[0], distance[0]) == (3, 0.0)
    np.testing.assert_array_equal(nearest_training_images(samples, train), index)


def test_the_probability_is_the_area_under_the_roc_curve_with_ties_counted_half():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 8, 60).astype(float), rng.integers(2, 10, 90).astype(float)
    value, error = data_copying(ours, theirs)
    assert value == pytest.approx(roc_auc_score(np.r_[np.zeros(60), np.ones(90)], np.r_[ours, theirs]))

    # DeLong by the double loop over pairs.
    wins = (ours[:, None] < theirs) + 0.5 * (ours[:, None] == theirs)
    assert value == pytest.approx(wins.mean())
    assert error == pytest.approx(np.sqrt(wins.mean(1).var(ddof=1) / 60 + wins.mean(0).var(ddof=1) / 90))


def test_the_standard_error_is_the_spread_over_new_samples():
    rng = np.random.default_rng(1)
    results = np.array([data_copying(rng.normal(size=70), 0.5 + rng.normal(size=70)) for _ in range(200)])
    assert results[:, 1].mean() == pytest.approx(results[:, 0].std(), rel=0.15)


def test_copies_score_1_like_laws_a_half_and_far_images_0():
    train, held_out, fresh = images(300, 0, 16), images(80, 1, 16), images(80, 2, 16)
    of_held_out = nearest(held_out, train)[1]
    assert data_copying(nearest(train[:80], train)[1], of_held_out) == (1.0, 0.0)
    value, error = data_copying(nearest(fresh, train)[1], of_held_out)
    assert abs(value - 0.5) < 3 * error
    assert data_copying(nearest(fresh + np.uint16(100), train)[1], of_held_out).value == 0.0


def test_all_ties_are_a_half():
    assert data_copying(np.ones(50), np.ones(60)) == (0.5, 0.0)


def test_too_few_images_are_refused():
    with pytest.raises(SettingsError, match="at least 50 images in each set, got 50 and 49"):
        data_copying(np.ones(50), np.ones(49))
