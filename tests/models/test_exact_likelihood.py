"""The audited estimator against a model whose log p(x) has a closed form: probabilistic PCA (Tipping & Bishop 1999).

x = W z + m + σ·ε with z ~ N(0, I) has p(x) = N(m, W Wᵀ + σ²I). With orthogonal columns of W the exact posterior is
diagonal, hence within the VAE's family, and every error of a wrong posterior is known in closed form.
"""

import itertools

import numpy as np
import pytest
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from bench.evaluation.likelihood import log_likelihood
from models.base.distributions import DiagonalGaussian
from models.vae.config import VAEConfig
from models.vae.model import VAE

pytestmark = pytest.mark.backend

LATENTS = 3
DIGITS = load_digits().images.astype(np.uint8)[..., None]  # (1797, 8, 8, 1) in 0..16: integers are real numbers as well
FLAT = DIGITS.reshape(len(DIGITS), -1).astype(np.float64)


class PixelGaussian(DiagonalGaussian):
    """A density over integer images, taken as real vectors."""

    def log_prob(self, x):
        return super().log_prob(ops.cast(x, self.mean.dtype))


class LinearGaussianVAE(VAE):
    """p(x | z) = N(W z + m, σ²I), and the exact posterior off by ``shift`` of its own σ and ``widening`` in log σ."""

    def __init__(self, loadings, mean, variance):
        super().__init__(VAEConfig(latent_size=loadings.shape[1], hidden_sizes=(1,)), (8, 8, 1), 17)
        self.loadings, self.mean, self.variance = loadings, mean, variance
        self.shift = self.widening = 0.0

    def posterior(self, images, training=False):
        precisions = 1 + (self.loadings**2).sum(axis=0) / self.variance
        projection = (self.loadings / self.variance / precisions).astype(np.float32)
        mean = ops.matmul(ops.reshape(self.as_float(images) - self.mean.reshape(8, 8, 1), (-1, 64)), projection)
        log_scale = (-0.5 * np.log(precisions)).astype(np.float32)
        return DiagonalGaussian(mean + self.shift * np.exp(log_scale), ops.zeros_like(mean) + log_scale + self.widening)

    def likelihood(self, z, training=False):
        mean = ops.matmul(z, self.loadings.T.astype(np.float32)) + self.mean.astype(np.float32)
        return PixelGaussian(ops.reshape(mean, (-1, 8, 8, 1)), np.float32(0.5 * np.log(self.variance)))

    def posterior_divergence(self):
        """KL(q(z | x) ‖ p(z | x)), the same for every x; each latent adds ½ (e^2w - 1 - 2w + shift²)."""
        return 0.5 * LATENTS * (np.expm1(2 * self.widening) - 2 * self.widening + self.shift**2)


@pytest.fixture(scope="module")
def pca():
    """The maximum-likelihood solution on the digits: W = U (Λ - σ²I)^½, its columns orthogonal (their eq. 7)."""
    return PCA(LATENTS).fit(FLAT)


@pytest.fixture
def model(pca):
    scales = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    return LinearGaussianVAE(pca.components_.T * scales, pca.mean_, pca.noise_variance_)


def bounds(model, k, images=DIGITS, seed=0):
    return log_likelihood(model, images, k, seed).bound


@pytest.mark.parametrize("k", [1, 3])
def test_with_the_exact_posterior_the_bound_is_the_score_of_scikit_learns_pca(model, pca, k):
    exact = pca.score_samples(FLAT)
    assert exact.std() > 5
    assert_allclose(bounds(model, k, DIGITS[:200]), exact[:200], rtol=3e-6)


def test_with_the_exact_posterior_the_bound_is_the_analytic_log_p_of_any_loadings():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((64, LATENTS)))
    loadings, mean, variance = rotation * [9.0, 5.0, 2.0], rng.uniform(0, 10, 64), 4.0**2
    covariance = loadings @ loadings.T + variance * np.eye(64)
    exact = scipy.stats.multivariate_normal.logpdf(FLAT[:100], mean, covariance)
    assert_allclose(bounds(LinearGaussianVAE(loadings, mean, variance), 2, DIGITS[:100]), exact, rtol=3e-6)


@pytest.mark.parametrize(("shift", "widening"), [(0.7, 0.0), (0.0, 0.4), (0.0, -0.4), (-0.5, 0.3)])
def test_one_sample_falls_short_of_log_p_by_the_divergence_of_the_posterior(model, pca, shift, widening):
    model.shift, model.widening = shift, widening
    shortfall = pca.score_samples(FLAT) - bounds(model, 1)
    error = shortfall.std() / np.sqrt(len(shortfall))
    assert shortfall.mean() > 10 * error
    assert shortfall.mean() == pytest.approx(model.posterior_divergence(), abs=4 * error)


def test_the_bound_rises_with_k_and_never_above_log_p(model, pca):
    model.shift, model.widening = 0.8, 0.3
    exact = pca.score_samples(FLAT[:600])
    shortfalls = {k: exact - bounds(model, k, DIGITS[:600]) for k in (1, 4, 16, 128)}
    means = [shortfall.mean() for shortfall in shortfalls.values()]
    errors = [shortfall.std() / np.sqrt(600) for shortfall in shortfalls.values()]
    assert all(fewer > more + 0.01 for fewer, more in itertools.pairwise(means))
    assert all(mean > -4 * error for mean, error in zip(means, errors, strict=True))
    assert means[-1] < 0.02


@pytest.mark.parametrize("k", [1, 8])
def test_the_exponential_of_the_bound_is_an_unbiased_estimate_of_p(model, pca, k):
    """E[(1/k) Σ w_i] = p(x) for any k and any posterior: it fails for a missing or flipped term at any k."""
    model.shift, model.widening = -0.4, 0.3  # wider than the exact posterior: the weights have a variance
    ratio = np.exp(bounds(model, k, seed=1) - pca.score_samples(FLAT))
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.05
    assert ratio.mean() == pytest.approx(1, abs=4 * error)
