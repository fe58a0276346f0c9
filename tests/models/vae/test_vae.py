import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.base.distributions import DiagonalGaussian
from models.base.units import bits_per_dim
from models.vae.config import VAEConfig
from models.vae.model import VAE

pytestmark = pytest.mark.backend

SMALL = {"network": "dense", "hidden_sizes": (6,), "latent_size": 2, "activation": "tanh"}


@pytest.fixture
def vae(float64, perturb):
    """A VAE with perturbed weights in double precision."""

    def build(image_shape=(2, 2, 1), grey_levels=2, scale=0.3, **settings):
        return perturb(VAE(VAEConfig(**{**SMALL, **settings}), image_shape, grey_levels), scale=scale)

    return build


ALL_BINARY_IMAGES = np.array(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2, 1)


# Probabilistic PCA (Tipping & Bishop 1999): x = W z + m + s·ε, of which log p(x) and p(z | x) are known.

LOADINGS = np.array([[1.0, 0.5], [1.0, -0.5], [-0.5, 1.0], [0.5, 1.0]])  # orthogonal columns: a diagonal posterior
OFFSET = np.array([0.3, -0.2, 0.1, 0.5])
NOISE_SCALE = 0.7
PRECISIONS = 1 + (LOADINGS**2).sum(axis=0) / NOISE_SCALE**2  # of p(z | x)


class LinearGaussianVAE(VAE):
    """Its posterior is the exact one, off by ``error`` in mean and log-scale."""

    error = 0.0

    def posterior(self, images, training=False):
        x = ops.reshape(self.as_float(images), (-1, 4))
        mean = ops.matmul(x - OFFSET, LOADINGS / NOISE_SCALE**2 / PRECISIONS)
        return DiagonalGaussian(mean + self.error, ops.zeros_like(mean) - 0.5 * np.log(PRECISIONS) + self.error)

    def likelihood(self, z, training=False):
        mean = ops.matmul(z, ops.convert_to_tensor(LOADINGS.T)) + OFFSET
        return DiagonalGaussian(ops.reshape(mean, (-1, 2, 2, 1)), np.log(NOISE_SCALE))


@pytest.fixture
def linear_gaussian(float64):
    model = LinearGaussianVAE(VAEConfig(**SMALL), (2, 2, 1), 2)
    x = np.random.default_rng(3).standard_normal((3, 2, 2, 1))
    covariance = LOADINGS @ LOADINGS.T + NOISE_SCALE**2 * np.eye(4)
    log_p = scipy.stats.multivariate_normal.logpdf(x.reshape(3, 4), OFFSET, covariance)
    return model, x, log_p


def test_with_the_exact_posterior_every_log_weight_is_log_p(linear_gaussian, normal, array):
    model, x, log_p = linear_gaussian
    assert_allclose(array(model.log_weights(x, normal(7, 3, 2))), np.tile(log_p, (7, 1)), rtol=1e-10)


