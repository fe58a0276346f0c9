"""The families that come with this package: importing this module registers them. It imports no framework."""

from __future__ import annotations

from models.autoregressive.config import AutoregressiveConfig
from models.base.registry import AnyModelConfig
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig

OWN_FAMILIES = ("vae", "glow", "autoregressive", "ladder_vae", "jet")
"""Their names, in the order in which they are listed."""

__all__ = [
    "OWN_FAMILIES",
    "AnyModelConfig",
    "AutoregressiveConfig",
    "GlowConfig",
    "JetConfig",
    "LadderVAEConfig",
    "VAEConfig",
]
