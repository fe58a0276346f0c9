"""The mathematics: VAE, ladder VAE, Glow, Jet, a PixelCNN and what they are made of, written in ``keras.ops`` alone.

Notation used throughout the folder:

* x: an image of integers in 0..Q-1, Q ``grey_levels``, shape (h, w, c); D = h·w·c ``dimensions``. A sequence is an
  image of height 1, a line: what acts on squares of images acts on its length alone (:mod:`models.base.window`).
* z: latent variables; ε: standard normal noise, of which all randomness is a deterministic function.
* n: images in a batch; k: importance samples per image.
* p: the model's density or probability; q: the distribution that proposes z, or the dequantised image, given x.
* All logarithms are natural and all log-probabilities are in nats, summed over an image's dimensions.

A family of your own takes what it needs from here: ``from reparam_bench import LikelihoodModel, ModelConfig,
register_family``. Nothing is imported before it is needed: configurations need no framework, models import Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.autoregressive.config import AutoregressiveConfig
    from models.base.config import Activation, ModelConfig, Shape
    from models.base.diagnostics import Diagnosis, Number
    from models.base.distributions import (
        BROKEN,
        Bernoulli,
        Categorical,
        DiagonalGaussian,
        DiscretisedLogistic,
        GreyLevelDistribution,
        LogisticMixture,
        Tensor,
        as_grey_levels,
        log_mean_exp,
        standard_normal_cdf,
        standard_normal_log_prob,
        sum_event,
    )
    from models.base.likelihood_model import ExactLikelihoodModel, LikelihoodModel
    from models.base.observations import initial_bias, observation
    from models.base.registry import Family, FamilyError, register_family, registered
    from models.base.size import Size
    from models.base.units import bits_per_dim
    from models.glow.config import GlowConfig
    from models.jet.config import JetConfig
    from models.ladder_vae.config import LadderVAEConfig
    from models.registry import build_model, load_model
    from models.vae.config import VAEConfig

_PLACES = {
    "models.autoregressive.config": ["AutoregressiveConfig"],
    "models.base.config": ["Activation", "ModelConfig", "Shape"],
    "models.base.diagnostics": ["Diagnosis", "Number"],
    "models.base.distributions": [
        "BROKEN",
        "Bernoulli",
        "Categorical",
        "DiagonalGaussian",
        "DiscretisedLogistic",
        "GreyLevelDistribution",
        "LogisticMixture",
        "Tensor",
        "as_grey_levels",
        "log_mean_exp",
        "standard_normal_cdf",
        "standard_normal_log_prob",
        "sum_event",
    ],
    "models.base.likelihood_model": ["ExactLikelihoodModel", "LikelihoodModel"],
    "models.base.observations": ["initial_bias", "observation"],
    "models.base.registry": ["Family", "FamilyError", "register_family", "registered"],
    "models.base.size": ["Size"],
    "models.base.units": ["bits_per_dim"],
    "models.glow.config": ["GlowConfig"],
    "models.jet.config": ["JetConfig"],
    "models.ladder_vae.config": ["LadderVAEConfig"],
    "models.registry": ["build_model", "load_model"],
    "models.vae.config": ["VAEConfig"],
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "BROKEN",
    "Activation",
    "AutoregressiveConfig",
    "Bernoulli",
    "Categorical",
    "Diagnosis",
    "DiagonalGaussian",
    "DiscretisedLogistic",
    "ExactLikelihoodModel",
    "Family",
    "FamilyError",
    "GlowConfig",
    "GreyLevelDistribution",
    "JetConfig",
    "LadderVAEConfig",
    "LikelihoodModel",
    "LogisticMixture",
    "ModelConfig",
    "Number",
    "Shape",
    "Size",
    "Tensor",
    "VAEConfig",
    "as_grey_levels",
    "bits_per_dim",
    "build_model",
    "initial_bias",
    "load_model",
    "log_mean_exp",
    "observation",
    "register_family",
    "registered",
    "standard_normal_cdf",
    "standard_normal_log_prob",
    "sum_event",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
