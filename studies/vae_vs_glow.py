"""VAE or Glow: which is the better likelihood model of this data?

Each family is swept over its size and its learning rate, on validation; the best of each is retrained from several
seeds and measured on test, both in bits/dim of the same discrete images.
"""

from bench.config import TrainingConfig
from bench.space import Integers, Reals
from bench.study import Family, Study
from models.configs import GlowConfig, VAEConfig
from studies.cli import run_script

STUDY = Study(
    name="vae_vs_glow",
    question="Is a VAE or a Glow the better likelihood model of this data, and at what size and learning rate?",
    families=(
        Family(
            VAEConfig.preset("iwae", activation="relu", latent_size=16, kl_warmup_steps=200),
            sweep={"latent_size": Integers(2, 64, log=True), "learning_rate": Reals(3e-4, 1e-2, log=True)},
            training=TrainingConfig(learning_rate=3e-3, decay="cosine"),
        ),
        Family(
            GlowConfig.preset("small"),
            sweep={"flow_depth": Integers(2, 6, log=True), "learning_rate": Reals(3e-4, 1e-2, log=True)},
            training=TrainingConfig(learning_rate=3e-3, decay="cosine"),
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
