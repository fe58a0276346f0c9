import math

import keras
import numpy as np
import pytest

from models.layers.residual_block import ResidualBlock
from models.vae.config import VAEConfig
from models.vae.model import VAE
from models.vae.networks import decoder, encoder

pytestmark = pytest.mark.backend

SIZES = [(8, 8, 1), (7, 5, 3), (28, 28, 1)]
NETWORKS = {
    "dense": {"network": "dense", "hidden_sizes": (6, 5)},
    "gated": {"network": "dense", "hidden_sizes": (6, 5), "gated": True},
    "convolutional": {"network": "convolutional", "hidden_channels": 2, "downsamplings": 2},
    "residual": {"network": "residual", "hidden_channels": 2, "downsamplings": 1, "blocks": 1},
}


def given_by_layers(network):
    """Numbers that the layers of a network give of one image; what gives its input another shape gives none."""
    shapes = keras.layers.Flatten, keras.layers.Reshape
    return sum(
        math.prod(layer.output.shape[1:]) * (2 if isinstance(layer, ResidualBlock) else 1)
        for layer in network.layers
        if not isinstance(layer, shapes)
    )


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("image_shape", SIZES, ids=str)
@pytest.mark.parametrize("network", ["convolutional", "residual"])
def test_the_bytes_of_convolutional_networks_are_those_that_their_layers_give(network, image_shape, dropout):
    config = VAEConfig(latent_size=3, dropout=dropout, **NETWORKS[network])
    model = VAE(config, image_shape, 17)
    assert model.activation_bytes == 4 * (given_by_layers(model.encoder) + given_by_layers(model.decoder))


def test_a_batch_stays_whole_where_weights_are_many_or_pseudo_inputs_would_be_encoded_by_each_piece():
    assert VAE(VAEConfig(**NETWORKS["dense"]), (8, 8, 1), 17).activation_bytes == 0
    vamp = VAEConfig(prior="vamp", pseudo_inputs=4, **NETWORKS["convolutional"])
    assert VAE(vamp, (8, 8, 1), 17).activation_bytes == 0


@pytest.mark.parametrize("image_shape", SIZES, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_encoder_and_decoder_fit_images_of_any_size(network, image_shape, normal, compiled, array, perturb):
    config = VAEConfig(latent_size=3, **NETWORKS[network])
    seed = keras.random.SeedGenerator
    encode = perturb(encoder(config, image_shape, int(np.prod(image_shape)), seed))
    decode = perturb(decoder(config, image_shape, 4, seed))
    code = array(compiled(encode)(normal(2, *image_shape)))
    assert code.shape == (2, 6)
    assert np.abs(code[0] - code[1]).max() > 1e-3
    outputs = array(compiled(decode)(normal(2, 3)))
    assert outputs.shape == (2, *image_shape[:2], 4 * image_shape[2])
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
