import keras
import numpy as np
import pytest

from models.vae.config import VAEConfig
from models.vae.networks import decoder, encoder

pytestmark = pytest.mark.backend

SIZES = [(8, 8, 1), (7, 5, 3), (28, 28, 1)]
NETWORKS = {
    "dense": {"network": "dense", "hidden_sizes": (6, 5)},
    "gated": {"network": "dense", "hidden_sizes": (6, 5), "gated": True},
    "convolutional": {"network": "convolutional", "hidden_channels": 2, "downsamplings": 2},
    "residual": {"network": "residual", "hidden_channels": 2, "downsamplings": 1, "blocks": 1},
}


@pytest.mark.parametrize("image_shape", SIZES, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_encoder_and_decoder_fit_images_of_any_size(network, image_shape, normal, compiled, array, perturb):
    config = VAEConfig(latent_size=3, **NETWORKS[network])
    seed = keras.random.SeedGenerator
    encode, decode = perturb(encoder(config, image_shape, seed)), perturb(decoder(config, image_shape, 4, seed))
    code = array(compiled(encode)(normal(2, *image_shape)))
    assert code.shape == (2, 6)
    assert np.abs(code[0] - code[1]).max() > 1e-3
    outputs = array(compiled(decode)(normal(2, 3)))
    assert outputs.shape == (2, *image_shape[:2], 4 * image_shape[2])
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
