import math

import pytest

from models.autoregressive.config import AutoregressiveConfig
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig

CONFIGURATIONS = {
    "dense": (VAEConfig(hidden_sizes=(7, 5), latent_size=3), 256),
    "convolutional": (VAEConfig(network="convolutional", hidden_channels=3, downsamplings=2), 2),
    "residual": (VAEConfig(network="residual", hidden_channels=3, downsamplings=1, blocks=2), 17),
    "glow": (GlowConfig(levels=2, flow_depth=3, hidden_channels=5), 256),
    "additive, plain": (GlowConfig(levels=2, flow_depth=2, coupling="additive", permutation="plain"), 2),
    "variational": (GlowConfig(hidden_channels=5, dequantisation="variational", dequantisation_depth=3), 2),
    "fixed prior": (GlowConfig(levels=1, flow_depth=1, hidden_channels=5, learned_top_prior=False), 2),
    "autoregressive": (AutoregressiveConfig(hidden_channels=7, blocks=2, first_kernel=5), 17),
    "autoregressive, no blocks": (AutoregressiveConfig(hidden_channels=3, blocks=0, mixture_components=2), 256),
    "ladder": (LadderVAEConfig(hidden_channels=5, latent_layers=3, latent_channels=2), 2),
    "ladder, deep": (LadderVAEConfig(hidden_channels=3, latent_layers=6, downsamplings=2, blocks=2), 256),
    "ladder, a resolution without a layer": (LadderVAEConfig(latent_layers=2, hidden_channels=3, downsamplings=2), 17),
    "with classes": (GlowConfig(levels=2, flow_depth=1, hidden_channels=5, classes=10), 2),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_size_without_building_is_that_of_the_built_model(name):
    from models.registry import build_model

    config, grey_levels = CONFIGURATIONS[name]
    model = build_model(config, (4, 8, 3), grey_levels)
    built = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    assert config.size((4, 8, 3), grey_levels).parameters == built


def test_a_dense_vae_multiplies_once_for_each_weight_of_its_matrices():
    config = VAEConfig(hidden_sizes=(7, 5), latent_size=3)
    matrices = 16 * 7 + 7 * 5 + 5 * 6 + 3 * 5 + 5 * 7 + 7 * 16
    assert config.size((4, 4, 1), 2).multiplications == matrices


def test_a_glow_multiplies_at_each_squeezed_pixel():
    config = GlowConfig(levels=1, flow_depth=1, hidden_channels=5)
    at_each_pixel = 4 * 4 + 9 * 2 * 5 + 5 * 5 + 9 * 5 * 4  # rotation; 3x3, 1x1 and 3x3 of the coupling
    assert config.size((6, 8, 1), 2).multiplications == at_each_pixel * 3 * 4


def test_an_autoregressive_model_multiplies_at_each_pixel_by_the_taps_before_it():
    config = AutoregressiveConfig(hidden_channels=5, blocks=1, first_kernel=5)
    at_each_pixel = 13 * 1 * 5 + (5 * 5 * 5 + 5 * 5) + 5 * 17  # 5x5 A; 3x3 and 1x1 of the block; to 17 levels
    assert config.size((6, 8, 1), 17).multiplications == at_each_pixel * 6 * 8


def test_a_family_that_states_no_size_has_none():
    assert ModelConfig(family="none").size((4, 4, 1), 2) is None
