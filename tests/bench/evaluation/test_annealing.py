"""Bidirectional Monte Carlo against quadrature, and as the judge of right and wrong log-weights."""

import itertools

import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

from bench.core.errors import DivergedError
from bench.evaluation.annealing import (
    BidirectionalCheck,
    annealed_bounds,
    bidirectional_check,
    inverse_temperatures,
    simulate,
)
from bench.evaluation.likelihood import log_likelihood
from models.base.distributions import standard_normal_log_prob, sum_event
from models.vae.config import VAEConfig
from models.vae.model import VAE

pytestmark = pytest.mark.backend


@pytest.fixture
def vae():
    """A VAE of binary images whose exact posteriors are no Gaussians, of the same weights on each backend."""

    def build(latent_size=2, image_shape=(3, 3, 1), scale=0.7, kind=VAE, hidden=(8,), **settings):
        config = VAEConfig(hidden_sizes=hidden, latent_size=latent_size, activation="tanh", **settings)
        model = kind(config, image_shape, 2)
        rng = np.random.default_rng(1)
        for weight in model.trainable_variables:
            weight.assign(scale * rng.standard_normal(weight.shape))
        # A posterior that is off the prior, and rather too wide than too narrow: its weights have a variance.
        kernel, bias = model.encoder.trainable_variables[-2:]
        kernel.assign(0.2 * np.asarray(kernel))
        bias.assign(np.repeat([1.0, 0.0], latent_size))
        return model

    return build


def log_p_by_quadrature(model, images):
    """log ∫ p(x | z) p(z) dz over two latents, on a grid of -6..6, which a smooth integrand makes exact."""
    nodes = np.linspace(-6, 6, 61)
    z = np.array(list(itertools.product(nodes, repeat=2)), dtype=np.float32)
    log_prior = np.asarray(model.prior().log_prob(ops.convert_to_tensor(z)), np.float64)
    distinct, which = np.unique(images, axis=0, return_inverse=True)
    likelihood = model.likelihood(ops.convert_to_tensor(z))
    log_p = [
        logsumexp(np.asarray(likelihood.log_prob(image[None]), np.float64).sum(axis=(1, 2, 3)) + log_prior)
        for image in distinct
    ]
    return (np.array(log_p) - logsumexp(log_prior))[which.ravel()]


def standard_error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def test_a_model_whose_images_are_no_numbers_is_not_judged_by_black_ones(vae):
    model = vae()
    model.output_bias.assign(np.full(model.output_bias.shape, np.nan))
    with pytest.raises(DivergedError, match="20 of 20 images simulated from the model hold values that are not finite"):
        simulate(model, 20, seed=0)


def test_the_bounds_enclose_the_integral_and_close_on_it_as_temperatures_grow(vae):
    model = vae()
    images, latents = simulate(model, 500, seed=0)
    exact = log_p_by_quadrature(model, images)
    widths = []
    for temperatures in (1, 32, 256):
        bounds = annealed_bounds(model, images, latents, temperatures, chains=2, seed=1)
        low, high = bounds.lower - exact, bounds.upper - exact
        assert low.mean() < 3 * standard_error(low)
        assert high.mean() > -3 * standard_error(high)
        widths.append((bounds.upper - bounds.lower).mean())
    assert widths[0] > 1
    assert widths[1] < 0.5 * widths[0]
    assert widths[2] < 0.15


PRIORS = {
    "vamp": {"prior": "vamp", "pseudo_inputs": 3, "scale": 0.5},
    "flow": {"prior": "flow", "prior_couplings": 2, "prior_width": 4, "scale": 0.3},
}


@pytest.mark.parametrize(
    ("temperatures", "settings"), [(2, {"scale": 0.5}), (12, {"scale": 0.5}), *((12, each) for each in PRIORS.values())]
)
def test_the_weights_and_their_reciprocals_are_unbiased(vae, temperatures, settings):
    """E[w] = P(x) forwards, E[1/w] = 1/P(x) backwards: for moves that leave π_β as it is, and for no others."""
    model = vae(**settings)
    images, latents = simulate(model, 4000, seed=0)
    exact = log_p_by_quadrature(model, images)
    bounds = annealed_bounds(model, images, latents, temperatures, chains=1, seed=1)
    for ratio in (np.exp(bounds.lower - exact), np.exp(exact - bounds.upper)):
        assert standard_error(ratio) < 0.1
        assert ratio.mean() == pytest.approx(1, abs=4 * standard_error(ratio))


class DropsLogQ(VAE):
    def log_weights(self, images, noise, labels=None):
        z = self.posterior(images).sample(noise)
        return self._reconstruction(images, z) + sum_event(standard_normal_log_prob(z), batch_axes=2)


