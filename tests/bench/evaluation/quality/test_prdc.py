import contextlib
import io

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import bench.evaluation.quality.prdc as manifold
from bench.core.errors import SettingsError
from bench.evaluation.quality import compute_prdc


def modes(n, centres, seed):
    """Points (n, 3) around ``centres`` on the first axis, as many around each."""
    points = 0.3 * np.random.default_rng(seed).normal(size=(n, 3))
    points[:, 0] += np.resize(np.asarray(centres, float), n)
    return points


@pytest.mark.parametrize(("m", "n", "neighbours"), [(100, 100, 5), (90, 140, 3)])
def test_the_metrics_are_those_of_the_authors_package(m, n, neighbours):
    prdc = pytest.importorskip("prdc")
    rng = np.random.default_rng(0)
    samples, held_out = 0.4 + 0.8 * rng.normal(size=(m, 4)), rng.normal(size=(n, 4))
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(held_out, samples, neighbours)
    ours = compute_prdc(samples, held_out, neighbours)
    assert {name: estimate.value for name, estimate in ours._asdict().items()} == pytest.approx(expected)
    assert 0.2 < ours.recall.value < ours.precision.value < 1


def test_the_metrics_do_not_depend_on_how_distances_are_cut_into_pieces(monkeypatch):
    samples, held_out = modes(400, [0, 1], 0), modes(300, [0, 1.2], 1)
    whole = compute_prdc(samples, held_out)
    monkeypatch.setattr(manifold, "_CHUNK_BYTES", 8 * 300 * 7)  # seven samples at a time
    assert compute_prdc(samples, held_out) == whole


def test_equal_sets():
    x = modes(100, [0, 5], 0)
    scores = compute_prdc(x, x)
    assert scores.precision == scores.recall == scores.coverage == (1.0, 0.0)
    # An image's ball holds itself and, being closed, its five neighbours.
    assert scores.density.value == pytest.approx(6 / 5)


def test_disjoint_sets():
    scores = compute_prdc(modes(100, [0], 0), modes(100, [50], 1))
    assert {estimate.value for estimate in scores} == {0.0}


def test_a_dropped_mode_costs_recall_and_coverage_alone():
    scores = compute_prdc(modes(200, [0], 0), modes(200, [0, 50], 1))
    assert scores.precision.value > 0.9
    assert scores.density.value > 0.9
    assert scores.recall.value == pytest.approx(0.5, abs=0.05)
    assert scores.coverage.value == pytest.approx(0.5, abs=0.05)


def test_an_invented_mode_costs_precision_and_density_alone():
    scores = compute_prdc(modes(200, [0, 50], 0), modes(200, [0], 1))
    assert scores.precision.value == pytest.approx(0.5, abs=0.05)
    assert scores.density.value == pytest.approx(0.5, abs=0.1)
    assert scores.recall.value > 0.9
    assert scores.coverage.value > 0.75  # 1 - (2/3)⁵ = 0.87 for half as many samples as images


def test_copies_of_a_collapsed_model_are_within_their_own_balls_of_radius_0():
    held_out = modes(60, [0], 1)
    scores = compute_prdc(np.repeat(held_out[:1], 60, axis=0), held_out)
    assert scores.precision.value == 1.0
    assert scores.recall.value == pytest.approx(1 / 60)


def test_standard_errors_are_binomial_and_of_the_mean():
    samples, held_out = modes(80, [0, 1], 0), modes(120, [0, 1.5], 1)
    scores = compute_prdc(samples, held_out)
    for (p, error), n in ((scores.precision, 80), (scores.recall, 120), (scores.coverage, 120)):
        assert 0 < p < 1
        assert error == pytest.approx(np.sqrt(p * (1 - p) / n))
    radii = np.sort(cdist(held_out, held_out), axis=1)[:, 5]
    balls = (cdist(samples, held_out) <= radii).sum(1) / 5
    assert scores.density == pytest.approx((balls.mean(), balls.std() / np.sqrt(80)))


def test_sets_too_small_are_refused():
    with pytest.raises(SettingsError, match="at least 50 images in each set, got 49 and 60"):
        compute_prdc(np.zeros((49, 3)), np.zeros((60, 3)))
