import math

import pytest

from models.autoregressive.config import AutoregressiveConfig
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig

CONFIGURATIONS = {
    "dense": (VAEConfig(hidden_sizes=(7, 5), latent_size=3), 256),
    "gated": (VAEConfig(hidden_sizes=(7, 5), latent_size=3, gated=True), 2),
    "vamp": (VAEConfig(hidden_sizes=(7,), latent_size=3, prior="vamp", pseudo_inputs=6), 17),
    "flow prior": (VAEConfig(hidden_sizes=(7,), latent_size=5, prior="flow", prior_couplings=3, prior_width=4), 2),
    "convolutional vamp": (VAEConfig(network="convolutional", hidden_channels=3, prior="vamp", pseudo_inputs=2), 2),
    "convolutional": (VAEConfig(network="convolutional", hidden_channels=3, downsamplings=2), 2),
    "residual": (VAEConfig(network="residual", hidden_channels=3, downsamplings=1, blocks=2), 17),
    "glow": (GlowConfig(levels=2, flow_depth=3, hidden_channels=5), 256),
    "additive, plain": (GlowConfig(levels=2, flow_depth=2, coupling="additive", permutation="plain"), 2),
    "variational": (GlowConfig(hidden_channels=5, dequantisation="variational", dequantisation_depth=3), 2),
    "fixed prior": (GlowConfig(levels=1, flow_depth=1, hidden_channels=5, learned_top_prior=False), 2),
    "residual couplings": (GlowConfig(levels=1, flow_depth=2, network="residual", hidden_channels=5, blocks=2), 17),
    "mixtures": (GlowConfig(levels=2, flow_depth=1, coupling="mixture_logistic", coupling_components=3), 256),
    "checkerboard": (GlowConfig(levels=1, checkerboard_steps=3, hidden_channels=5), 256),
    "checkerboard alone": (GlowConfig(levels=0, checkerboard_steps=2, hidden_channels=5, permutation="plain"), 256),
    "all of a flow": (
        GlowConfig(
            checkerboard_steps=2,
            network="residual",
            hidden_channels=4,
            coupling="mixture_logistic",
            dequantisation="variational",
        ),
        256,
    ),
    "autoregressive": (AutoregressiveConfig(hidden_channels=7, blocks=2, first_kernel=5), 17),
    "autoregressive, no blocks": (AutoregressiveConfig(hidden_channels=3, blocks=0, mixture_components=2), 256),
    "ladder": (LadderVAEConfig(hidden_channels=5, latent_layers=3, latent_channels=2), 2),
    "ladder, deep": (LadderVAEConfig(hidden_channels=3, latent_layers=6, downsamplings=2, blocks=2), 256),
    "ladder, a resolution without a layer": (LadderVAEConfig(latent_layers=2, hidden_channels=3, downsamplings=2), 17),
    "jet": (JetConfig(patch_size=2, couplings=3, width=6, heads=2, blocks=2), 256),
    "jet, variational": (
        JetConfig(
            patch_size=4,
            couplings=2,
            width=6,
            heads=3,
            dequantisation="variational",
            dequantisation_channels=5,
            patch_split="columns",
        ),
        2,
    ),
    "with classes": (GlowConfig(levels=2, flow_depth=1, hidden_channels=5, classes=10), 2),
}


LINES = {
    **{name: CONFIGURATIONS[name] for name in ("residual", "all of a flow", "autoregressive", "ladder, deep")},
    "jet, variational": CONFIGURATIONS["jet, variational"],
    "convolutional, one-hot": (
        VAEConfig(network="convolutional", hidden_channels=3, downsamplings=3, input_scaling="one_hot"),
        40,
    ),
    "recurrent": (VAEConfig(network="recurrent", hidden_channels=5, latent_size=3, input_scaling="one_hot"), 40),
    "recurrent, ordered": (VAEConfig(network="recurrent", hidden_channels=5, latent_size=3), 256),
    "dilated": (AutoregressiveConfig(hidden_channels=7, blocks=3, dilation_cycle=2, input_scaling="one_hot"), 5),
    "ladder, one-hot": (LadderVAEConfig(hidden_channels=3, latent_layers=2, input_scaling="one_hot"), 5),
    "encoded": (GlowConfig(levels=2, flow_depth=1, hidden_channels=5, dequantisation="categorical"), 7),
    "jet, encoded": (JetConfig(couplings=2, width=6, heads=2, dequantisation="categorical", encoding_channels=3), 7),
}


