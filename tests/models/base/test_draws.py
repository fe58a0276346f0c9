"""Random numbers that XLA compiles sooner are those of Keras, bit for bit."""

import keras
import numpy as np
import pytest

from models import GlowConfig, VAEConfig, build_model
from models.base import draws
from models.base.draws import FLAT, flat_draws, standard_normal

SHAPES = [(3, 3, 2, 71), (1, 1, 16, 16), (3, 3, 1, 17), (64, 17), (5, 1)]
NAMES = {"he_normal": "HeNormal", "lecun_normal": "LecunNormal", "glorot_uniform": "GlorotUniform"}


@pytest.mark.backend
@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_initialiser_draws_what_that_of_keras_of_the_same_name_does(name, shape):
    expected = getattr(keras.initializers, NAMES[name])(seed=123_456_789)(shape, "float32")
    found = FLAT[name](seed=123_456_789)(shape, "float32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, keras.ops.convert_to_numpy(expected))


@pytest.mark.backend
@pytest.mark.parametrize("shape", [(2, 1, 5, 3, 3, 1), (1, 64, 4, 4, 1), (3, 5)])
def test_normal_numbers_are_those_of_keras_draw_after_draw(shape):
    ours, theirs = keras.random.SeedGenerator(3), keras.random.SeedGenerator(3)
    for _ in range(2):
        expected = keras.ops.convert_to_numpy(keras.random.normal(shape, dtype="float32", seed=theirs))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(standard_normal(shape, "float32", ours)), expected)


@pytest.mark.backend
@pytest.mark.parametrize(
    "config", [VAEConfig(hidden_sizes=(5,), latent_size=2), GlowConfig(levels=1, flow_depth=1, hidden_channels=3)]
)
def test_a_model_has_the_weights_that_keras_would_have_drawn(config, monkeypatch):
    def weights():
        keras.utils.set_random_seed(7)
        return [keras.ops.convert_to_numpy(each) for each in build_model(config, (4, 4, 1), 4).weights]

    found = weights()
    monkeypatch.setattr(draws, "FLAT", {})
    for one, other in zip(found, weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.backend
def test_layers_that_are_built_elsewhere_draw_by_keras():
    with flat_draws():
        inside = keras.layers.Dense(2)
    outside = keras.layers.Dense(2)
    assert isinstance(inside.kernel_initializer, FLAT["glorot_uniform"])
    assert type(outside.kernel_initializer) is keras.initializers.GlorotUniform
