"""Each surrogate's automatic gradient against the estimator written out by hand, for a linear-Gaussian model."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from pydantic import ValidationError

from bench.runtime.autodiff import gradient_program
from models.base.distributions import DiagonalGaussian
from models.vae.config import VAEConfig
from models.vae.model import VAE
from tests.models.gradients import gradients

pytestmark = pytest.mark.backend

LOADINGS = np.array([[1.0, 0.5], [1.0, -0.5], [-0.5, 1.0], [0.5, 1.0]])  # orthogonal columns: a diagonal posterior
NOISE_SCALE = 0.7
PRECISIONS = 1 + (LOADINGS**2).sum(axis=0) / NOISE_SCALE**2  # of p(z | x)
EXACT_LOG_SCALE = -0.5 * np.log(PRECISIONS)
OFF = np.array([0.4, -0.3])
ONE_SAMPLE = ["pathwise", "score_function", "score_function_baseline", "sticking_the_landing", "doubly_reparameterised"]


class LinearGaussianVAE(VAE):
    """x = W z + b + 0.7·ε, and q(z | x) of the exact posterior's mean, moved by ``shift``, with a scale of its own."""

    def __init__(self, config):
        super().__init__(config, (2, 2, 1), 2)
        self.shift = self.add_weight(shape=(2,), initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=(2,), initializer="zeros", name="log_scale")
        self.offset = self.add_weight(shape=(4,), initializer="zeros", name="offset")

    def posterior(self, images, training=False):
        x = ops.reshape(self.as_float(images), (-1, 4))
        mean = ops.matmul(x, LOADINGS / NOISE_SCALE**2 / PRECISIONS) + self.shift
        return DiagonalGaussian(mean, ops.zeros_like(mean) + self.log_scale)

    def likelihood(self, z, training=False):
        mean = ops.matmul(z, ops.convert_to_tensor(LOADINGS.T)) + self.offset
        return DiagonalGaussian(ops.reshape(mean, (-1, 2, 2, 1)), ops.log(NOISE_SCALE * ops.ones_like(mean[0, 0])))


@functools.cache
def compiled_once(estimator, k):
    vae = LinearGaussianVAE(VAEConfig(latent_size=2, gradient_estimator=estimator, training_samples=k))
    program = gradient_program(
        lambda images, noise: ops.sum(vae.objective(images, noise, None, training=True)["objective"]),
        [vae.shift, vae.log_scale, vae.offset],
    )
    return vae, program


@pytest.fixture
def build(float64):
    """A model, and (images, noise) -> gradients of its summed objective: shift (2,), log-scale (2,) and offset (4,)."""

    def model(estimator, k=1, shift=OFF, log_scale=EXACT_LOG_SCALE + 0.2, offset=(0.0,) * 4):
        vae, program = compiled_once(estimator, k)
        for weight, value in ((vae.shift, shift), (vae.log_scale, log_scale), (vae.offset, offset)):
            weight.assign(np.asarray(value))
        return vae, program

    return model


def draws(k, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2, 2, 1)), rng.standard_normal((k, n, 2))


def by_hand(estimator, x, noise, shift=OFF, log_scale=EXACT_LOG_SCALE + 0.2):
    """The estimators' own equations; gradients (n, 2), (n, 2) and (n, 4)."""
    x, k = x.reshape(-1, 4), len(noise)
    mean, scale = x @ LOADINGS / NOISE_SCALE**2 / PRECISIONS + shift, np.exp(log_scale)
    z = mean + scale * noise  # (k, n, 2)
    error = (x - z @ LOADINGS.T) / NOISE_SCALE**2
    log_p = -0.5 * NOISE_SCALE**2 * (error**2).sum(axis=-1) - 4 * (np.log(NOISE_SCALE) + 0.5 * np.log(2 * np.pi))
    log_w = log_p + (0.5 * noise**2 - 0.5 * z**2 + log_scale).sum(axis=-1)
    weights = np.exp(log_w - log_w.max(axis=0))
    weights = (weights / weights.sum(axis=0))[..., None]
    path = error @ LOADINGS  # ∂ log p(x | z) / ∂z
    to_shift, to_scale = np.ones_like(z), scale * noise  # ∂z/∂φ
    offset = (weights * error).sum(axis=0)
    if estimator == "pathwise" and k == 1:
        return path[0] - mean, (path * to_scale)[0] - (scale**2 - 1), offset
    if estimator == "pathwise":
        return (weights * (path - z)).sum(axis=0), (weights * ((path - z) * to_scale + 1)).sum(axis=0), offset
    if estimator.startswith("score_function"):
        reward = log_p[0]
        if estimator.endswith("baseline"):
            reward = reward - np.array([np.delete(log_p[0], i).mean() for i in range(len(reward))])
        reward = reward[:, None]
        return reward * noise[0] / scale - mean, reward * (noise[0] ** 2 - 1) - (scale**2 - 1), offset
    landing = path - z + noise / scale
    power = 2 if estimator == "doubly_reparameterised" else 1
    return (weights**power * landing * to_shift).sum(axis=0), (weights**power * landing * to_scale).sum(axis=0), offset


