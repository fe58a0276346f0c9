"""Priors of the VAE: their densities against closed forms, brute force and quadrature, and what is made of them."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose
from pydantic import ValidationError

from bench.runtime.autodiff import gradient_program
from models.base.distributions import DiagonalGaussian
from models.registry import load_model
from models.vae import priors
from models.vae.config import VAEConfig
from models.vae.model import VAE
from models.vae.priors import CouplingFlow, FlowPrior, PosteriorMixture, StandardNormal, squared_distances
from tests.models.gradients import gradients

pytestmark = [pytest.mark.backend, pytest.mark.slow_on_jax]

SMALL = {"hidden_sizes": (6,), "latent_size": 2, "activation": "tanh", "pseudo_inputs": 3, "prior_width": 8}
KINDS = ("vamp", "flow")
ALL_BINARY_IMAGES = np.array(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2, 1)
GRID = np.linspace(-9, 9, 181)
PLANE = np.array(list(itertools.product(GRID, repeat=2)))
CELL = (GRID[1] - GRID[0]) ** 2


@pytest.fixture
def vae(float64, perturb):
    """A VAE with perturbed weights in double precision; its posterior no narrower than the exact one."""

    def build(prior, **settings):
        keras.utils.set_random_seed(0)
        model = VAE(VAEConfig(**{**SMALL, "prior": prior, **settings}), (2, 2, 1), 2)
        model.initialise(ops.convert_to_tensor(ALL_BINARY_IMAGES))
        perturb(model, scale=0.4)
        if prior == "flow":  # within the grid
            for coupling in model.flow.couplings:
                for weight in coupling.network[-1].trainable_variables:
                    weight.assign(0.1 * np.asarray(weight))
        kernel, bias = model.encoder.trainable_variables[-2:]
        kernel.assign(0.3 * np.asarray(kernel))
        bias.assign(np.repeat([0.3, 0.2], model.configuration.latent_size))
        return model

    return build


def components(seed=0, k=4, latents=3):
    rng = np.random.default_rng(seed)
    mean, log_scale = rng.standard_normal((k, latents)), 0.5 * rng.standard_normal((k, latents))
    return mean, log_scale, PosteriorMixture(DiagonalGaussian(*map(ops.convert_to_tensor, (mean, log_scale))))


# Densities.


def test_a_mixture_s_density_is_the_mean_of_its_components(float64, normal, array):
    mean, log_scale, mixture = components()
    z = normal(5, 7, 3)
    by_component = scipy.stats.norm.logpdf(array(z)[..., None, :], mean, np.exp(log_scale)).sum(axis=-1)
    assert_allclose(array(mixture.log_prob(z)), scipy.special.logsumexp(by_component, axis=-1) - np.log(4), rtol=1e-12)


@pytest.mark.parametrize("at_once", [2**22, 6, 1])
def test_squared_distances_and_their_gradients_whatever_is_held_at_once(float64, array, monkeypatch, at_once):
    monkeypatch.setattr(priors, "DEVIATIONS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((5, 4))
    values = [rng.standard_normal((5, 3)), rng.standard_normal((4, 3)), rng.uniform(0.5, 2, (4, 3))]
    variables = [keras.Variable(value) for value in values]

    def naive(z, mean, scale):
        return ops.sum(ops.square((z[:, None] - mean[None]) * scale[None]), axis=-1)

    def gradient(distances):
        def loss(weights):
            return ops.sum(weights * distances(*map(ops.convert_to_tensor, variables)))

        return gradient_program(loss, variables)(weights)

    found, expected = gradient(squared_distances), gradient(naive)
    for mine, theirs in zip(found, expected, strict=True):
        assert_allclose(mine, theirs, rtol=1e-10)
    tensors = [ops.convert_to_tensor(value) for value in values]
    assert_allclose(array(squared_distances(*tensors)), array(naive(*tensors)))


def test_distances_of_narrow_components_keep_their_digits_in_single_precision(array):
    rng = np.random.default_rng(0)
    mean = rng.uniform(-4, 4, (6, 40)).astype("float32")
    z = (mean + 1e-3 * rng.standard_normal((6, 40))).astype("float32")
    found = array(squared_distances(*map(ops.convert_to_tensor, (z, mean, np.full((6, 40), 1e3, "float32")))))
    exact = (np.square(z.astype("float64")[:, None] - mean[None]) * 1e6).sum(axis=-1)
    assert_allclose(found, exact, rtol=1e-5)


def perturbed_flow(perturb, latents=2, couplings=4, scale=0.4):
    flow = CouplingFlow(couplings, 8)
    flow.build((None, latents))
    return perturb(flow, scale=scale)


@pytest.mark.parametrize("latents", [2, 5])
def test_the_flow_inverts_and_its_log_determinant_is_that_of_the_jacobian(
    float64, normal, array, perturb, jacobian_log_det, latents
):
    flow, z = perturbed_flow(perturb, latents), normal(6, latents)
    noise, log_det = flow.forward(z)
    assert np.abs(array(noise - z)).max() > 0.1
    assert_allclose(array(flow.inverse(noise)), array(z), atol=1e-10)
    assert_allclose(array(log_det), jacobian_log_det(lambda z: flow.forward(z)[0], z), atol=1e-10)


def test_every_latent_is_moved_by_others(float64, normal, array, perturb):
    flow = perturbed_flow(perturb, 5)
    z = array(normal(1, 5))
    moved = np.concatenate([array(flow.forward(z + 0.1 * np.eye(5)[[j]])[0] - flow.forward(z)[0]) for j in range(5)])
    assert ((np.abs(moved) > 1e-4).sum(axis=0) > 1).all()


def test_a_new_flow_is_the_standard_normal(float64, normal, array):
    flow = CouplingFlow(3, 8)
    flow.build((None, 4))
    z = normal(2, 6, 4)
    assert_allclose(array(FlowPrior(flow).log_prob(z)), array(StandardNormal().log_prob(z)), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_densities_integrate_to_1(vae, array, kind):
    prior = vae(kind).prior()
    density = np.exp(array(prior.log_prob(ops.convert_to_tensor(PLANE))))
    assert_allclose(density.sum() * CELL, 1, atol=1e-4)
    assert np.abs(density - scipy.stats.norm.pdf(PLANE).prod(axis=1)).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_density(vae, array, kind):
    model = vae(kind)
    prior, n = model.prior(), 40_000
    noise = np.random.default_rng(0).standard_normal((n, model.latent_noise_size))
    z = array(prior.from_noise(ops.convert_to_tensor(noise)))
    density = np.exp(array(prior.log_prob(ops.convert_to_tensor(PLANE)))) * CELL
    for power in (lambda z: z, np.square, lambda z: z[:, :1] * z[:, 1:]):
        error = power(z).std(axis=0) / np.sqrt(n)
        assert (np.abs(power(z).mean(axis=0) - density @ power(PLANE)) < 4.5 * error).all()


def test_the_temperature_draws_samples_of_a_mixture_to_its_mean_and_leaves_the_components_their_shares(
    float64, normal, array
):
    mean, _, mixture = components()
    noise = normal(50, 4)
    whole, half, none = (array(mixture.from_noise(noise, temperature)) for temperature in (1.0, 0.5, 0.0))
    centre = mean.mean(axis=0)
    assert_allclose(half - centre, 0.5 * (whole - centre), atol=1e-5)
    assert_allclose(none, np.tile(centre, (50, 1)), atol=1e-5)


# The model.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3])
def test_a_log_weight_is_likelihood_times_prior_over_posterior(vae, normal, array, kind, k):
    model = vae(kind)
    noise = normal(k, 16, 2)
    posterior = model.posterior(ALL_BINARY_IMAGES)
    mean, scale = array(posterior.mean), np.exp(array(posterior.log_scale))
    z = mean + scale * array(noise)
    p_on = scipy.special.expit(array(model.likelihood(ops.convert_to_tensor(z.reshape(-1, 2))).logits))
    expected = scipy.stats.bernoulli.logpmf(np.tile(ALL_BINARY_IMAGES, (k, 1, 1, 1)), p_on).sum(axis=(1, 2, 3))
    expected = expected.reshape(k, 16) - scipy.stats.norm.logpdf(z, mean, scale).sum(axis=-1)
    if kind == "vamp":
        seen = ops.clip(model.pseudo_inputs, 0, 1) - model.input_mean
        means, log_scales = np.split(array(model.encoder(seen)), 2, axis=-1)
        parts = scipy.stats.norm.logpdf(z[:, :, None], means, np.exp(log_scales)).sum(axis=-1)
        expected += scipy.special.logsumexp(parts, axis=-1) - np.log(3)
    else:
        eps, log_det = model.flow.forward(ops.convert_to_tensor(z.reshape(-1, 2)))
        expected += (scipy.stats.norm.logpdf(array(eps)).sum(axis=-1) + array(log_det)).reshape(k, 16)
    assert_allclose(array(model.log_weights(ALL_BINARY_IMAGES, noise)), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_images_sum_to_1_and_importance_sampling_finds_each(vae, check_probabilities, array, kind):
    model = vae(kind)
    z = ops.convert_to_tensor(PLANE)
    p_z = np.exp(array(model.prior().log_prob(z))) * CELL
    check_probabilities(model, ALL_BINARY_IMAGES, model.likelihood(z), p_z, k=20_000, error=0.05, rtol=1e-4)


def kl_of_gaussians(mean, log_scale, other_mean, other_log_scale):
    ratio = np.exp(2 * (log_scale - other_log_scale))
    distance = np.square((mean - other_mean) / np.exp(other_log_scale))
    return 0.5 * (ratio + distance - 1 - np.log(ratio)).sum(axis=-1)


def test_the_kl_to_one_component_is_on_average_that_of_two_gaussians(vae, normal, array):
    model, n = vae("vamp", pseudo_inputs=1), 20_000
    images = np.repeat(ALL_BINARY_IMAGES[[3, 10]], n, axis=0)
    result = model.objective(images, normal(1, 2 * n, 2), None, training=False)
    found = array(result["kl"]).reshape(2, n)
    of_image = model.posterior(ALL_BINARY_IMAGES[[3, 10]])
    component = model.prior().posterior
    exact = kl_of_gaussians(*map(array, (of_image.mean, of_image.log_scale, component.mean, component.log_scale)))
    assert (np.abs(found.mean(axis=1) - exact) < 4 * found.std(axis=1) / np.sqrt(n)).all()
    assert_allclose(array(result["bound"]), array(result["objective"]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_elbo_is_the_mean_log_weight_of_the_same_noise(vae, normal, array, kind):
    model, noise = vae(kind), normal(1, 16, 2)
    result = model.objective(ALL_BINARY_IMAGES, noise, None, training=True)
    assert_allclose(array(result["bound"]), array(model.log_weights(ALL_BINARY_IMAGES, noise))[0], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_beta_and_the_warmup_weigh_the_estimated_kl(vae, normal, array, kind):
    model, noise = vae(kind, beta=3.0, kl_warmup_steps=2), normal(1, 16, 2)
    for weight in (1.5, 3.0, 3.0):
        result = {n: array(v) for n, v in model.objective(ALL_BINARY_IMAGES, noise, None, training=True).items()}
        assert_allclose(result["objective"] - result["bound"], (1 - weight) * result["kl"], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_iwae_objective_is_the_log_mean_exp_of_the_log_weights(vae, normal, array, kind):
    model, noise = vae(kind, training_samples=5), normal(5, 16, 2)
    result = model.objective(ALL_BINARY_IMAGES, noise, None, training=True)
    log_weights = array(model.log_weights(ALL_BINARY_IMAGES, noise))
    assert_allclose(array(result["bound"]), scipy.special.logsumexp(log_weights, axis=0) - np.log(5), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 4])
def test_doubly_reparameterised_weighs_the_prior_s_own_weights_as_the_bound_does(vae, normal, array, kind, k):
    """θ, and a prior's weights, have the bound's own gradient, whose sum over decoder and prior is known pathwise."""
    noise = normal(k, 16, 2)
    found = {}
    for estimator in ("pathwise", "doubly_reparameterised"):
        model = vae(kind, gradient_estimator=estimator, training_samples=k)
        own = [model.pseudo_inputs] if kind == "vamp" else model.flow.trainable_variables
        weights = [*model.decoder.trainable_variables, *own]
        found[estimator] = gradients(
            lambda x, noise, model=model: ops.sum(model.objective(x, noise, None, training=True)["objective"]),
            weights,
            ALL_BINARY_IMAGES,
            noise,
        )
    for mine, theirs in zip(found["doubly_reparameterised"], found["pathwise"], strict=True):
        assert_allclose(mine, theirs, rtol=1e-8, atol=1e-12)
        assert np.abs(theirs).max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_estimators_have_the_pathwise_gradient_on_average(vae, array, kind):
    """Of the encoder's last bias, which a VampPrior's density depends on too."""
    blocks, rng = 20, np.random.default_rng(0)
    images = np.repeat(ALL_BINARY_IMAGES[[5]], 500, axis=0)
    noises = rng.standard_normal((blocks, 1, 500, 2))
    found = {}
    for estimator in ("pathwise", "sticking_the_landing", "doubly_reparameterised"):
        model = vae(kind, gradient_estimator=estimator)
        program = gradient_program(
            lambda x, noise, model=model: ops.mean(model.objective(x, noise, None, True)["objective"]),
            [model.encoder.trainable_variables[-1]],
        )
        found[estimator] = np.stack([program(images, noise)[0] for noise in noises])
    for estimator in ("sticking_the_landing", "doubly_reparameterised"):
        difference = found[estimator] - found["pathwise"]
        error = difference.std(axis=0, ddof=1) / np.sqrt(blocks)
        assert (np.abs(difference.mean(axis=0)) < 4.5 * error + 1e-12).all()
        assert (error < 0.2 * np.abs(found["pathwise"].mean(axis=0)).max()).all()


# The pseudo-inputs.


def test_pseudo_inputs_begin_near_the_mean_image_each_with_noise_of_its_own(array):
    model = VAE(VAEConfig(**SMALL | {"prior": "vamp", "pseudo_inputs": 200}), (2, 2, 1), 5)
    images = np.zeros((64, 2, 2, 1), "uint8")
    images[:, 0, 1], images[::2, 1, 0], images[:, 1, 1] = 4, 4, 2
    model.initialise(ops.convert_to_tensor(images))
    pseudo_inputs = array(model.pseudo_inputs)
    expected = np.array([0.05, 0.95, 0.5, 0.5]).reshape(2, 2, 1)
    assert_allclose(pseudo_inputs.mean(axis=0), expected, atol=0.005)
    assert_allclose(pseudo_inputs.std(axis=0), 0.01, rtol=0.3)
    assert 0 < pseudo_inputs.min() < pseudo_inputs.max() < 1


@pytest.mark.parametrize("scaling", ["centred", "unit", "symmetric"])
def test_a_pseudo_input_that_is_an_image_has_the_posterior_of_that_image(array, scaling):
    model = VAE(VAEConfig(**SMALL | {"prior": "vamp", "input_scaling": scaling}), (2, 2, 1), 5)
    images = np.random.default_rng(0).integers(0, 5, (3, 2, 2, 1))
    model.initialise(ops.convert_to_tensor(images))
    # Beyond the range of pixels is its end.
    model.pseudo_inputs.assign(np.where(images == 4, 1.7, np.where(images == 0, -0.2, images / 4)))
    component, posterior = model.prior().posterior, model.posterior(images)
    assert_allclose(array(component.mean), array(posterior.mean), atol=1e-5)
    assert_allclose(array(component.log_scale), array(posterior.log_scale), atol=1e-5)


# What is made of them.


@pytest.mark.parametrize("kind", KINDS)
def test_generate_decodes_a_sample_of_the_prior(vae, normal, array, kind):
    model = vae(kind)
    noise = normal(50, model.prior_noise_size)
    z = model.prior().from_noise(noise[:, :-4], 0.7)
    u = scipy.stats.norm.cdf(0.7 * array(noise[:, -4:])).reshape(50, 2, 2, 1)
    expected = array(model.likelihood(z).quantile(ops.convert_to_tensor(u)))
    assert (array(model.generate(noise, 0.7)) == expected).all()
    assert (array(model.generate(noise, 0.0)) == array(model.generate(noise, 0.0))[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_keeps_its_prior(vae, normal, array, tmp_path, kind):
    model, noise = vae(kind, gated=True), normal(2, 16, 2)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.configuration == model.configuration
    expected = array(model.log_weights(ALL_BINARY_IMAGES, noise))
    assert_allclose(array(loaded.log_weights(ALL_BINARY_IMAGES, noise)), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["standard", *KINDS])
def test_the_diagnosed_kl_is_on_average_that_of_the_bound(vae, normal, array, kind):
    model = vae(kind)
    images = np.repeat(ALL_BINARY_IMAGES, 300, axis=0)

    def run(method, *arrays):
        return array(method(model, *(ops.convert_to_tensor(each.astype("float64")) for each in arrays)))

    found = model.diagnose(images, 1, run)
    kl = array(model.objective(images, normal(1, len(images), 2), None, training=False)["kl"])
    assert found.numbers["kl_nats"].value == pytest.approx(kl.mean(), abs=5 * kl.std() / np.sqrt(len(kl)) + 1e-9)
    by_latent = found.tables["latents"]["kl_nats"]
    assert by_latent.shape == (2,)
    if kind == "standard":
        assert by_latent.sum() == pytest.approx(found.numbers["kl_nats"].value)
    else:
        assert np.isnan(by_latent).all()


def test_a_gated_layer_is_a_map_times_the_sigmoid_of_another(vae, normal, array):
    layer = vae("standard", gated=True).encoder.layers[1]
    x = normal(5, 4)
    kernel, bias = map(array, layer.trainable_variables)
    value, gate = np.split(array(x) @ kernel + bias, 2, axis=-1)
    assert_allclose(array(layer(x)), value * scipy.special.expit(gate), rtol=1e-10)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"prior": "vamprior"}, ["prior", "'standard', 'vamp' or 'flow'", "vamprior"]),
        ({"prior": "vamp", "free_bits": 0.1}, ["prior=vamp", "needs free_bits=0, got 0.1"]),
        ({"prior": "flow", "free_bits": 0.1}, ["prior=flow", "free_bits"]),
        ({"prior": "vamp", "gradient_estimator": "score_function"}, ["prior=standard", "sticking_the_landing"]),
        ({"prior": "flow", "gradient_estimator": "score_function_baseline"}, ["score_function_baseline", "prior=flow"]),
        ({"prior": "flow", "latent_size": 1}, ["latent_size >= 2, got 1"]),
        ({"gated": True, "network": "residual"}, ["gated=true is for network=dense, got network=residual"]),
        ({"prior": "vamp", "pseudo_inputs": 0}, ["pseudo_inputs", "0"]),
    ],
)
def test_what_does_not_fit_a_prior_is_refused(fields, parts):
    with pytest.raises(ValidationError) as error:
        VAEConfig(**fields)
    for part in parts:
        assert part in str(error.value)