def is_that_of_the_built_model(config, image_shape, grey_levels):
    from models.registry import build_model

    model = build_model(config, image_shape, grey_levels)
    built = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    assert config.size(image_shape, grey_levels).parameters == built


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_size_without_building_is_that_of_the_built_model(name):
    config, grey_levels = CONFIGURATIONS[name]
    is_that_of_the_built_model(config, (4, 8, 3), grey_levels)


@pytest.mark.parametrize("name", LINES)
def test_size_of_a_model_of_lines_is_that_of_the_built_one(name):
    config, grey_levels = LINES[name]
    is_that_of_the_built_model(config, (1, 8, 2), grey_levels)


def test_a_recurrent_vae_multiplies_at_each_value():
    config = VAEConfig(network="recurrent", hidden_channels=4, latent_size=3, input_scaling="one_hot")
    step = 3 * 4 * (5 + 4)  # one of 5 symbols and the state, to three gates
    once = 4 * 6 + 3 * 4 + 3 * 12  # to mean and scale; from z to the first state and to the gates
    assert config.size((1, 6, 1), 5).multiplications == 6 * (2 * step + 4 * 5) + once


def test_a_dense_vae_multiplies_once_for_each_weight_of_its_matrices():
    config = VAEConfig(hidden_sizes=(7, 5), latent_size=3)
    matrices = 16 * 7 + 7 * 5 + 5 * 6 + 3 * 5 + 5 * 7 + 7 * 16
    assert config.size((4, 4, 1), 2).multiplications == matrices


def test_a_vampprior_encodes_its_pseudo_inputs_once_for_each_batch_of_64():
    config = VAEConfig(hidden_sizes=(7,), latent_size=3, gated=True)
    vamp = config.model_copy(update={"prior": "vamp", "pseudo_inputs": 32})
    encoder = 16 * 14 + 7 * 6
    more = vamp.size((4, 4, 1), 2).multiplications - config.size((4, 4, 1), 2).multiplications
    assert more == encoder // 2 + 32 * 3


def test_a_glow_multiplies_at_each_squeezed_pixel():
    config = GlowConfig(levels=1, flow_depth=1, hidden_channels=5)
    at_each_pixel = 4 * 4 + 9 * 2 * 5 + 5 * 5 + 9 * 5 * 4  # rotation; 3x3, 1x1 and 3x3 of the coupling
    assert config.size((6, 8, 1), 2).multiplications == at_each_pixel * 3 * 4


def test_a_checkerboard_multiplies_at_each_pixel_and_a_gated_block_by_both_elus():
    config = GlowConfig(levels=0, checkerboard_steps=2, network="residual", hidden_channels=5, blocks=3)
    block = 9 * 10 * 5 + 10 * 10  # 3x3 and 1x1
    at_each_pixel = 1 + 9 * 1 * 5 + 3 * block + 9 * 10 * 2  # rotation, first 3x3, blocks, last 3x3
    assert config.size((5, 7, 1), 2).multiplications == 2 * at_each_pixel * 5 * 7


def test_an_encoding_multiplies_by_the_densities_of_all_symbols_and_looks_up_the_rest():
    settings = {"levels": 1, "flow_depth": 1, "hidden_channels": 5}
    encoded = GlowConfig(dequantisation="categorical", encoding_channels=3, **settings).size((1, 8, 1), 7)
    of_points = GlowConfig(**settings).size((1, 8, 3), 7)
    assert encoded.multiplications - of_points.multiplications == 8 * 7 * 3


def test_an_autoregressive_model_multiplies_at_each_pixel_by_the_taps_before_it():
    config = AutoregressiveConfig(hidden_channels=5, blocks=1, first_kernel=5)
    at_each_pixel = 13 * 1 * 5 + (5 * 5 * 5 + 5 * 5) + 5 * 17  # 5x5 A; 3x3 and 1x1 of the block; to 17 levels
    assert config.size((6, 8, 1), 17).multiplications == at_each_pixel * 6 * 8


def test_a_family_that_states_no_size_has_none():
    assert ModelConfig(family="none").size((4, 4, 1), 2) is None
