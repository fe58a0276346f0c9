"""Compiled methods of a model against the methods themselves."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bench.runtime.compiled import CompiledMethod
from models.base.likelihood_model import LikelihoodModel
from models.base.processor import runs_by_xla_on_a_processor
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

# JAX computes them all in one way.
USES = ["often"] if os.environ["KERAS_BACKEND"] == "jax" else ["seldom", "sometimes", "often"]
MODELS = [GlowConfig(levels=1, flow_depth=2, hidden_channels=4), VAEConfig(latent_size=3, hidden_sizes=(5,))]
# Its coarsest images have fewer pixels than its kernels, which XLA is given as products.
CONVOLUTIONAL = VAEConfig(network="convolutional", hidden_channels=9, latent_size=3)


@pytest.mark.backend
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, marks=pytest.mark.slow_on_jax if config.family == "glow" else (), id=name)
        for name, config in zip(("glow", "vae", "convolutional vae"), [*MODELS, CONVOLUTIONAL], strict=True)
    ],
)
def test_a_compiled_method_is_the_method_for_any_shapes_and_for_the_weights_of_the_moment(config, use, perturb):
    model = build_model(config, (4, 4, 1), 5)
    program = CompiledMethod(model, LikelihoodModel.log_weights_by_image, use)
    generator = np.random.default_rng(0)
    for images, samples in ((2, 3), (4, 1), (2, 3)):
        perturb(model, scale=0.1)
        x = generator.integers(5, size=(images, 4, 4, 1), dtype=np.uint8)
        noise = generator.standard_normal((images, samples, *model.posterior_noise_shape), dtype=np.float32)
        expected = np.asarray(model.log_weights_by_image(x, noise))
        assert_allclose(program.run(x, noise), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.backend
@pytest.mark.parametrize("use", USES)
def test_a_method_knows_whether_xla_compiles_it_for_a_processor(use):
    """For some arithmetic is then written in another way."""
    model, known = build_model(MODELS[1], (4, 4, 1), 5), []

    def method(model, x):
        known.append(runs_by_xla_on_a_processor())
        return x + 1

    assert CompiledMethod(model, method, use).run(np.zeros((2, 1), np.float32)).tolist() == [[1.0], [1.0]]
    assert known[0] is (use == "often")
    assert runs_by_xla_on_a_processor() is (os.environ["KERAS_BACKEND"] == "jax")
