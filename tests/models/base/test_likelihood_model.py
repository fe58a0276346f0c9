"""What holds for every family: the interface of a likelihood model, its training, and its files."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import models.base.likelihood_model
from models import BROKEN
from models.autoregressive.config import AutoregressiveConfig
from models.flows.model import FlowModel
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

SHAPE = (4, 4, 1)
GLOW = {"levels": 2, "flow_depth": 1, "hidden_channels": 4}
MODELS = {
    "bernoulli vae": (VAEConfig(hidden_sizes=(8,), latent_size=2), 2),
    "logistic vae": (VAEConfig(hidden_sizes=(8,), latent_size=2, observation="discretised_logistic"), 16),
    "mixture iwae": (VAEConfig(hidden_sizes=(8,), latent_size=2, training_samples=3), 64),
    "residual categorical vae": (VAEConfig(network="residual", hidden_channels=2, downsamplings=1, latent_size=2), 5),
    "autoregressive": (AutoregressiveConfig(hidden_channels=6, blocks=1, first_kernel=5), 5),
    "autoregressive mixture": (AutoregressiveConfig(hidden_channels=6, blocks=1, dropout=0.0), 64),
    "ladder vae": (LadderVAEConfig(hidden_channels=4, latent_channels=2, latent_layers=2), 5),
    "glow": (GlowConfig(**GLOW), 256),
    "glow, classes": (GlowConfig(**GLOW, classes=3), 16),
    "jet": (JetConfig(patch_size=2, couplings=3, width=8, heads=2), 16),
    "glow, variational": (GlowConfig(**GLOW, dequantisation="variational", permutation="plain"), 5),
}


ON_JAX = ("bernoulli vae", "autoregressive", "glow")
"""Of each kind of likelihood one: JAX compiles for long, and the interface is the same on every backend."""


@pytest.fixture(params=[pytest.param(name, marks=() if name in ON_JAX else pytest.mark.slow_on_jax) for name in MODELS])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def built():
    """The models by name, each with the values of its variables: to build one takes longer than most tests."""
    return {}


@pytest.fixture
def model(name, perturb, built):
    """In single precision, as models train; as it was built, whatever an earlier test did to its variables."""
    if name not in built:
        config, grey_levels = MODELS[name]
        fresh = perturb(build_model(config, SHAPE, grey_levels), scale=0.1)
        built[name] = fresh, [np.array(variable) for variable in fresh.variables]
    model, values = built[name]
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    return model


@pytest.fixture
def sampled(model, compiled, monkeypatch):
    """The model; a program draws its samples where a loop over pixels would run one operation after the other."""
    if model.configuration.family == "autoregressive":
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            compiled = tf.function
        monkeypatch.setattr(model, "generate", compiled(model.generate))
    return model


def images_of(model, n=6):
    return np.random.default_rng(0).integers(0, model.grey_levels, size=(n, *SHAPE)).astype("uint8")


def labels_of(model, n=6):
    return np.arange(n) % 3 if model.classes else None


@pytest.mark.slow_on_jax
def test_samples_are_images_of_the_data_s_kind(sampled, array, monkeypatch):
    model = sampled
    samples = array(model.sample(32, seed=3))
    assert samples.shape == (32, *SHAPE)
    assert samples.dtype == np.int32
    assert samples.min() >= 0
    assert samples.max() < model.grey_levels
    assert (samples != samples[0]).any()
    assert (array(model.sample(32, seed=3)) == samples).all()
    monkeypatch.setattr(models.base.likelihood_model, "VALUES_AT_ONCE", 16 * model.dimensions)
    assert (array(model.sample(32, seed=3)) == samples).mean() > 0.99  # in pieces: the same but for rounding
    assert (array(model.sample(32, seed=4)) != samples).any()


def test_weights_that_are_no_numbers_give_samples_that_are_no_images(model, normal, compiled, array):
    for weight in model.trainable_variables:
        if "mixing" not in weight.path:  # TensorFlow refuses to invert a matrix of NaN
            weight.assign(np.full(weight.shape, np.nan))
    images = array(compiled(model.generate)(normal(6, model.prior_noise_size)))
    assert images.dtype == np.int32
    assert (images == BROKEN).any(axis=(1, 2, 3)).all()
    assert images.min() == BROKEN
    assert images.max() < model.grey_levels


@pytest.mark.parametrize("sigmas", [4.0, 8.0])
def test_samples_of_far_noise_are_grey_levels_or_say_that_they_are_none(model, normal, compiled, array, sigmas):
    signs = np.where(array(normal(32, model.prior_noise_size)) < 0, -1.0, 1.0).astype("float32")
    images = array(compiled(model.generate)(sigmas * signs))
    assert images.min() >= BROKEN
    assert images.max() < model.grey_levels
    assert (images >= 0).all() == np.isfinite(_continuous(model, sigmas * signs, array)).all()


def _continuous(model, noise, array):
    """What a flow rounds; the others draw grey levels, whose distributions are finite for finite weights."""
    return array(model.continuous(noise)) if isinstance(model, FlowModel) else noise


def test_samples_without_a_seed_differ_from_call_to_call_and_repeat_with_keras_s_seed(sampled, array):
    keras.utils.set_random_seed(11)
    first, second = (array(sampled.sample(24)) for _ in range(2))
    assert (first != second).any()
    keras.utils.set_random_seed(11)
    assert (array(sampled.sample(24)) == first).all()


def test_at_temperature_0_all_noise_gives_one_image_per_class(model, normal, compiled, array):
    labels = labels_of(model)
    images = array(compiled(model.generate)(normal(6, model.prior_noise_size), 0.0, labels))
    if labels is None:
        assert (images == images[0]).all()
    else:
        assert (images[:3] == images[3:]).all()
        assert (images[0] != images[1]).any()


@pytest.mark.slow_on_jax
def test_bound_repeats_for_a_seed_and_is_in_single_precision(model, array):
    images = images_of(model)
    bound = array(model.log_prob_bound(images, importance_samples=2, seed=5))
    assert bound.shape == (6,)
    assert bound.dtype == np.float32
    assert (bound < 0).all()
    assert (array(model.log_prob_bound(images, importance_samples=2, seed=5)) == bound).all()
    assert (array(model.log_prob_bound(images, importance_samples=2, seed=6)) != bound).any() != model.is_exact


def test_a_saved_model_loads_in_safe_mode_with_the_same_log_weights_and_samples(
    model, normal, compiled, array, tmp_path
):
    file = tmp_path / "model.keras"
    model.save(file)
    loaded = keras.saving.load_model(file, safe_mode=True)
    assert loaded.configuration == model.configuration
    inputs = images_of(model), normal(2, 6, *model.posterior_noise_shape), labels_of(model)
    expected = array(compiled(model.log_weights)(*inputs))
    assert_allclose(array(compiled(loaded.log_weights)(*inputs)), expected, rtol=1e-6)
    noise = normal(6, model.prior_noise_size)
    assert (array(compiled(loaded.generate)(noise)) == array(compiled(model.generate)(noise))).all()


LOAD = """
import sys, keras, numpy as np
from models import load_model
from pathlib import Path
for folder in map(Path, sys.argv[1:]):
    model = load_model(folder / "model.keras")
    inputs = np.load(folder / "inputs.npz")
    log_weights = model.log_weights(inputs["images"], inputs["noise"])
    np.save(folder / "log_weights.npy", keras.ops.convert_to_numpy(log_weights))
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_models_saved_on_one_backend_load_on_the_other(normal, perturb, array, tmp_path):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"needs {other}")
    expected = {}
    for family in ("mixture iwae", "glow, variational", "autoregressive", "ladder vae"):
        model = perturb(build_model(MODELS[family][0], SHAPE, MODELS[family][1]), scale=0.1)
        images, noise = images_of(model), array(normal(1, 6, *model.posterior_noise_shape))
        folder = tmp_path / family
        folder.mkdir()
        model.save(folder / "model.keras")
        np.savez(folder / "inputs.npz", images=images, noise=noise)
        expected[folder] = array(model.log_weights(images, noise))
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", LOAD, *map(str, expected)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split()[-1] == other
    for folder, log_weights in expected.items():
        assert_allclose(np.load(folder / "log_weights.npy"), log_weights, rtol=1e-4)


