"""Operations as the backend counts them, against those computed from the configuration."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import bench.evaluation.cost.flops as operations
from bench.evaluation.cost.flops import operations_per_image, peak_operations_per_second
from bench.evaluation.cost.memory import peak_device_bytes, peak_host_bytes
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

MODELS = {
    "vae": VAEConfig(hidden_sizes=(200, 100), latent_size=20),
    # Of one step: both backends count the body of a loop once.
    "glow": GlowConfig(levels=1, flow_depth=1, hidden_channels=48),
}


def traced_operations(model):
    """What the backend counts in the program of one log-weight of each of eight images, an image."""
    images, noise = np.zeros((8, *model.image_shape), np.uint8), np.zeros((1, 8, *model.posterior_noise_shape), "f")
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(model.log_weights).lower(images, noise).cost_analysis()["flops"] / 8
    import tensorflow as tf

    specifications = [tf.TensorSpec(array.shape, array.dtype) for array in (images, noise)]
    graph = tf.function(model.log_weights).get_concrete_function(*specifications).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return profiler.profile(graph, options=options).total_float_ops / 8


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_about_those_that_the_backend_counts_in_the_program(name):
    if name == "glow" and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's profiler does not look into the loop over a flow's steps")
    model = build_model(MODELS[name], (8, 8, 1), 2)
    # The backend counts activations and densities as well, and what is computed once a batch.
    assert 0.6 < operations_per_image(model) / traced_operations(model) < 1.1


def test_the_peak_is_that_of_a_matrix_product(monkeypatch):
    peak_operations_per_second.cache_clear()
    monkeypatch.setattr(operations, "_product_seconds", lambda size: size**3 * 1e-11)
    assert peak_operations_per_second() == pytest.approx(2e11)
    peak_operations_per_second.cache_clear()
    seconds = operations._product_seconds(256)
    assert 0 < seconds < 5


def test_memory_is_measured_for_the_host_and_for_no_device_where_there_is_none():
    assert 50e6 < peak_host_bytes() < 1e12
    assert peak_device_bytes() is None
