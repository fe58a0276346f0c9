"""The recurrent VAE: its unit against Keras's, probabilities, and samples that its conditionals say."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from pydantic import ValidationError

from bench.study.config import TrainingConfig
from bench.training.loop import compile_for_training
from bench.training.program import training_program
from models.base.distributions import standard_normal_cdf
from models.vae.config import VAEConfig
from models.vae.model import VAE
from models.vae.recurrent import GatedRecurrence

pytestmark = pytest.mark.backend

LINES = np.array(list(itertools.product(range(3), repeat=3)), np.uint8).reshape(27, 1, 3, 1)
"""All of length 3 over 3 symbols."""


@pytest.fixture
def build(perturb):
    def built(image_shape=(1, 3, 1), symbols=3, scale=0.5, **settings):
        small = {"network": "recurrent", "hidden_channels": 5, "latent_size": 2, "input_scaling": "one_hot"}
        return perturb(VAE(VAEConfig(**{**small, **settings}), image_shape, symbols), scale)

    return built


def test_the_unit_is_keras_s_with_the_same_weights(float64, perturb, normal, compiled, array):
    unit, x, first = perturb(GatedRecurrence(3, 4)), normal(2, 6, 3), normal(2, 4, seed=1)
    theirs = keras.layers.GRU(4, return_sequences=True)
    theirs.build(x.shape)
    both = np.stack([array(unit.bias), np.concatenate([np.zeros(8), array(unit.reset_bias)])])
    theirs.set_weights([array(unit.kernel), array(unit.recurrent), both])
    found = array(compiled(lambda x: unit.states(unit.driven(x), first))(x))
    assert_allclose(found, array(theirs(x, initial_state=first)), atol=1e-6)  # JAX's tanh is of single precision


@pytest.mark.parametrize("scaling", ["one_hot", "centred"])
def test_probabilities_given_z_sum_to_1_and_a_value_depends_on_those_before(float64, build, compiled, array, scaling):
    model, z = build(input_scaling=scaling), np.tile([[0.7, -1.2]], (27, 1))
    log_p = array(compiled(lambda x, z: model.conditionals(x, z).log_prob(x))(LINES, z))[:, 0, :, 0]
    assert np.exp(log_p.sum(axis=1)).sum() == pytest.approx(1, rel=1e-10)
    by_symbol = log_p.reshape(3, 3, 3, 3)
    assert_allclose(by_symbol[..., 0] - by_symbol[:, :1, :1, 0], 0, atol=1e-12)  # the first, whatever follows
    assert_allclose(by_symbol[..., 1] - by_symbol[:, :, :1, 1], 0, atol=1e-12)
    assert by_symbol[:, 0, 0, 1].std() > 0.001
    assert by_symbol[:, 0, 0, 2].std() > 0.001


def test_weights_are_unbiased_estimates_of_the_probabilities_whose_sum_is_1(float64, build, normal, compiled, array):
    model, k = build(scale=0.25), 3000
    axis = np.linspace(-6, 6, 41)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(-0.5 * (grid**2).sum(axis=1)) / (2 * np.pi) * (axis[1] - axis[0]) ** 2
    given = compiled(lambda x, z: ops.sum(model.conditionals(x, z).log_prob(x), axis=(1, 2, 3)))
    p = np.array([np.exp(array(given(np.repeat(x[None], len(grid), 0), grid))) @ density for x in LINES])
    assert p.sum() == pytest.approx(1, rel=1e-6)
    w = np.exp(array(compiled(model.log_weights)(LINES, normal(k, 27, 2))))
    errors = w.std(axis=0) / np.sqrt(k)
    assert (errors < 0.2 * p).all()
    assert (np.abs(w.mean(axis=0) - p) < 4.5 * errors).all()
    several = array(compiled(model.log_weights)(LINES, normal(2, 27, 2)))
    alone = array(compiled(model.log_weights)(LINES, normal(2, 27, 2)[1:]))
    assert_allclose(several[1:], alone, rtol=1e-10)


@pytest.mark.parametrize(("scaling", "shape"), [("one_hot", (1, 6, 2)), ("centred", (2, 3, 1))])
def test_each_value_is_the_quantile_of_its_conditional_given_the_sample_so_far(build, compiled, array, scaling, shape):
    model = build(shape, 5, input_scaling=scaling, observation="categorical")
    model.initialise(np.random.default_rng(1).integers(0, 5, (30, *shape)))
    noise = np.random.default_rng(0).standard_normal((7, model.prior_noise_size)).astype("float32")
    samples = array(compiled(model.generate)(noise))
    assert samples.shape == (7, *shape)
    u = standard_normal_cdf(model.as_float(noise[:, 2:].reshape(7, *shape)))
    expected = array(compiled(lambda x, z: model.conditionals(x, z).quantile(u))(samples, noise[:, :2]))
    assert (expected == samples).mean() > 0.99


def test_a_reconstruction_writes_the_likeliest_symbols(build, compiled, array):
    model, images = build((1, 6, 1), 5), np.random.default_rng(0).integers(0, 5, (7, 1, 6, 1))
    written = array(compiled(model.reconstruct)(images))
    z = model.posterior(images).mean
    likeliest = array(model.conditionals(written.astype("int32"), z).logits).argmax(axis=-1)
    assert (written == likeliest).all()
    ends = array(model.interpolate(images, images[::-1], np.array([0.0, 1.0])))
    assert (ends[:, 0] == written).all()
    assert (ends[:, 1] == written[::-1]).all()


def test_hidden_symbols_leave_z_alone_to_decide(build, normal, array):
    model = build(symbol_dropout=1.0)
    z = normal(27, 2)
    trained = array(model.conditionals(LINES, z, training=True).logits)
    assert_allclose(trained, array(model.conditionals(np.zeros_like(LINES), z, training=True).logits))
    assert np.abs(trained - array(model.conditionals(LINES, z).logits)).max() > 0.01
    assert not model.objective_is_by_image
    assert build().objective_is_by_image
    with pytest.raises(ValidationError, match="it needs network=recurrent, got network=dense"):
        VAEConfig(symbol_dropout=0.1)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(("symbol_dropout", "collapsed"), [(0.0, True), (1.0, False)])
def test_a_collapse_is_diagnosed_and_hidden_symbols_prevent_it(array, symbol_dropout, collapsed):
    """The first value decides all others: one who sees what comes before asks z for that one alone, at most."""
    images = np.repeat(np.random.default_rng(0).integers(0, 3, (256, 1, 1, 1)), 4, axis=2)
    config = VAEConfig(
        network="recurrent",
        hidden_channels=8,
        latent_size=2,
        input_scaling="one_hot",
        symbol_dropout=symbol_dropout,
        beta=1.5,  # of the information in z, which is worth its cost where it decides more than one value
    )
    model = VAE(config, (1, 4, 1), 3)
    compile_for_training(model, TrainingConfig(learning_rate=1e-2, batch_size=64))
    program = training_program(model)
    program.initialise(images)
    program.train(images, None, np.random.default_rng(0).integers(0, 256, (250, 64)), 0, 250)
    found = model.diagnose(images, 0, lambda method, *arrays: array(method(model, *arrays))).numbers
    assert (found["collapsed_share"].value == 1) == collapsed
    assert (found["kl_nats"].value < 0.05) == collapsed