def structured_images(model, n=128):
    """Bright above and dark below, or the other way round, with noise of one part in eight."""
    rng = np.random.default_rng(0)
    above = (np.arange(4)[:, None, None] < 2) ^ (rng.uniform(size=(n, 1, 1, 1)) < 0.3)
    bright = above ^ (rng.uniform(size=(n, *SHAPE)) < 0.125)
    return (bright * (model.grey_levels - 1)).astype("uint8")


def train(model, jit_compile, labels=None, epochs=10, eagerly=False):
    images = structured_images(model)
    model.initialise(images)
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=jit_compile, run_eagerly=eagerly)
    # A step that creates the optimizer's variables is traced again without them.
    model.optimizer.build(model.trainable_variables)
    inputs = images if labels is None else (images, labels)
    history = model.fit(inputs, batch_size=32, epochs=epochs, shuffle=False, verbose=0).history
    return history, model.evaluate(inputs, batch_size=32, verbose=0, return_dict=True)


@pytest.mark.slow_on_jax
def test_training_lowers_the_loss_and_reports_its_metrics(model):
    jit_compile = keras.backend.backend() == "jax"
    history, evaluation = train(model, jit_compile, labels_of(model, 128))
    expected = {"loss", "bits_per_dim"} | (
        {"kl_nats"} if model.configuration.family in ("vae", "ladder_vae") else set()
    )
    assert set(history) == set(evaluation) == expected
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][-1] < history["loss"][0] - 0.01
    # Both are the bound here, in bits/dim.
    assert_allclose(history["loss"], history["bits_per_dim"], rtol=1e-4)


