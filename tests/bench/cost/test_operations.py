"""Operations as the backend counts them, against those told from the configuration."""

from __future__ import annotations

import pytest

import bench.cost.operations as operations
from bench.cost.memory import peak_device_bytes, peak_host_bytes
from bench.cost.operations import operations_per_image, peak_operations_per_second
from models.configs import GlowConfig, VAEConfig
from models.registry import build_model
from models.size import model_size

pytestmark = pytest.mark.backend

MODELS = {
    "vae": VAEConfig(hidden_sizes=(200, 100), latent_size=20),
    "glow": GlowConfig(levels=1, flow_depth=2, hidden_channels=48),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_programs_operations_are_twice_the_multiplications_and_a_little_more(name):
    config = MODELS[name]
    counted = operations_per_image(build_model(config, (8, 8, 1), 2))
    products = 2 * model_size(config, (8, 8, 1), 2).multiplications
    # More: activations, densities. Less: XLA leaves out what a convolution multiplies by padding.
    assert 0.7 * products < counted < 1.4 * products


def test_more_samples_of_an_image_share_its_encoder():
    model = build_model(MODELS["vae"], (8, 8, 1), 2)
    once, four_times = operations_per_image(model), operations_per_image(model, samples=4)
    assert 2 * once < four_times < 4 * once


def test_the_peak_is_that_of_a_matrix_product(monkeypatch):
    peak_operations_per_second.cache_clear()
    monkeypatch.setattr(operations, "_product_seconds", lambda size: size**3 * 1e-11)
    assert peak_operations_per_second() == pytest.approx(2e11)
    peak_operations_per_second.cache_clear()
    seconds = operations._product_seconds(256)
    assert 0 < seconds < 5


def test_memory_is_told_for_the_host_and_for_no_device_where_there_is_none():
    assert 50e6 < peak_host_bytes() < 1e12
    assert peak_device_bytes() is None
