import numpy as np
import pytest
import scipy.linalg

from bench.core.errors import SettingsError
from bench.evaluation.quality import frechet_distance, frechet_distance_infinity


def reference(x, y):
    """As the definition says, by the matrix square root of the product of the covariances."""
    s, t = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(s @ t).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s + t - 2 * root)


def correlated(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ np.random.default_rng(seed + 100).normal(size=(d, d)) + rng.normal(size=d)


@pytest.mark.parametrize(("m", "n"), [(60, 60), (80, 130)])
def test_the_distance_is_that_of_scipys_matrix_square_root(m, n):
    x, y = correlated(m, 12, 0), correlated(n, 12, 1)
    assert frechet_distance(x, y).value == pytest.approx(reference(x, y), rel=1e-9)


def whitened(n, d, seed):
    """Points with a mean of exactly 0 and a covariance of exactly I."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x -= x.mean(0)
    return x @ np.linalg.inv(scipy.linalg.cholesky(np.cov(x.T)))


def test_gaussians_with_diagonal_covariances_have_a_closed_form():
    scales, shift = np.array([0.0, 0.1, 1.0, 20.0]), np.array([1.0, 0.0, -2.0, 3.0])
    x, y = whitened(50, 4, 0), whitened(70, 4, 1)
    expected = np.sum(shift**2) + np.sum((scales - 1) ** 2)
    assert frechet_distance(x * scales + shift, y).value == pytest.approx(expected, rel=1e-9)


def test_equal_sets_have_distance_0_even_where_features_are_constant_or_repeated():
    x = correlated(200, 20, 3)
    x[:, 3], x[:, 4] = 0.0, x[:, 5]
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-9 * np.var(x))
    assert frechet_distance(x, x + 2).value == pytest.approx(20 * 4, rel=1e-9)


def test_the_distance_does_not_change_with_order_or_rotation():
    x, y = correlated(60, 6, 0), correlated(60, 6, 1)
    rotation = scipy.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    value = frechet_distance(x, y).value
    assert frechet_distance(y, x).value == pytest.approx(value)
    assert frechet_distance(x[::-1] @ rotation, y @ rotation).value == pytest.approx(value)


def gaussians(n, d, seed, shift=0.3, scale=1.3):
    """Two sets whose laws are d (shift² + (scale - 1)²) apart."""
    rng = np.random.default_rng(seed)
    return shift + scale * rng.normal(size=(n, d)), rng.normal(size=(n, d))


@pytest.mark.parametrize("changes", [{"shift": 0.0, "scale": 1.0}, {"shift": 0.5, "scale": 1.5}])
def test_extrapolation_takes_the_bias_of_few_samples_out(changes):
    truth = 16 * (changes["shift"] ** 2 + (changes["scale"] - 1) ** 2)
    finite, infinite = (
        np.array([metric(*gaussians(150, 16, seed, **changes)) for seed in range(12)])
        for metric in (frechet_distance, frechet_distance_infinity)
    )
    error_of_mean = infinite[:, 0].std() / np.sqrt(12)
    assert abs(infinite[:, 0].mean() - truth) < 3 * error_of_mean
    assert finite[:, 0].mean() - truth > 0.8
    assert abs(infinite[:, 0].mean() - truth) < (finite[:, 0].mean() - truth) / 2


def test_the_standard_errors_are_the_spread_over_new_samples():
    for metric in (frechet_distance, frechet_distance_infinity):
        values, errors = np.array([metric(*gaussians(120, 8, seed)) for seed in range(25)]).T
        assert 0.65 < errors.mean() / values.std(ddof=1) < 1.5


def test_the_extrapolation_is_the_same_in_every_call():
    np.random.seed(3)  # noqa: NPY002 - the global state that must not matter
    first = frechet_distance_infinity(*gaussians(60, 4, 0))
    assert frechet_distance_infinity(*gaussians(60, 4, 0)) == first


@pytest.mark.parametrize("metric", [frechet_distance, frechet_distance_infinity])
def test_too_few_images_for_a_covariance_of_full_rank_are_refused(metric):
    message = "at least 129 images in each set, more than twice the 64 features.* got 128 and 500"
    with pytest.raises(SettingsError, match=message):
        metric(np.zeros((128, 64)), np.zeros((500, 64)))
    with pytest.raises(SettingsError, match=r"shapes \(500, 64\) and \(500, 32\)"):
        metric(np.zeros((500, 64)), np.zeros((500, 32)))


def test_the_distance_is_that_of_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = correlated(60, 12, 0), correlated(80, 12, 1)
    moments = [{"mu": points.mean(0), "sigma": np.cov(points.T)} for points in (x, y)]
    expected = fidelity.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-6)