class FlipsTheRatio(VAE):
    def log_weights(self, images, noise, labels=None):
        posterior = self.posterior(images)
        z = posterior.sample(noise)
        log_ratio = sum_event(standard_normal_log_prob(z) - posterior.log_prob(z), batch_axes=2)
        return self._reconstruction(images, z) - log_ratio


def test_right_log_weights_rise_between_the_annealed_bounds_and_wrong_ones_leave_them(vae):
    model = vae(3, (4, 4, 1), scale=0.5)
    images, latents = simulate(model, 200, seed=0)
    annealed = annealed_bounds(model, images, latents, temperatures=200, chains=2, seed=1)

    def frame(kind, importance_samples):
        judged = vae(3, (4, 4, 1), scale=0.5, kind=kind)
        bound = log_likelihood(judged, images, importance_samples, seed=2).bound
        return BidirectionalCheck(annealed, bound, importance_samples).frame()

    found = [frame(VAE, k) for k in (1, 8, 500)]
    shortfalls = [right.nats["shortfall"] for right in found]
    assert all(more > fewer + 0.05 for more, fewer in itertools.pairwise(shortfalls))
    assert -4 * found[-1].standard_error["shortfall"] < shortfalls[-1] < found[-1].nats["width"] + 0.3
    assert found[-1].nats["width"] < 0.3
    for wrong in (DropsLogQ, FlipsTheRatio):
        judged = frame(wrong, 500)
        nats, error = judged["nats"], judged["standard_error"]
        too_high = nats["shortfall"] < -5 * error["shortfall"]
        too_low = nats["shortfall"] > nats["width"] + 0.6
        assert too_high or too_low, wrong


def test_the_check_simulates_anneals_and_judges_by_the_audited_bound(vae):
    model = vae()
    check = bidirectional_check(model, 6, temperatures=3, chains=2, importance_samples=4, seed=5)
    images, latents = simulate(model, 6, seed=5)
    annealed = annealed_bounds(model, images, latents, 3, 2, seed=5)
    np.testing.assert_array_equal(check.annealed.lower, annealed.lower)
    np.testing.assert_array_equal(check.annealed.upper, annealed.upper)
    np.testing.assert_array_equal(check.importance_weighted, log_likelihood(model, images, 4, seed=5).bound)
    frame = check.frame()
    assert list(frame.index) == ["lower", "importance_weighted", "upper", "shortfall", "width"]
    difference = annealed.upper - check.importance_weighted
    assert frame.loc["shortfall"].tolist() == pytest.approx([difference.mean(), standard_error(difference)])


def test_simulated_images_come_from_their_latents_and_repeat(vae):
    model = vae()
    images, latents = simulate(model, 3000, seed=4)
    assert images.dtype == np.uint8
    assert (images.shape, latents.shape) == ((3000, 3, 3, 1), (3000, 2))
    again, _ = simulate(model, 3000, seed=4)
    np.testing.assert_array_equal(images, again)
    residual = images - np.asarray(model.likelihood(ops.convert_to_tensor(latents)).mean())
    assert np.abs(residual.mean(axis=0)).max() < 4 * 0.5 / np.sqrt(3000)
    assert images.mean(axis=0).std() > 0.05


def test_bounds_repeat_for_a_seed(vae):
    model = vae()
    data = simulate(model, 5, seed=0)
    first, again, other = (annealed_bounds(model, *data, 4, 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.lower, again.lower)
    np.testing.assert_array_equal(first.upper, again.upper)
    assert np.all(first.lower != other.lower)


def test_inverse_temperatures_rise_from_0_to_1_slowly_at_both_ends():
    betas = inverse_temperatures(50)
    assert (betas[0], betas[-1], len(betas)) == (0, 1, 51)
    steps = np.diff(betas)
    assert steps.min() > 0
    assert steps.argmin() in (0, 49)
    np.testing.assert_allclose(steps, steps[::-1])


def test_what_cannot_be_annealed_is_refused(vae):
    model = vae()
    images, latents = simulate(model, 3, seed=0)
    with pytest.raises(ValueError, match="at least 1, got 0 and 2"):
        annealed_bounds(model, images, latents, 0, 2, seed=0)
    with pytest.raises(ValueError, match=r"must be \(3, 2\), one for each image, got \(2, 2\)"):
        annealed_bounds(model, images, latents[:2], 4, 2, seed=0)


@pytest.mark.slow
def test_more_samples_bring_a_bound_at_ten_latents_closer_to_the_enclosed_value_and_never_past_it(vae):
    model = vae(10, (8, 8, 1), scale=0.3, hidden=(32,))
    few, many = (
        bidirectional_check(model, 200, temperatures=2000, chains=8, importance_samples=k, seed=0).frame()
        for k in (50, 5000)
    )
    assert many.nats["width"] < 0.2
    assert -4 * many.standard_error["shortfall"] < many.nats["shortfall"] < 0.6 * few.nats["shortfall"]
