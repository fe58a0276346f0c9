"""From a configuration to the model that it describes."""

from __future__ import annotations

from models.base.config import ModelConfig, Shape
from models.base.likelihood_model import LikelihoodModel
from models.glow.model import Glow
from models.vae.model import VAE

MODELS: dict[str, type[LikelihoodModel]] = {"vae": VAE, "glow": Glow}


def build_model(config: ModelConfig, image_shape: Shape, grey_levels: int) -> LikelihoodModel:
    """A new model with freshly drawn weights.

    Raises:
        ValueError: the configuration does not fit the images.
    """
    return MODELS[config.family](config, image_shape, grey_levels)