@pytest.mark.parametrize(
    ("estimator", "k"), [*((name, 1) for name in ONE_SAMPLE), ("pathwise", 5), ("doubly_reparameterised", 5)]
)
def test_the_surrogates_gradient_is_the_estimator_written_out(build, estimator, k):
    x, noise = draws(k, 6)
    for found, expected in zip(build(estimator, k)[1](x, noise), by_hand(estimator, x, noise), strict=True):
        assert_allclose(found, expected.sum(axis=0), rtol=1e-9)
        assert np.abs(found).max() > 0.01


@pytest.mark.parametrize(("estimator", "k"), [(name, 1) for name in ONE_SAMPLE] + [("doubly_reparameterised", 4)])
def test_the_loss_reads_as_the_bound_that_the_same_noise_gives_pathwise(build, array, estimator, k):
    x, noise = draws(k, 6)
    result = build(estimator, k)[0].objective(x, noise, None, training=True)
    pathwise = build("pathwise", k)[0].objective(x, noise, None, training=True)
    for name in ("bound", "objective", "kl"):
        assert_allclose(array(result[name]), array(pathwise[name]), rtol=1e-12)


@pytest.mark.parametrize("estimator", ONE_SAMPLE)
def test_one_sample_estimators_are_unbiased_for_the_analytic_gradient_of_the_elbo(build, estimator):
    x = np.random.default_rng(3).standard_normal((1, 2, 2, 1))
    log_scale = EXACT_LOG_SCALE + 0.2
    mean, variance = x.reshape(4) @ LOADINGS / NOISE_SCALE**2 / PRECISIONS + OFF, np.exp(2 * log_scale)
    exact = (
        (x.reshape(4) - LOADINGS @ mean) @ LOADINGS / NOISE_SCALE**2 - mean,
        1 - variance * PRECISIONS,
    )
    _, gradient = build(estimator)
    blocks, size = 40, 1000
    _, noise = draws(1, blocks * size)
    many = np.repeat(x, size, axis=0)
    found = [gradient(many, noise[:, i * size : (i + 1) * size]) for i in range(blocks)]
    for mine, truth in zip(zip(*found, strict=True), exact, strict=False):
        mine = np.stack(mine) / size
        error = mine.std(axis=0, ddof=1) / np.sqrt(blocks)
        assert (np.abs(mine.mean(axis=0) - truth) < 4 * error + 1e-12).all()
        assert (error < 0.3 * np.abs(truth)).all()


def test_doubly_reparameterised_has_the_iwae_gradients_mean_and_less_variance(build):
    x = np.random.default_rng(3).standard_normal((1, 2, 2, 1))
    _, noise = draws(4, 40_000)
    found = {}
    for estimator in ("pathwise", "doubly_reparameterised"):
        shift, log_scale, _ = by_hand(estimator, x, noise)
        found[estimator] = np.concatenate([shift, log_scale], axis=-1)  # (n, 4)
    difference = found["pathwise"] - found["doubly_reparameterised"]
    assert (np.abs(difference.mean(axis=0)) < 4 * difference.std(axis=0) / 200).all()
    assert (found["doubly_reparameterised"].var(axis=0) < 0.5 * found["pathwise"].var(axis=0)).all()


def test_sticking_the_landing_has_no_variance_at_the_exact_posterior(build):
    x, noise = draws(1, 1)
    exact = {"shift": np.zeros(2), "log_scale": EXACT_LOG_SCALE}
    for estimator, still in (("sticking_the_landing", True), ("doubly_reparameterised", True), ("pathwise", False)):
        shift, log_scale, _ = build(estimator, **exact)[1](x, noise)
        assert (np.abs(np.concatenate([shift, log_scale])).max() < 1e-12) == still
    moved, _, _ = build("sticking_the_landing", log_scale=EXACT_LOG_SCALE)[1](x, noise)
    assert np.abs(moved).max() > 0.1


