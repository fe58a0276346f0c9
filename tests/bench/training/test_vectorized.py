"""Trainings in a pack come out as each does alone."""

import random

import keras
import numpy as np
import pytest

from bench.core.errors import SettingsError
from bench.core.seeds import derive_seed
from bench.study.config import TrainingConfig
from bench.training.loop import ImageStream, compile_for_training
from bench.training.program import training_program
from bench.training.vectorized import VectorizedTraining
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

BATCH, STEPS = 32, 6
VAE = VAEConfig(hidden_sizes=(16,), latent_size=4, kl_warmup_steps=4)
GLOW = GlowConfig(levels=1, flow_depth=2, hidden_channels=8)
on_jax = pytest.mark.skipif("keras.backend.backend() != 'jax'", reason="packed trainings are one program of JAX")


def settings(rate, **changes):
    return TrainingConfig(learning_rate=rate, batch_size=BATCH, images=BATCH * STEPS, evaluations=1, **changes)


def model_for(config, rate, **changes):
    model = build_model(config, (8, 8, 1), 17)
    compile_for_training(model, settings(rate, **changes))
    return model


def order_of(images, seed):
    return ImageStream(len(images), BATCH, STEPS, seed).interval(0)


def first_images(images, seed):
    """Those that a training initialises its weights on."""
    return ImageStream(len(images), BATCH, STEPS, seed).permutation(0)[:64]


def trained_alone(config, images, rate, seed, **changes):
    """Losses and weights of one training by the program of the harness."""
    random.seed(derive_seed(seed, "weights and noise"))
    model = model_for(config, rate, **changes)
    program = training_program(model)
    program.initialise(images[first_images(images, seed)])
    logs = program.train(images, None, order_of(images, seed), 0, STEPS)
    return logs, [np.asarray(weight) for weight in model.weights]


def trained_together(config, images, rates, seeds, **changes):
    """A pack after its steps, taken in two chunks, and their losses."""
    pack = VectorizedTraining(model_for(config, 1.0, **changes), rates, seeds)
    pack.initialise(images, np.stack([first_images(images, seed) for seed in seeds]))
    orders = np.stack([order_of(images, seed) for seed in seeds])
    logs = [pack.train(images, orders, *chunk) for chunk in ((0, 2), (2, STEPS))]
    return pack, {name: np.concatenate([each[name] for each in logs], axis=1) for name in logs[0]}


@on_jax
@pytest.mark.parametrize(
    ("config", "rates", "changes"),
    [
        (VAE, (1e-3, 3e-3, 1e-2), {"decay": "cosine", "warmup_steps": 2}),
        pytest.param(GLOW, (1e-3, 4e-3), {"weight_average": 0.9}, marks=pytest.mark.slow),
    ],
    ids=["three VAEs", "two Glows"],
)
def test_each_training_of_a_pack_ends_as_it_does_alone(images_of_training, config, rates, changes):
    seeds = range(5, 5 + len(rates))
    pack, together = trained_together(config, images_of_training, rates, seeds, **changes)
    assert together["loss"].shape == (len(rates), STEPS)
    for i, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        logs, weights = trained_alone(config, images_of_training, rate, seed, **changes)
        assert set(logs) == set(together)
        for name, values in logs.items():
            np.testing.assert_allclose(together[name][i], values, rtol=1e-4, err_msg=name)
        pack.load_into_model(i)
        assert float(pack.model.optimizer.base_rate) == pytest.approx(rate)
        for packed, alone in zip(pack.model.weights, weights, strict=True):
            np.testing.assert_allclose(np.asarray(packed), alone, rtol=1e-4, atol=2e-5, err_msg=packed.path)


@on_jax
def test_a_training_that_diverges_leaves_the_others_as_they_would_be_without_it(images_of_training):
    both, alone = (1e30, 2e-3), (2e-3, 2e-3)
    for config in (VAE, GLOW):
        _, logs = trained_together(config, images_of_training, both, (5, 6), clip_norm=0.0)
        _, expected = trained_together(config, images_of_training, alone, (5, 6), clip_norm=0.0)
        assert not np.isfinite(logs["loss"][0, -1])
        np.testing.assert_array_equal(logs["loss"][1], expected["loss"][1])


@on_jax
@pytest.mark.parametrize(("rates", "seeds"), [((), ()), ((1e-3,), (0, 1))])
def test_a_training_without_rate_or_seed_is_refused(rates, seeds):
    with pytest.raises(SettingsError, match="a rate and a seed"):
        VectorizedTraining(model_for(VAE, 1e-3), rates, seeds)


@on_jax
def test_indices_for_another_number_of_trainings_are_refused(images_of_training):
    pack = VectorizedTraining(model_for(VAE, 1e-3), (1e-3, 1e-3), (0, 1))
    with pytest.raises(SettingsError, match="3 trainings were given, there are 2"):
        pack.train(images_of_training, np.zeros((3, STEPS, BATCH), int), 0, 1)


@on_jax
def test_a_model_that_was_trained_is_refused(images_of_training):
    model = model_for(VAE, 1e-3)
    training_program(model).train(images_of_training, None, order_of(images_of_training, 0), 0, 1)
    with pytest.raises(SettingsError, match="trained already"):
        VectorizedTraining(model, (1e-3,), (0,))


@pytest.mark.skipif("keras.backend.backend() == 'jax'", reason="JAX is the backend that packs")
def test_another_backend_than_jax_is_refused_by_name():
    with pytest.raises(SettingsError, match=keras.backend.backend()):
        VectorizedTraining(model_for(VAE, 1e-3), (1e-3,), (0,))


@pytest.fixture
def images_of_training(tuning):
    return tuning.train.images