def test_importance_weighted_bound_rises_with_k_towards_the_analytic_log_p(linear_gaussian, normal, compiled, array):
    model, x, log_p = linear_gaussian
    model.error = 0.3
    n = 100_000
    log_weights = array(compiled(model.log_weights)(x, normal(n, 3, 2)))
    bounds = []
    for k in (1, 5, 50, 1000):
        groups = scipy.special.logsumexp(log_weights.reshape(n // k, k, 3), axis=1) - np.log(k)
        error = groups.std(axis=0) / np.sqrt(n // k)
        assert (groups.mean(axis=0) < log_p + 4 * error).all()
        bounds.append(groups.mean(axis=0))
    assert (np.diff(bounds, axis=0) > 0).all()
    assert (bounds[0] < log_p - 0.1).all()
    assert_allclose(bounds[-1], log_p, atol=5e-3)


@pytest.mark.slow_on_jax
def test_elbo_lies_below_the_analytic_log_p_by_the_kl_to_the_exact_posterior(linear_gaussian, normal, compiled, array):
    model, x, log_p = linear_gaussian
    n = 100_000
    for error in (0.4, -0.3):
        model.error = error
        gap = 2 * 0.5 * (np.exp(2 * error) - 1 - 2 * error) + 0.5 * error**2 * PRECISIONS.sum()
        log_weights = array(compiled(model.log_weights)(x, normal(n, 3, 2)))
        assert_allclose(log_weights.mean(axis=0), log_p - gap, atol=5 * log_weights.std() / np.sqrt(n))
        for i in range(3):
            many = np.repeat(x[i : i + 1], n, axis=0)
            bound = array(model.objective(many, normal(1, n, 2), None, training=False)["bound"])
            assert_allclose(bound.mean(), log_p[i] - gap, atol=5 * bound.std() / np.sqrt(n))
        assert gap > 0.05


# Discrete images.


def test_probabilities_of_all_images_sum_to_1_and_importance_sampling_finds_each(vae, check_probabilities, array):
    """The integral over two latents by Gauss-Hermite quadrature."""
    model = vae(scale=0.5)
    kernel, bias = model.encoder.trainable_variables[-2:]
    kernel.assign(0.2 * array(kernel))
    bias.assign([0.1, -0.2, 0.3, 0.2])  # wider than the exact posterior: no weight is far above the others
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = ops.convert_to_tensor(np.array(list(itertools.product(nodes, repeat=2))))
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    check_probabilities(model, ALL_BINARY_IMAGES, model.likelihood(z), weights, k=40_000, error=0.02, rtol=1e-10)


def test_elbo_with_closed_form_kl_is_the_mean_log_weight(vae, normal, compiled, array):
    model = vae(scale=0.8)
    n = 20_000
    images = np.repeat(ALL_BINARY_IMAGES[[3, 10]], n, axis=0)
    noise = normal(1, 2 * n, 2)
    result = compiled(lambda x, noise: model.objective(x, noise, None, training=False))(images, noise)
    log_weights = array(compiled(model.log_weights)(images, noise))[0].reshape(2, n)
    bounds = array(result["bound"]).reshape(2, n)
    difference = bounds - log_weights
    assert (np.abs(difference.mean(axis=1)) < 4 * difference.std(axis=1) / np.sqrt(n)).all()
    assert (difference.std(axis=1) > 0.1).all()
    assert_allclose(array(result["objective"]).reshape(2, n), bounds, rtol=1e-12)
    assert (array(result["kl"]) > 0).all()


@pytest.mark.parametrize(("grey_levels", "settings"), [(2, {}), (17, {}), (3, {"observation": "categorical"})])
def test_a_decoder_of_zeros_scores_log2_of_the_grey_levels(vae, array, grey_levels, settings):
    model = vae((4, 2, 3), grey_levels, **settings)
    for weight in [*model.decoder.trainable_variables, *model.encoder.trainable_variables, model.output_bias]:
        weight.assign(np.zeros(weight.shape))
    images = np.random.default_rng(0).integers(0, grey_levels, size=(5, 4, 2, 3))
    bound = model.log_prob_bound(images, importance_samples=3, seed=0)
    assert_allclose(array(bits_per_dim(bound, 24)), np.log2(grey_levels), rtol=1e-12)


@pytest.mark.parametrize("observation", ["categorical", "discretised_logistic", "logistic_mixture"])
def test_log_weights_of_an_image_do_not_depend_on_its_batch(vae, normal, compiled, array, observation):
    model = vae((2, 4, 3), 17, observation=observation)
    images = np.random.default_rng(0).integers(0, 17, size=(4, 2, 4, 3))
    noise = normal(3, 4, 2)
    log_weights = compiled(model.log_weights)
    together = array(log_weights(images, noise))
    assert together.shape == (3, 4)
    assert np.unique(together.round(9)).size == 12
    for i, j in itertools.product(range(3), range(4)):
        alone = array(log_weights(images[j : j + 1], noise[i : i + 1, j : j + 1]))
        assert_allclose(alone, together[i : i + 1, j : j + 1], rtol=1e-10)


def test_log_weight_is_likelihood_times_prior_over_posterior(vae, normal, array):
    model = vae((2, 2, 1), 2)
    noise = normal(1, 16, 2)
    posterior = model.posterior(ALL_BINARY_IMAGES)
    z = array(posterior.mean) + np.exp(array(posterior.log_scale)) * array(noise[0])
    p_on = scipy.special.expit(array(model.likelihood(ops.convert_to_tensor(z)).logits))
    expected = scipy.stats.bernoulli.logpmf(ALL_BINARY_IMAGES, p_on).sum(axis=(1, 2, 3))
    expected += scipy.stats.norm.logpdf(z).sum(axis=1)
    expected -= scipy.stats.norm.logpdf(z, posterior.mean, np.exp(posterior.log_scale)).sum(axis=1)
    assert_allclose(array(model.log_weights(ALL_BINARY_IMAGES, noise))[0], expected, rtol=1e-10)


# The training objective.


def test_beta_weighs_the_kl_in_the_objective_and_not_in_the_bound(vae, normal, array):
    noise = normal(1, 16, 2)
    plain = vae().objective(ALL_BINARY_IMAGES, noise, None, training=True)
    weighted = vae(beta=3.0)
    weighted.set_weights(vae().get_weights())
    weighted = weighted.objective(ALL_BINARY_IMAGES, noise, None, training=True)
    difference = array(weighted["objective"] - weighted["bound"])
    assert_allclose(difference, -2 * array(weighted["kl"]), rtol=1e-10)
    assert plain["bound"].shape == (16,)


def test_kl_weight_rises_linearly_to_beta_over_the_warmup_and_holds_outside_training(vae, normal, array):
    model = vae(beta=2.0, kl_warmup_steps=4)
    noise = normal(1, 16, 2)

    def weight(training):
        result = {name: array(v) for name, v in model.objective(ALL_BINARY_IMAGES, noise, None, training).items()}
        reconstruction = result["bound"] + result["kl"]
        return ((reconstruction - result["objective"]) / result["kl"]).mean()

    weights = [weight(training=True), weight(training=False), *(weight(training=True) for _ in range(4))]
    assert_allclose(weights, [0.5, 0.5, 1.0, 1.5, 2.0, 2.0], atol=1e-10)


def test_free_bits_bound_each_latent_s_mean_kl_from_below(vae, normal, array):
    model = vae(latent_size=3, free_bits=0.5)
    kernel, bias = model.encoder.trainable_variables[-2:]
    kernel.assign(np.zeros(kernel.shape))
    # KLs μ²/2: 0.02 and 2 cross the 0.5 of free bits, 0 is at its least.
    bias.assign([0.2, 2.0, 0.0, 0.0, 0.0, 0.0])
    result = model.objective(ALL_BINARY_IMAGES, normal(1, 16, 3), None, training=True)
    assert_allclose(array(result["kl"]), 2.02, rtol=1e-10)
    assert_allclose(array(result["objective"] - result["bound"]), 2.02 - 3.0, rtol=1e-10)


def test_free_bits_compare_the_batch_mean_and_not_each_image(vae, normal, array):
    model = vae(free_bits=0.3)
    mean = np.zeros((16, 2))
    mean[::2, 0], mean[:, 1] = 1.0, 2.0  # KLs of the first latent 0.5 and 0: 0.25 in the mean; of the second 2
    model.posterior = lambda images, training: DiagonalGaussian(ops.convert_to_tensor(mean), ops.zeros((16, 2)))
    result = model.objective(ALL_BINARY_IMAGES, normal(1, 16, 2), None, training=True)
    penalised = array(result["bound"] + result["kl"] - result["objective"])
    assert_allclose(penalised, 0.3 + 2.0, rtol=1e-10)


def test_iwae_objective_is_the_log_mean_exp_of_the_log_weights_of_the_same_noise(vae, normal, array):
    model = vae(training_samples=5)
    noise = normal(5, 16, 2)
    result = model.objective(ALL_BINARY_IMAGES, noise, None, training=True)
    expected = scipy.special.logsumexp(array(model.log_weights(ALL_BINARY_IMAGES, noise)), axis=0) - np.log(5)
    assert_allclose(array(result["objective"]), expected, rtol=1e-10)
    assert_allclose(array(result["bound"]), expected, rtol=1e-10)


# Samples and the start from the data.


@pytest.mark.slow_on_jax
def test_generate_takes_each_pixel_s_quantile_given_the_latent(vae, normal, array):
    model = vae((2, 2, 1), 17)
    noise = normal(50, 2 + 4)
    likelihood = model.likelihood(0.7 * noise[:, :2])
    u = ops.convert_to_tensor(scipy.stats.norm.cdf(0.7 * array(noise[:, 2:])).reshape(50, 2, 2, 1))
    assert (array(model.generate(noise, 0.7)) == array(likelihood.quantile(u))).all()


def test_reconstruction_is_the_expected_image_at_the_posterior_mean(vae, array):
    model = vae(scale=0.8)
    mean = model.posterior(ALL_BINARY_IMAGES).mean
    p_on = np.exp(array(model.likelihood(mean).log_prob(np.ones_like(ALL_BINARY_IMAGES))))
    assert_allclose(array(model.reconstruct(ALL_BINARY_IMAGES)), p_on, rtol=1e-10)


@pytest.mark.parametrize(("grey_levels", "observation"), [(2, "bernoulli"), (5, "categorical")])
def test_with_a_decoder_of_zeros_the_initialised_model_has_the_data_s_smoothed_marginals(
    vae, array, grey_levels, observation
):
    images = np.random.default_rng(0).binomial(grey_levels - 1, 0.2, size=(30, 2, 2, 1))
    images[:, 0, 0] = 0
    model = vae((2, 2, 1), grey_levels, observation=observation)
    model.initialise(images)
    for weight in model.decoder.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    likelihood = model.likelihood(ops.ones((1, 2)))
    for level in range(grey_levels):
        frequency = ((images == level).sum(axis=0) + 1) / (30 + grey_levels)
        p = np.exp(array(likelihood.log_prob(np.full((1, 2, 2, 1), level))))[0]
        assert_allclose(p, frequency, rtol=1e-10)


def test_dropout_is_random_in_training_and_absent_elsewhere(vae, normal, array):
    model, whole = vae(dropout=0.5), vae()
    for weight, value in zip(model.weights, whole.weights, strict=True):
        weight.assign(value)
    noise = normal(1, 16, 2)
    expected = array(whole.objective(ALL_BINARY_IMAGES, noise, None, training=True)["bound"])
    assert_allclose(array(model.objective(ALL_BINARY_IMAGES, noise, None, training=False)["bound"]), expected)
    drawn = np.stack([array(model.objective(ALL_BINARY_IMAGES, noise, None, True)["bound"]) for _ in range(3)])
    assert drawn.std(axis=0).min() > 1e-4


@pytest.mark.parametrize(("scaling", "expected"), [("unit", "x"), ("symmetric", "2x - 1"), ("centred", "x - mean")])
def test_the_encoder_sees_pixels_as_its_input_scaling_says(vae, array, scaling, expected):
    model = vae(grey_levels=5, input_scaling=scaling)
    images = np.random.default_rng(0).integers(0, 5, size=(32, 2, 2, 1))
    model.initialise(ops.convert_to_tensor(images))
    x = images / 4
    seen = {"x": x, "2x - 1": 2 * x - 1, "x - mean": x - x.mean(axis=0)}[expected]
    mean, log_scale = np.split(array(model.encoder(ops.convert_to_tensor(seen))), 2, axis=-1)
    found = model.posterior(images)
    assert_allclose(array(found.mean), mean, rtol=1e-6, atol=1e-9)
    assert_allclose(array(found.log_scale), log_scale, rtol=1e-6, atol=1e-9)