IMAGES = np.random.default_rng(0).integers(0, 2, size=(7, 2, 2, 1))


@pytest.fixture
def network(float64, perturb):
    """A VAE of networks, its weights perturbed in the same way whatever the estimator."""

    def model(estimator, k=1):
        config = VAEConfig(
            hidden_sizes=(6,), activation="elu", latent_size=2, gradient_estimator=estimator, training_samples=k
        )
        keras.utils.set_random_seed(0)
        return perturb(VAE(config, (2, 2, 1), 2), scale=0.5)

    return model


def network_gradients(vae, noise):
    weights = [*vae.encoder.trainable_variables, *vae.decoder.trainable_variables, vae.output_bias]
    found = gradients(
        lambda images, noise: ops.sum(vae.objective(images, noise, None, training=True)["objective"]),
        weights,
        IMAGES,
        noise,
    )
    split = len(vae.encoder.trainable_variables)
    return found[:split], found[split:]


def test_the_decoders_gradient_is_the_same_under_every_estimator(network):
    for k, estimators in ((1, ONE_SAMPLE[1:]), (3, ["doubly_reparameterised"])):
        noise = draws(k, 7)[1]
        encoder, decoder = network_gradients(network("pathwise", k), noise)
        for estimator in estimators:
            other_encoder, other_decoder = network_gradients(network(estimator, k), noise)
            for mine, theirs in zip(other_decoder, decoder, strict=True):
                assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
                assert np.abs(theirs).max() > 1e-3
            assert not np.allclose(other_encoder[0], encoder[0], rtol=1e-3)


def test_doubly_reparameterised_with_one_sample_sticks_the_landing(network):
    noise = draws(1, 7)[1]
    landing, _ = network_gradients(network("sticking_the_landing"), noise)
    for mine, theirs in zip(network_gradients(network("doubly_reparameterised"), noise)[0], landing, strict=True):
        assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("k", [1, 3])
def test_the_default_is_the_bounds_own_gradient_by_finite_differences(network, array, k):
    assert VAEConfig().gradient_estimator == "pathwise"
    vae, noise = network("pathwise", k), draws(k, 7)[1]
    encoder, _ = network_gradients(vae, noise)
    weight = vae.encoder.trainable_variables[-1]
    start, step, values = array(weight), 1e-6, []
    for sign in (1, -1):
        moved = start.copy()
        moved[1] += sign * step
        weight.assign(moved)
        values.append(array(vae.objective(IMAGES, noise, None, training=True)["bound"]).sum())
    assert_allclose(encoder[-1][1], (values[0] - values[1]) / (2 * step), rtol=1e-6)


def test_an_unused_variable_has_gradient_0(build):
    vae, _ = build("pathwise")
    unused = vae.encoder.trainable_variables[0]
    (found,) = gradients(lambda scale: ops.sum(vae.shift * scale), [unused], np.array(2.0))
    assert found.shape == unused.shape
    assert not found.any()


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"gradient_estimator": "reinforce"}, ["gradient_estimator", "'pathwise'", "reinforce"]),
        ({"gradient_estimator": "score_function", "beta": 2.0}, ["score_function", "needs beta=1", "beta=2.0"]),
        ({"gradient_estimator": "doubly_reparameterised", "free_bits": 0.1}, ["free_bits=0.1"]),
        ({"gradient_estimator": "sticking_the_landing", "kl_warmup_steps": 9}, ["kl_warmup_steps=9"]),
        (
            {"gradient_estimator": "sticking_the_landing", "training_samples": 4},
            ["needs training_samples=1, got 4", "doubly_reparameterised"],
        ),
        ({"gradient_estimator": "doubly_reparameterised", "dropout": 0.1}, ["needs dropout=0", "got dropout=0.1"]),
        (
            {"gradient_estimator": "doubly_reparameterised", "network": "recurrent", "symbol_dropout": 0.2},
            ["symbol_dropout=0,", "got dropout=0.0, symbol_dropout=0.2"],
        ),
    ],
)
def test_an_estimator_that_does_not_fit_the_objective_is_refused(fields, parts):
    with pytest.raises(ValidationError) as error:
        VAEConfig(**fields)
    for part in parts:
        assert part in str(error.value)


def test_a_batch_of_one_image_has_no_baseline(build):
    x, noise = draws(1, 1)
    plain, other = (build(name)[1](x, noise) for name in ("score_function", "score_function_baseline"))
    assert_allclose(plain[0], other[0], rtol=1e-12)