@pytest.mark.slow
def test_training_lowers_the_loss_with_the_other_setting_of_jit(model):
    if isinstance(model, FlowModel) and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's XLA cannot differentiate a loop over a flow's steps")
    history, _ = train(model, keras.backend.backend() == "tensorflow", labels_of(model, 128))
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][-1] < history["loss"][0] - 0.01


@pytest.mark.slow_on_jax
def test_labels_given_to_fit_train_the_class_s_prior(perturb, array):
    config, grey_levels = MODELS["glow, classes"]
    model = build_model(config, SHAPE, grey_levels)
    before = array(model.top_prior.class_moments)
    # An epoch of four batches takes less time than tracing a program.
    is_jax = keras.backend.backend() == "jax"
    train(model, is_jax, np.zeros(128, "int32"), epochs=1, eagerly=not is_jax)
    moved = np.abs(array(model.top_prior.class_moments) - before).max(axis=1)
    assert moved[0] > 1e-4
    assert moved[1] == moved[2] == 0


def test_loss_follows_the_weighted_objective_and_bits_per_dim_the_bound():
    model = build_model(VAEConfig(hidden_sizes=(8,), latent_size=2, beta=4.0), SHAPE, 2)
    _, evaluation = train(model, keras.backend.backend() == "jax", epochs=1)
    kl_bits = evaluation["kl_nats"] / (16 * np.log(2))
    assert_allclose(evaluation["loss"] - evaluation["bits_per_dim"], 3 * kl_bits, rtol=1e-3, atol=1e-6)
    assert kl_bits > 1e-4


def test_validation_does_not_advance_the_kl_warmup(array):
    model = build_model(VAEConfig(hidden_sizes=(8,), latent_size=2, kl_warmup_steps=100), SHAPE, 2)
    train(model, keras.backend.backend() == "jax", epochs=2)
    assert array(model.training_step) == 2 * 128 / 32


def test_a_single_grey_level_is_refused_and_a_dictionary_configures():
    config, _ = MODELS["glow"]
    with pytest.raises(ValueError, match="grey_levels must be at least 2, got 1"):
        build_model(config, SHAPE, 1)
    with pytest.raises(ValueError, match="take levels <= 1"):
        build_model(config, (2, 2, 1), 2)
    assert type(build_model(config, SHAPE, 2))(config.model_dump(), SHAPE, 2).configuration == config
