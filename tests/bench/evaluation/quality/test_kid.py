import numpy as np
import pytest

from bench.core.errors import SettingsError
from bench.evaluation.quality import kernel_distance


def two_modes(n, share, seed):
    """Features (n, 16) in 0..1 around one of two patterns, around the second with probability ``share``."""
    rng = np.random.default_rng(seed)
    patterns = np.array([[12] * 8 + [3] * 8, [3] * 8 + [12] * 8])
    chosen = patterns[(rng.random(n) < share).astype(int)]
    return (chosen + rng.integers(-2, 3, chosen.shape)) / 15


def test_the_distance_is_that_of_a_double_loop_over_distinct_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 4)), rng.random((60, 4)) + 0.3

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    def within(points):
        values = [kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return np.mean(values)

    between = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y)[0] == pytest.approx(within(x) + within(y) - 2 * between, rel=1e-9)


def test_the_standard_error_is_the_delete_a_group_jackknife():
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 3)), rng.random((57, 3)) + 0.2
    left_out = []
    for group in range(10):
        keep = [[i for i in range(len(points)) if i % 10 != group] for points in (x, y)]
        xx, yy, xy = (np.power(a @ b.T / 3 + 1, 3) for a, b in ((x, x), (y, y), (x, y)))
        m, n = map(len, keep)
        xx, yy, xy = (k[np.ix_(*rows)] for k, rows in ((xx, [keep[0]] * 2), (yy, [keep[1]] * 2), (xy, keep)))
        mean_xx, mean_yy = ((k.sum() - np.trace(k)) / (s * (s - 1)) for k, s in ((xx, m), (yy, n)))
        left_out.append(mean_xx + mean_yy - 2 * xy.mean())
    expected = np.sqrt(0.9 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert kernel_distance(x, y)[1] == pytest.approx(expected, rel=1e-9)


def test_sets_equal_in_law_are_no_distance_apart_within_the_error():
    z = []
    for seed in range(20):
        value, error = kernel_distance(*(two_modes(200, 0.5, 2 * seed + i) for i in (0, 1)))
        z.append(value / error)
    assert abs(np.mean(z)) < 1.0
    assert np.mean(np.abs(z) < 3) > 0.8


def test_a_dropped_mode_is_detected_and_other_images_are_further_still():
    real, same, dropped = (two_modes(200, share, seed) for seed, share in enumerate((0.5, 0.5, 0)))
    disjoint = 1 - two_modes(200, 0.5, 5) / 8
    floor, drop, far = (kernel_distance(other, real) for other in (same, dropped, disjoint))
    assert drop[0] - 3 * drop[1] > floor[0] + 3 * floor[1]
    assert far[0] > 3 * drop[0]


@pytest.mark.parametrize("sizes", [(49, 50), (50, 49), (1, 1000)])
def test_sets_too_small_for_an_estimate_are_refused(sizes):
    x, y = (np.zeros((n, 3)) for n in sizes)
    with pytest.raises(SettingsError, match=f"at least 50 images in each set, got {sizes[0]} and {sizes[1]}"):
        kernel_distance(x, y)
